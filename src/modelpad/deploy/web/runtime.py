"""ONNX Runtime Web: one version, from its npm package, verified; downloaded once into the cache."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from modelpad.datasets.catalogue import RemoteFile
from modelpad.datasets.download import DownloadFailed, fetch_file
from modelpad.datasets.progress import Progress, ProgressUpdate, ignore_progress
from modelpad.errors import ChecksumMismatch, NotFound

VERSION = "1.30.0"
PACKAGE = RemoteFile(
    f"onnxruntime-web-{VERSION}.tgz",
    "125fcb062391f1a44d992000a5b3efc531c95c7231baa7fd16e0ef879b05dad0",
    33_106_585,
)
URL = f"https://registry.npmjs.org/onnxruntime-web/-/{PACKAGE.name}"
MODULE, BINARY = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"
# The files that a page needs, with the SHA-256 of each.
FILES = {
    MODULE: "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    BINARY: "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
PACKED = (MODULE, f"{BINARY}.gz")
LEVEL = 6  # 9 takes ten times as long for 1 %
LICENCE = """\
ONNX Runtime Web {version}, https://github.com/microsoft/onnxruntime

MIT License

Copyright (c) Microsoft Corporation

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
"""


def load_runtime(
    given: Path | None, cache: Path, progress: Progress = ignore_progress
) -> dict[str, bytes]:
    """The files of the folder `runtime/` of a page, by name; the binary is compressed.

    `given` is the npm package, or a folder with it unpacked. Without it, the package is downloaded
    once; only what pages need is kept in `cache`.

    Raises:
        NotFound: it is not there, or cannot be downloaded.
        ChecksumMismatch: a file is not the one of this version.
    """
    kept = cache / "onnxruntime-web" / VERSION
    if given is not None:
        files = pack_files(read_files(given))
    elif all((kept / name).is_file() for name in PACKED):
        files = {name: (kept / name).read_bytes() for name in PACKED}
    else:
        package = download(cache / "onnxruntime-web", progress)
        files = pack_files(read_files(package))
        keep_files(files, kept)
        package.unlink(missing_ok=True)
    verify_files(files)
    licence = LICENCE.format(version=VERSION).encode("ascii")
    return {**files, MODULE: strip_map(files[MODULE]), "LICENSE": licence}


def strip_map(module: bytes) -> bytes:
    """The module without the address of its source map, which is not exported."""
    return module.rpartition(b"//# sourceMappingURL")[0] or module


def verify_files(files: Mapping[str, bytes]) -> None:
    """Raises `ChecksumMismatch` unless the files are those of this version."""
    for name, digest in FILES.items():
        try:
            body = files[name] if name in files else gzip.decompress(files[f"{name}.gz"])
        except (OSError, EOFError, zlib.error):
            body = b""
        if hashlib.sha256(body).hexdigest() != digest:
            raise ChecksumMismatch(
                f"{name} is not the one of ONNX Runtime Web {VERSION}.",
                hint=f"Download {URL}, and name the file with --runtime.",
                file=name,
            )


def pack_files(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files as pages have them; the same files give the same bytes."""
    binary = gzip.compress(files[BINARY], LEVEL, mtime=0)
    return {MODULE: files[MODULE], f"{BINARY}.gz": binary}


def keep_files(files: Mapping[str, bytes], folder: Path) -> None:
    """Writes files into the cache, each renamed into place; an unwritable cache is no error."""
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        for name, body in files.items():
            part = folder / f"{name}.{os.getpid()}.part"
            part.write_bytes(body)
            part.replace(folder / name)


def download(folder: Path, progress: Progress) -> Path:
    """The package, downloaded into `folder`. Raises `NotFound`."""

    def report(done: int) -> None:
        progress(ProgressUpdate("download", PACKAGE.name, done, PACKAGE.download_bytes, "bytes"))

    try:
        path = fetch_file(URL, PACKAGE, folder, report)
    except DownloadFailed as error:
        raise NotFound(
            f"ONNX Runtime Web was not found and cannot be downloaded: {error}.",
            hint=f"Download {URL} elsewhere, and name the file with --runtime.",
        ) from error
    total = PACKAGE.download_bytes
    progress(ProgressUpdate("download", PACKAGE.name, total, total, "bytes", finished=True))
    return path


def read_files(path: Path) -> Mapping[str, bytes]:
    """The files that a page needs, from a package or its folder. Raises `NotFound`."""
    try:
        if path.is_dir():
            folder = path / "dist" if (path / "dist").is_dir() else path
            return {name: (folder / name).read_bytes() for name in FILES}
        with tarfile.open(path, "r:gz") as package:
            return {name: _extract(package, f"package/dist/{name}") for name in FILES}
    except (OSError, KeyError, EOFError, tarfile.TarError) as error:
        raise NotFound(
            f"{path} does not contain ONNX Runtime Web: {error}.",
            hint=f"Give {PACKAGE.name} or the folder node_modules/onnxruntime-web.",
        ) from error


def _extract(package: tarfile.TarFile, name: str) -> bytes:
    member = package.extractfile(name)
    if member is None:
        raise KeyError(name)
    return member.read()
