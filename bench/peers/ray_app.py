"""Ray Serve: two replicas directly behind HAProxy, without a Python proxy in between."""

import logging
import sys
import time

import numpy as np
import orjson
import ray
from ray import serve
from ray.serve.schema import LoggingConfig
from starlette.requests import Request
from starlette.responses import Response

port, workers, batch = (int(word) for word in sys.argv[1:])
quiet = LoggingConfig(enable_access_log=False, log_level=logging.ERROR)


@serve.deployment(
    num_replicas=workers,
    max_ongoing_requests=256,
    ray_actor_options={"num_cpus": 0.5},
    logging_config=quiet,
)
class Model:
    def __init__(self) -> None:
        from model import answer, decode, predict

        self.decode, self.run, self.answer = decode, predict, answer

    @serve.batch(max_batch_size=batch, batch_wait_timeout_s=0)
    async def ask(self, images: list[np.ndarray]) -> list[np.ndarray]:
        return list(self.run(np.stack(images)))

    async def __call__(self, request: Request) -> Response:
        kind = request.headers["content-type"]
        image = self.decode(await request.body(), kind, orjson.loads)
        scores = await self.ask(image) if batch > 1 else self.run(image[None])[0]
        return Response(orjson.dumps(self.answer(scores)), media_type="application/json")


ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
serve.start(http_options={"host": "127.0.0.1", "port": port}, logging_config=quiet)
serve.run(Model.bind(), route_prefix="/predict", logging_config=quiet)
while True:
    time.sleep(60)
