"""mosec: a Rust front end, batches of 16, two workers."""

import os
import sys

os.environ.setdefault("MODEL", "")
import numpy as np
import orjson
from mosec import Server, Worker


class Model(Worker):
    def __init__(self) -> None:
        super().__init__()
        from model import answer, decode, predict

        self.decode, self.run, self.answer = decode, predict, answer

    def deserialize(self, data: bytes):  # type: ignore[no-untyped-def]
        kind = "application/octet-stream" if len(data) == 3136 else "application/json"
        kind = "image/png" if data[:4] == b"\x89PNG" else kind
        return self.decode(data, kind, orjson.loads)

    def serialize(self, data) -> bytes:  # type: ignore[no-untyped-def]
        return orjson.dumps(data)

    def forward(self, data):  # type: ignore[no-untyped-def]
        return [self.answer(row) for row in self.run(np.stack(data))]


if __name__ == "__main__":
    sys.argv = [*sys.argv[:1], *sys.argv[1:]]
    server = Server()
    server.append_worker(Model, num=2, max_batch_size=16, max_wait_time=1)
    server.run()
