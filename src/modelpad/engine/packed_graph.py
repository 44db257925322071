"""Large graphs on disk as ONNX Runtime holds them in memory, for processes to map and share.

On loading, ONNX Runtime copies the weights of a graph, and once more into the order in which its
kernels read them. Here both are done once, in a process of its own, and the results are written to
a cache: the optimised graph, and its packed weights. Sessions that are opened from there map the
weights, which are in memory once for all processes, and take next to no time to load.

The order depends on the processor and on ONNX Runtime's version: they are part of an entry's name.
An entry is verified by its checksums before it is mapped, never changes, and may be removed at any
time, as what is mapped stays readable. What a process maps is kept, for the next one to share it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import platform
import shutil
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from modelpad.bundle.external_data import find_locations
from modelpad.bundle.locks import claim_folder, remove_abandoned, try_lock
from modelpad.bundle.writer import sync_folder
from modelpad.engine.graph import SessionSettings, load_graph, make_options, open_graph
from modelpad.errors import first_line
from modelpad.runtime import InferenceSession, load_onnxruntime

if TYPE_CHECKING:
    from modelpad.bundle import Bundle

log = logging.getLogger("modelpad.engine")

WRITER = "modelpad.engine.graph_packing"
GRAPH, WEIGHTS, CHECKSUMS = "model.onnx", "model.data", "checksums.json"
STAGING = ".staging-"
KEPT = 4  # entries: those that were used last, beside those in use
WRITE_S = 600.0  # for an entry to be written
PAUSE_S = 0.1
_limit_lock = Lock()


class Unshared(Exception):
    """Why a graph cannot be shared."""


def load_shared(bundle: Bundle, settings: SessionSettings) -> InferenceSession:
    """Loads a bundle's graph: from the settings' cache if it is large, else a copy of its own.

    Raises `BundleInvalid`.
    """
    cache = settings.packed
    if cache is not None and settings.device == "cpu" and bundle.graph_bytes >= cache.min_bytes:
        try:
            return load_packed(bundle, settings, cache.folder)
        except Unshared as error:
            log.warning(
                "%s: each worker loads its own copy of the weights: %s", bundle.manifest.name, error
            )
    return load_graph(bundle.path(bundle.graph), settings)


def load_packed(bundle: Bundle, settings: SessionSettings, folder: Path) -> InferenceSession:
    """A session of the bundle's graph that maps its weights; writes the entry if need be.

    Raises `Unshared`.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        entry = folder / name_entry(bundle)
        with _locked(folder / f".{entry.name}.lock"):
            if not is_intact(entry):
                _replace_entry(entry, bundle.path(bundle.graph))
            os.utime(entry)
            graph = open_packed(entry, settings)
            _keep_while_used(entry, graph)
            return graph
    except OSError as error:
        raise Unshared(f"{folder}: {error.strerror or error}") from error


def name_entry(bundle: Bundle) -> str:
    """A name for what the packed graph depends on: its files, this processor, this version."""
    folder = bundle.graph.rpartition("/")[0]
    locations = find_locations(bundle.path(bundle.graph))
    files = [bundle.graph, *(f"{folder}/{each}" if folder else each for each in sorted(locations))]
    parts = [bundle.manifest.files[name].sha256 for name in files]
    parts += [str(load_onnxruntime().__version__), platform.machine(), _read_processor()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def is_intact(entry: Path) -> bool:
    """Whether all files of an entry are those that were written."""
    try:
        checksums = json.loads((entry / CHECKSUMS).read_bytes())
        return bool(checksums == hash_files(entry))
    except (OSError, ValueError):
        return False


def _replace_entry(entry: Path, graph: Path) -> None:
    shutil.rmtree(entry, ignore_errors=True)
    remove_abandoned(entry.parent, STAGING)
    with claim_folder(entry.parent, STAGING) as staged:
        write_packed(graph, staged)
        staged.rename(entry)
    sync_folder(entry.parent)
    with contextlib.suppress(OSError):  # another process removes the same ones
        remove_beyond_kept(entry.parent)


def remove_beyond_kept(folder: Path) -> None:
    """Removes the entries that were not used for longest, and are not in use. Raises `OSError`."""
    entries = [path for path in folder.iterdir() if not path.name.startswith(".")]
    for old in sorted(entries, key=lambda path: path.stat().st_mtime)[:-KEPT]:
        _remove_unused(old)


def _keep_while_used(entry: Path, graph: InferenceSession) -> None:
    """Keeps an entry in the cache for as long as this process has the graph."""
    used = try_lock(entry.parent / f".{entry.name}.used", shared=True)
    if used is not None:
        weakref.finalize(graph, os.close, used)


def _remove_unused(entry: Path) -> None:
    """Removes an entry unless a process maps it, or is about to."""
    paths = [entry.parent / f".{entry.name}.{kind}" for kind in ("lock", "used")]
    locks = [try_lock(path) for path in paths]
    if None not in locks:
        shutil.rmtree(entry, ignore_errors=True)
        for path in paths:
            path.unlink(missing_ok=True)
    for lock in locks:
        if lock is not None:
            os.close(lock)


def hash_files(folder: Path) -> dict[str, str]:
    """The SHA-256 of the graph and its weights."""
    sums = {}
    for name in (GRAPH, WEIGHTS):
        with (folder / name).open("rb") as file:
            sums[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return sums


def write_packed(graph: Path, folder: Path) -> None:
    """Writes an entry into `folder`, in a process that ends with the memory that this needs.

    Raises `Unshared` with the reason, and `OSError`.
    """
    command = [sys.executable, "-P", "-m", WRITER, str(graph.absolute()), str(folder.absolute())]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=WRITE_S
        )
    except subprocess.TimeoutExpired as error:
        raise Unshared(f"packing it took longer than {WRITE_S:g} s") from error
    if done.returncode:
        last = done.stderr.strip().rpartition("\n")[2]
        raise Unshared(last[:300] or f"packing it failed with code {done.returncode}")
    (folder / CHECKSUMS).write_text(json.dumps(hash_files(folder)))
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    sync_folder(folder)


def open_packed(entry: Path, settings: SessionSettings) -> InferenceSession:
    """A session that maps an entry, read-only. Raises `Unshared`."""
    options = make_options(settings)
    options.graph_optimization_level = (
        load_onnxruntime().GraphOptimizationLevel.ORT_DISABLE_ALL  # it is optimised
    )
    try:
        with room_to_map((entry / WEIGHTS).stat().st_size):
            graph = open_graph(entry / GRAPH, options, settings)
            _protect(entry / WEIGHTS)
            return graph
    except Exception as error:
        raise Unshared(f"ONNX Runtime cannot map it: {first_line(error, 300)}") from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds a lock file, for as long as it takes to write an entry. Raises `OSError`."""
    end = time.monotonic() + WRITE_S
    while (lock := try_lock(path)) is None:
        if time.monotonic() > end:
            raise TimeoutError(f"{path.name} is held by another process")
        time.sleep(PAUSE_S)
    try:
        yield
    finally:
        os.close(lock)


@contextmanager
def room_to_map(size: int) -> Iterator[None]:
    """Lets this process map `size` bytes more than its limit of writable memory.

    ONNX Runtime maps weights as private and writable, which counts until they are protected. Models
    that are loaded by several threads take turns, as the limit is the process's.
    """
    if sys.platform == "win32":
        yield
        return
    import resource

    with _limit_lock:
        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        if soft != resource.RLIM_INFINITY:
            raised = soft + size if hard == resource.RLIM_INFINITY else min(soft + size, hard)
            resource.setrlimit(resource.RLIMIT_DATA, (raised, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _protect(path: Path) -> None:
    """Makes this process's mappings of a file read-only: nobody writes to weights.

    They no longer count as writable memory then. Linux only.
    """
    if sys.platform != "linux":
        return
    import ctypes
    import mmap

    libc = ctypes.CDLL(None, use_errno=True)
    name = str(path.resolve())
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, _, _, _, _, *mapped = line.split(maxsplit=5)
        if mapped == [name]:
            start, end = (int(each, 16) for each in span.split("-"))
            libc.mprotect(ctypes.c_void_p(start), ctypes.c_size_t(end - start), mmap.PROT_READ)


def _read_processor() -> str:
    """What the kernels of ONNX Runtime are chosen by, where the system says so."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = ("vendor_id", "model name", "flags", "Features")
        return "\n".join(sorted({line for line in lines if line.startswith(names)}))
    return platform.processor()
