"""Any graph in Triton via PyTriton: `triton_graph.py NAME PORT WORKERS THREADS`; MODEL is its path.

Each worker is a thread that runs batches of up to 4 items on one session, without waiting for them.
"""

import os
import sys

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when the library is loaded
import numpy as np
import onnxruntime
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

MAX_BATCH = 4
TYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64}


def open_graph(threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(
        os.environ["MODEL"], options, providers=["CPUExecutionProvider"]
    )


def describe(values: list) -> list[Tensor]:
    return [Tensor(name=v.name, dtype=TYPES[v.type], shape=tuple(v.shape[1:])) for v in values]


if __name__ == "__main__":
    name = sys.argv[1]
    port, workers, threads = (int(word) for word in sys.argv[2:])
    session = open_graph(threads)
    inputs, outputs = describe(session.get_inputs()), describe(session.get_outputs())

    @batch
    def run(**arrays: np.ndarray) -> dict[str, np.ndarray]:
        names = [output.name for output in outputs]
        return dict(zip(names, session.run(names, arrays), strict=True))

    config = TritonConfig(
        http_address="127.0.0.1",
        http_port=port,
        allow_grpc=False,
        allow_metrics=False,
        log_verbose=0,
    )
    with Triton(config=config) as triton:
        triton.bind(
            model_name=name,
            infer_func=[run] * workers,
            inputs=inputs,
            outputs=outputs,
            config=ModelConfig(max_batch_size=MAX_BATCH, batcher=DynamicBatcher()),
            strict=False,
        )
        triton.serve()
