"""Any graph in Triton via PyTriton: `triton_graph.py NAME PORT WORKERS THREADS`; MODEL is its path.

Each worker is a process of its own that batches up to 4 items, without waiting for them.
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


class Worker:
    """Loads the graph when its process is asked first."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.session = None

    def __call__(self, **arrays: np.ndarray) -> dict[str, np.ndarray]:
        if self.session is None:
            self.session = open_graph(self.threads)
        names = [value.name for value in self.session.get_outputs()]
        return dict(zip(names, self.session.run(names, arrays), strict=True))


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
    known = open_graph(1)
    inputs, outputs = describe(known.get_inputs()), describe(known.get_outputs())
    del known
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
            infer_func=[batch(Worker(threads)) for _ in range(workers)],
            inputs=inputs,
            outputs=outputs,
            config=ModelConfig(max_batch_size=MAX_BATCH, batcher=DynamicBatcher()),
            strict=False,
        )
        triton.serve()
