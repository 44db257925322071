"""LitServe: batching, two workers behind one front end.

LitServe reads every body as JSON or a form unless `decode_request` declares another type. Here it
is the body and its content type, which FastAPI, on which LitServe is built, takes from the request.
"""

import sys
from typing import Annotated

import litserve
import numpy as np
import orjson
from fastapi import Depends, Request, Response


async def read(request: Request) -> tuple[bytes, str]:
    return await request.body(), request.headers["content-type"]


class Model(litserve.LitAPI):
    def setup(self, device: str) -> None:
        from model import answer, decode, predict

        self.to_image, self.run, self.answer = decode, predict, answer

    def decode_request(self, request: Annotated[tuple[bytes, str], Depends(read)]) -> np.ndarray:
        body, kind = request
        return self.to_image(body, kind, orjson.loads)

    def batch(self, inputs):  # type: ignore[no-untyped-def]
        return np.stack(inputs)

    def predict(self, batch):  # type: ignore[no-untyped-def]
        return self.run(batch)

    def unbatch(self, output):  # type: ignore[no-untyped-def]
        return list(output)

    def encode_response(self, output) -> Response:  # type: ignore[no-untyped-def]
        return Response(orjson.dumps(self.answer(output)), media_type="application/json")


if __name__ == "__main__":
    port, workers, fronts, batch = (int(word) for word in sys.argv[1:])
    api = Model(max_batch_size=batch, batch_timeout=0.001)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=workers)
    server.run(port=port, num_api_servers=fronts, generate_client_file=False, log_level="error")
