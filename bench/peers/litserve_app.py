"""LitServe, batches of 16, two workers."""

import sys

import litserve
import numpy as np
import orjson
from fastapi import Request, Response


class Model(litserve.LitAPI):
    def setup(self, device: str) -> None:
        from model import answer, decode, predict

        self.to_image, self.run, self.answer = decode, predict, answer

    async def decode_request(self, request: Request):  # type: ignore[no-untyped-def]
        kind = request.headers["content-type"]
        return self.to_image(await request.body(), kind, orjson.loads)

    def batch(self, inputs):  # type: ignore[no-untyped-def]
        return np.stack(inputs)

    def predict(self, batch):  # type: ignore[no-untyped-def]
        return self.run(batch)

    def unbatch(self, output):  # type: ignore[no-untyped-def]
        return list(output)

    def encode_response(self, output) -> Response:  # type: ignore[no-untyped-def]
        return Response(orjson.dumps(self.answer(output)), media_type="application/json")


if __name__ == "__main__":
    api = Model(max_batch_size=16, batch_timeout=0.001)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=2)
    server.run(port=int(sys.argv[1]), generate_client_file=False, log_level="error")
