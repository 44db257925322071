"""The packages of an image, each pinned by version and hashes.

`requirements.txt`, next to this file, is written by `make lock` for the image's Python, every
platform, and all of `EXTRAS`. Each entry ends with the packages that need it, so that a part of it
is complete, too.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path

LOCK = Path(__file__).with_name("requirements.txt")
DIRECT = ("httptools", "msgspec", "numpy", "onnxruntime", "pillow", "python-multipart")
EXTRAS = {
    "cloud": ("obstore",),
    "grpc": ("grpcio", "protobuf"),
    "otel": ("opentelemetry-exporter-otlp-proto-http", "opentelemetry-sdk"),
    "sign": ("cryptography",),
    "text": ("tokenizers", "jinja2"),
}
HEADER = "# Every package, pinned by its hashes. Written by modelpad deploy."
ENTRY = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==.*?(?=^[A-Za-z0-9]|\Z)", re.MULTILINE | re.DOTALL)
PARENT = re.compile(r"^ +#(?: via)? +(?:via )?([A-Za-z0-9._-]+)", re.MULTILINE)


def select_requirements(extras: Collection[str], wheel_name: str, wheel: bytes) -> bytes:
    """The requirements file of the base packages, those of `extras`, and modelpad's own wheel.

    Entries keep their hashes and markers, without comments.
    """
    entries = _read_entries()
    lines = [HEADER]
    for name in sorted(find_needed(extras)):
        lines += [line for line in entries[name].splitlines() if not line.lstrip().startswith("#")]
    digest = hashlib.sha256(wheel).hexdigest()
    lines += [f"./{wheel_name} \\", f"    --hash=sha256:{digest}"]
    return ("\n".join(line for line in lines if line.strip()) + "\n").encode("utf-8")


def find_needed(extras: Collection[str]) -> frozenset[str]:
    """The names of the base packages, those of `extras`, and all that they need."""
    entries = _read_entries()
    wanted = {*DIRECT, *(name for extra in extras for name in EXTRAS[extra])}
    while True:
        more = {name for name, entry in entries.items() if wanted & {*_list_parents(entry)}}
        if more <= wanted:
            return frozenset(wanted)
        wanted |= more


@cache
def _read_entries() -> dict[str, str]:
    return {found["name"]: found[0] for found in ENTRY.finditer(LOCK.read_text("utf-8"))}


def _list_parents(entry: str) -> Iterator[str]:
    return (found[1] for found in PARENT.finditer(entry))
