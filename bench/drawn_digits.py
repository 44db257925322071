"""Accuracy on drawn digits: pen strokes of held-out writers, drawn and sent to the API.

Needs MODELPAD_DATA with pen-digits/. The model never saw these writers.

usage: python bench/drawn_digits.py
"""

from __future__ import annotations

import http.client
import io
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from modelpad.datasets import PenDigit, draw_strokes, load_pen_strokes
from modelpad.errors import DataSetNotFound
from modelpad.recipes.digits.data import TEST_WRITERS

CANVAS = 280


def draw(digit: PenDigit, rng: np.random.Generator) -> bytes:
    """A PNG of the digit as someone might draw it on the page: random size, position and brush."""
    size = float(rng.uniform(80, 230))
    room = CANVAS - size - 10
    picture = draw_strokes(
        digit.strokes,
        canvas=(CANVAS, CANVAS),
        scale=size,
        offset=(float(rng.uniform(5, room)), float(rng.uniform(5, room))),
        brush_px=float(rng.uniform(8, 28)),
    )
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def main() -> None:
    roots = [Path(root) for root in os.environ.get("MODELPAD_DATA", "").split(os.pathsep) if root]
    try:
        digits = [d for d in load_pen_strokes(roots) if d.writer in TEST_WRITERS]
    except DataSetNotFound as error:
        raise SystemExit(error.words) from None
    rng = np.random.default_rng(11)
    with tempfile.TemporaryDirectory() as store:
        command = [sys.executable, "-m", "modelpad", "serve", "digits", "--port", "0"]
        process = subprocess.Popen(
            [*command, "--no-open", "--store", store], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        found = None
        while found is None:
            found = re.search(r"page\s+http://([\d.:]+)", process.stdout.readline())
        connection = http.client.HTTPConnection(found.group(1))
        right = 0
        for digit in digits:
            body = draw(digit, rng)
            connection.request("POST", "/predict/digits", body, {"content-type": "image/png"})
            answer = json.loads(connection.getresponse().read())
            right += answer["label"] == str(digit.label)
        process.terminate()
        process.wait()
    print(json.dumps({"drawn": len(digits), "accuracy": round(right / len(digits), 4)}))


if __name__ == "__main__":
    main()
