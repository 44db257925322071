"""Triton via PyTriton: its C++ front end and batcher call ONNX Runtime in Python."""

import sys

import numpy as np
from model import predict
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig


@batch
def ask(image: np.ndarray) -> dict[str, np.ndarray]:
    return {"label": predict(image)}


if __name__ == "__main__":
    port, workers, most = (int(word) for word in sys.argv[1:])
    config = TritonConfig(
        http_address="127.0.0.1",
        http_port=port,
        allow_grpc=False,
        allow_metrics=False,
        log_verbose=0,
    )
    with Triton(config=config) as triton:
        triton.bind(
            model_name="digits",
            infer_func=[ask] * workers,
            inputs=[Tensor(name="image", dtype=np.float32, shape=(28, 28))],
            outputs=[Tensor(name="label", dtype=np.float32, shape=(10,))],
            config=ModelConfig(max_batch_size=most, batcher=DynamicBatcher()),
            strict=False,
        )
        triton.serve()
