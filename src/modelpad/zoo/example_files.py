"""Files to try commands with: from the samples of the bundled models, or generated.

The photograph is computed, so that it belongs to nobody.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from modelpad.zoo import FOLDER

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
REVIEW = (
    "I loved the first part, and the actors are wonderful. The second half is slow, but the end"
    " made up for it: I would see it again.\n"
)
REVIEWS = (
    "A wonderful film, from the first scene to the last.",
    "Dull, badly acted, and far too long.",
    'The critics call it "brave", and for once they are right.',
)
IRIS = (
    "sepal length,sepal width,petal length,petal width\n"
    "5.1,3.5,1.4,0.2\n"
    "6.0,2.9,4.5,1.5\n"
    "6.9,3.1,5.4,2.1\n"
)
HEIGHT, WIDTH = 384, 512


def example_files() -> dict[str, bytes]:
    """The files' contents by their names."""
    samples = FOLDER / "digits" / "samples"
    files = {f"{name}.png": _read(samples / f"{n}.png") for n, name in enumerate(NAMES)}
    lines = "".join(json.dumps({"text": text}) + "\n" for text in REVIEWS)
    rows = "".join('"' + text.replace('"', '""') + '"\n' for text in REVIEWS)
    return files | {
        "photo.jpg": draw_photo(),
        "review.txt": REVIEW.encode(),
        "reviews.csv": f"text\n{rows}".encode(),
        "reviews.jsonl": lines.encode(),
        "iris.csv": IRIS.encode(),
    }


def _read(path: Path) -> bytes:
    return path.read_bytes()


def draw_photo() -> bytes:
    """A landscape with a sun, hills and grain, as a JPEG of some kilobytes."""
    import io

    import numpy as np
    from PIL import Image

    random = np.random.default_rng(7)
    down, across = np.mgrid[0:HEIGHT, 0:WIDTH] / np.array([HEIGHT, WIDTH])[:, None, None]
    picture = _mix((52, 96, 168), (246, 190, 130), down)
    glow = np.exp(-(((across - 0.7) * 1.33) ** 2 + (down - 0.42) ** 2) / 0.02)
    picture += glow[..., None] * np.array([90, 80, 40])
    for depth, colour in enumerate(((86, 96, 124), (58, 82, 78), (30, 52, 34))):
        picture = _draw_hills(picture, down, 0.55 + 0.13 * depth, np.array(colour), random)
    picture += random.normal(0, 4, picture.shape)
    pixels = picture.clip(0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=85)
    return file.getvalue()


def _mix(
    above: tuple[int, ...], below: tuple[int, ...], down: NDArray[np.float64]
) -> NDArray[np.float64]:
    import numpy as np

    share = np.minimum(down / 0.6, 1)[..., None]
    mixed: NDArray[np.float64] = np.array(above) * (1 - share) + np.array(below) * share
    return mixed


def _draw_hills(
    picture: NDArray[np.float64],
    down: NDArray[np.float64],
    level: float,
    colour: NDArray[np.int64],
    random: np.random.Generator,
) -> NDArray[np.float64]:
    """Covers what is below a line of waves, darker further down."""
    import numpy as np

    across = np.linspace(0, 1, WIDTH)
    line = np.full(WIDTH, level)
    for waves in (2, 5, 11, 23):
        line += np.sin(across * waves * 6.28 + random.uniform(0, 6.28)) * 0.09 / waves
    shade = (1.15 - 0.5 * (down - line))[..., None]
    return np.where((down > line)[..., None], colour * shade, picture)
