"""ONNX Runtime Web: one version, from its npm package, verified; downloaded once into the cache."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
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
# What pages call the module and the compressed binary of either build.
MODULE, BINARY = "ort.mjs", "ort.wasm.gz"


@dataclass(frozen=True, slots=True)
class Build:
    """Two files of the package, with the SHA-256 of each."""

    module: tuple[str, str]
    binary: tuple[str, str]

    @property
    def files(self) -> dict[str, str]:
        """The digests by name."""
        return dict((self.module, self.binary))

    @property
    def packed(self) -> tuple[str, str]:
        """The files' names in the cache, where the binary is compressed."""
        return self.module[0], f"{self.binary[0]}.gz"


WASM = Build(
    (
        "ort.wasm.bundle.min.mjs",
        "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    ),
    (
        "ort-wasm-simd-threaded.wasm",
        "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
    ),
)
WEBGPU = Build(
    (
        "ort.webgpu.bundle.min.mjs",
        "0730816731ce2cdfb06f273da065d4a1c7091eb9d1756a83b2916c8a89d015e2",
    ),
    (
        "ort-wasm-simd-threaded.asyncify.wasm",
        "39f9f0894d478800487ed9f7dbe92618498db320cf55c8e3d89adff8dce658da",
    ),
)


@dataclass(frozen=True, slots=True)
class Runtime:
    """The files of a page's folder `runtime/`, by name, and whether they run graphs by WebGPU."""

    files: Mapping[str, bytes]
    webgpu: bool = False


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
    given: Path | None,
    cache: Path,
    progress: Progress = ignore_progress,
    *,
    webgpu: bool = False,
) -> Runtime:
    """What a page needs of ONNX Runtime Web, for WebAssembly alone or also for WebGPU.

    `given` is the npm package, or a folder with it unpacked. Without it, the package is downloaded
    once; only what pages need is kept in `cache`.

    Raises:
        NotFound: it is not there, or cannot be downloaded.
        ChecksumMismatch: a file is not the one of this version.
    """
    build = WEBGPU if webgpu else WASM
    kept = cache / "onnxruntime-web" / VERSION
    if given is not None:
        packed = pack_files(read_files(given, build), build)
    else:
        packed = read_kept(kept, build) or fetch_files(build, kept, progress)
    module, binary = (packed[name] for name in build.packed)
    licence = LICENCE.format(version=VERSION).encode("ascii")
    files = {MODULE: strip_map(module), BINARY: binary, "LICENSE": licence}
    return Runtime(files, webgpu)


def read_kept(folder: Path, build: Build) -> dict[str, bytes]:
    """The packed files in the cache; none unless all of them are intact."""
    try:
        packed = {name: (folder / name).read_bytes() for name in build.packed}
        module, binary = (packed[name] for name in build.packed)
        files = (module, gzip.decompress(binary))
        verify_files(dict(zip(build.files, files, strict=True)), build)
    except (OSError, EOFError, zlib.error, ChecksumMismatch):
        return {}
    return packed


def fetch_files(build: Build, kept: Path, progress: Progress) -> dict[str, bytes]:
    """The packed files from the package, which is downloaded; they are kept in the cache."""
    package = download(kept.parent, progress)
    packed = pack_files(read_files(package, build), build)
    keep_files(packed, kept)
    package.unlink(missing_ok=True)
    return packed


def strip_map(module: bytes) -> bytes:
    """The module without the address of its source map, which is not exported."""
    return module.rpartition(b"//# sourceMappingURL")[0] or module


def verify_files(files: Mapping[str, bytes], build: Build) -> None:
    """Raises `ChecksumMismatch` unless the files are those of this version."""
    for name, digest in build.files.items():
        if hashlib.sha256(files[name]).hexdigest() != digest:
            raise ChecksumMismatch(
                f"{name} is not the one of ONNX Runtime Web {VERSION}.",
                hint=f"Download {URL}, and name the file with --runtime.",
                file=name,
            )


def pack_files(files: Mapping[str, bytes], build: Build) -> dict[str, bytes]:
    """The module, and the binary compressed; the same files give the same bytes."""
    module, binary = (files[name] for name in build.files)
    bodies = (module, gzip.compress(binary, LEVEL, mtime=0))
    return dict(zip(build.packed, bodies, strict=True))


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


def read_files(path: Path, build: Build) -> dict[str, bytes]:
    """The files of a build, from a package or its folder.

    Raises `NotFound`, and `ChecksumMismatch` if they are not those of this version.
    """
    try:
        if path.is_dir():
            folder = path / "dist" if (path / "dist").is_dir() else path
            files = {name: (folder / name).read_bytes() for name in build.files}
        else:
            with tarfile.open(path, "r:gz") as package:
                files = {name: _extract(package, f"package/dist/{name}") for name in build.files}
    except (OSError, KeyError, EOFError, zlib.error, tarfile.TarError) as error:
        raise NotFound(
            f"{path} does not contain ONNX Runtime Web: {error}.",
            hint=f"Give {PACKAGE.name} or the folder node_modules/onnxruntime-web.",
        ) from error
    verify_files(files, build)
    return files


def _extract(package: tarfile.TarFile, name: str) -> bytes:
    member = package.extractfile(name)
    if member is None:
        raise KeyError(name)
    return member.read()
