"""The Open Inference Protocol, version 2, over HTTP, with binary tensors, as its clients speak it.

https://github.com/kserve/open-inference-protocol, and Triton's extensions that clients rely on:
binary tensor data, classification, model configuration and statistics. The same over gRPC is in
`grpc_inference`.
"""
