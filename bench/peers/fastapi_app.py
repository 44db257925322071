"""FastAPI on uvicorn, as most people would write it, with orjson."""

import orjson
from fastapi import FastAPI, Request, Response
from model import answer, decode, predict

app = FastAPI()


@app.post("/predict")
async def ask(request: Request) -> Response:
    image = decode(await request.body(), request.headers["content-type"], orjson.loads)
    return Response(orjson.dumps(answer(predict(image[None])[0])), media_type="application/json")
