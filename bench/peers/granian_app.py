"""A hand-written app on granian's own interface (RSGI): the bare minimum of a server."""

import orjson
from model import answer, decode, predict


async def app(scope, protocol):  # type: ignore[no-untyped-def]
    body = await protocol()
    image = decode(body, scope.headers["content-type"], orjson.loads)
    headers = [("content-type", "application/json")]
    protocol.response_bytes(200, headers, orjson.dumps(answer(predict(image[None])[0])))
