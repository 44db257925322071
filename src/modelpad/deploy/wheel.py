"""Builds a wheel of the running modelpad, which no registry has.

The same files give the same bytes: entries are sorted and have no time.
Format: https://packaging.python.org/en/latest/specifications/binary-distribution-format/
"""

from __future__ import annotations

import base64
import hashlib
import io
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

from modelpad import __version__
from modelpad.deploy.locked import DIRECT

PACKAGE = Path(__file__).parents[1]
EARLIEST = (1980, 1, 1, 0, 0, 0)  # the first time that a zip file can express
NAME = f"modelpad-{__version__}-py3-none-any.whl"
INFO = f"modelpad-{__version__}.dist-info"
ENTRY_POINTS = "[console_scripts]\nmodelpad = modelpad.cli.main:main\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: modelpad\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def build_wheel() -> bytes:
    """The wheel's bytes. Its file must be called `NAME`."""
    files = {path.relative_to(PACKAGE.parent).as_posix(): path.read_bytes() for path in _list()}
    files |= {
        f"{INFO}/METADATA": _write_metadata().encode("utf-8"),
        f"{INFO}/WHEEL": WHEEL.encode("utf-8"),
        f"{INFO}/entry_points.txt": ENTRY_POINTS.encode("utf-8"),
    }
    record = "".join(f"{name},{_digest(body)},{len(body)}\n" for name, body in files.items())
    files[f"{INFO}/RECORD"] = f"{record}{INFO}/RECORD,,\n".encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, body in files.items():
            entry = zipfile.ZipInfo(name, EARLIEST)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, body)
    return buffer.getvalue()


def write_wheel(folder: Path) -> Path:
    """Writes the wheel into a folder: `python -m modelpad.deploy.wheel FOLDER`."""
    path = folder / NAME
    path.write_bytes(build_wheel())
    return path


def _list() -> list[Path]:
    return sorted(
        path
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    )


def _write_metadata() -> str:
    lines = [
        "Metadata-Version: 2.4",
        "Name: modelpad",
        f"Version: {__version__}",
        "License-Expression: Apache-2.0",
        "Requires-Python: >=3.11",
        *(f"Requires-Dist: {name}" for name in DIRECT),
        *_list_extras(),
    ]
    return "\n".join(lines) + "\n"


def _list_extras() -> Iterator[str]:
    """The extras of the modelpad that is installed; none if it runs from its sources alone."""
    try:
        installed = metadata("modelpad")
    except PackageNotFoundError:
        return
    for extra in installed.get_all("Provides-Extra") or ():
        yield f"Provides-Extra: {extra}"
    for requirement in installed.get_all("Requires-Dist") or ():
        if "extra ==" in requirement:
            yield f"Requires-Dist: {requirement}"


def _digest(body: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(body).digest())
    return "sha256=" + digest.decode("ascii").rstrip("=")


if __name__ == "__main__":
    print(f"Wrote {write_wheel(Path(sys.argv[1]))}.")
