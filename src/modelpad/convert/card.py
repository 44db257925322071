"""The author's model card: a Markdown file that becomes the bundle's `card.json`."""

from __future__ import annotations

import json
from pathlib import Path

from modelpad.errors import UsageError

MAX_BYTES = 256 * 1024
FENCE = "---"  # around the metadata at the head of a Hugging Face card


def read_card(path: Path) -> str:
    """The Markdown without metadata at its head. Raises `UsageError`."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise UsageError(
                f"The model card {path} has {size:,} bytes; at most {MAX_BYTES:,} are allowed.",
                hint="Shorten it, or link to the long version.",
            )
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise UsageError(
            f"The model card {path} cannot be read: {error.strerror}.",
            hint="Give a Markdown file: --card FILE.md",
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(
            f"The model card {path} is not valid UTF-8.", hint="Save it as UTF-8."
        ) from error
    text = _strip_metadata(text).strip()
    if not text:
        raise UsageError(f"The model card {path} is empty.", hint="Describe the model in it.")
    return text


def write_card(text: str) -> bytes:
    """The content of `card.json`: the author's Markdown, which the page shows without its HTML."""
    return json.dumps({"text": text}, ensure_ascii=False).encode("utf-8")


def _strip_metadata(text: str) -> str:
    lines = text.splitlines()
    if lines[:1] != [FENCE] or FENCE not in lines[1:]:
        return text
    return "\n".join(lines[lines.index(FENCE, 1) + 1 :])
