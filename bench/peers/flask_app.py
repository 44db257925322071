"""Flask on gunicorn, two workers of two threads."""

import orjson
from flask import Flask, Response, request
from model import answer, decode, predict

app = Flask(__name__)


@app.post("/predict")
def ask() -> Response:
    image = decode(request.get_data(), request.content_type, orjson.loads)
    return Response(orjson.dumps(answer(predict(image[None])[0])), mimetype="application/json")
