"""The sizes of the writer's networks."""

from __future__ import annotations

from modelpad.errors import UsageError
from modelpad.recipes.text.network import Shape
from modelpad.recipes.writer import WriterOptions

BLOCKS = {"mingru": 3, "lstm": 2}
EMBEDDED = 5 / 8  # of the width
MULTIPLE = 64  # weights in 8 bits are stored in blocks of so many
MIN_WIDTH, MAX_WIDTH = 64, 4096


def choose_shape(options: WriterOptions, vocabulary: int) -> Shape:
    """The shape that the options ask for. Raises UsageError for an impossible width."""
    width = options.width
    if not MIN_WIDTH <= width <= MAX_WIDTH or width % MULTIPLE:
        raise UsageError(
            f"--width is {width}.",
            hint=f"Give a multiple of {MULTIPLE} from {MIN_WIDTH} to {MAX_WIDTH:,}.",
        )
    embedding = max(MULTIPLE, round(EMBEDDED * width / MULTIPLE) * MULTIPLE)
    return Shape(options.arch, vocabulary, embedding, width, BLOCKS[options.arch])
