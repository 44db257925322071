"""Finishes the environment of an image: removes what serving never reads, and compiles the rest.

Runs inside the build, with the Python of the virtual environment. Standard library only.

    python assemble.py ROOT [--slim]

ROOT becomes files for the final image: the compiled modules of the standard library that serving
imports or, with `--slim`, all of Python and the libraries that it loads, for an image without any
operating system. Everything here gives the same bytes every time.
"""

import importlib
import importlib.util
import json
import os
import py_compile
import re
import shutil
import subprocess
import sys
import sysconfig
from importlib.metadata import Distribution, distributions
from pathlib import Path

SITE = Path(sysconfig.get_path("purelib"))
STANDARD = Path(sysconfig.get_path("stdlib"))
BOM = Path(sys.prefix) / "sbom.cdx.json"

# The first is a copy of what `onnxruntime_pybind11_state` contains, which nothing loads.
UNUSED = (
    "onnxruntime/capi/libonnxruntime.so*",
    "onnxruntime/capi/training",
    "onnxruntime/datasets",
    "onnxruntime/quantization",
    "onnxruntime/tools",
    "onnxruntime/transformers",
    "onnxruntime/ThirdPartyNotices.txt",
    "numpy/*/tests",
    "numpy/tests",
    "numpy/f2py",
    "numpy/distutils",
    "numpy/_core/include",
    "numpy/_core/lib",
    "numpy/random/lib",
    "numpy/_core/_simd*.so",  # for numpy's own tests
    "grpc/_cython/_credentials/roots.pem",  # for clients
    "numpy/typing/tests",
    "PIL/_avif*.so",  # no field accepts this format
    "pillow.libs/libavif*",
    "PIL/_imagingft*.so",  # fonts, which only training draws with
    "pillow.libs/libfreetype*",
    "pillow.libs/libharfbuzz*",
    "PIL/_imagingtk*.so",
    "modelpad/zoo/reviews",  # models that are deployed are in the store
    "modelpad/zoo/styles",
    "modelpad/zoo/writer",
    "**/*.pyi",
    "**/*.pxd",
    "**/*.c",
    "**/*.h",
)
UNUSED_STANDARD = re.compile(
    r"(test|idlelib|tkinter|turtledemo|turtle\.py|ensurepip|lib2to3|pydoc_data|venv|config-.*"
    r"|site-packages|dist-packages|__pycache__|.*/__pycache__|.*/tests?"
    r"|lib-dynload/(_test|_ctypes_test|xx|_xx|_tkinter|_curses|_dbm|_gdbm|readline|nis).*)(/|$)"
)
# What a server imports while it starts and answers; with what these import.
SERVING = (
    "modelpad.cli.main",
    "modelpad.cli.serve",
    "modelpad.cli.serve_options",
    "modelpad.server.launch",
    "modelpad.server.assembly",
    "modelpad.server.workers.supervisor",
    "modelpad.server.grpc.listener",
    "modelpad.engine.calibration",
    "modelpad.zoo",
    "numpy",
    "encodings.idna",
    "PIL.JpegImagePlugin",
    "PIL.PngImagePlugin",
    "PIL.WebPImagePlugin",
    "socket",
    "ssl",
)
LIBRARY = re.compile(r"(?:=> )?(/\S+) \(0x")


def main(root: Path, *, slim: bool) -> None:
    """Prepares the environment, and fills `root`."""
    root.mkdir(parents=True, exist_ok=True)
    remove_unused(SITE)
    for path in list(SITE.rglob("__pycache__")):
        shutil.rmtree(path)
    BOM.write_text(json.dumps(list_components(SITE), indent=1, sort_keys=True) + "\n", "utf-8")
    for path in sorted(SITE.rglob("*.py")):
        compile_module(path)
    if slim:
        copy_python(root)
        for folder in (SITE, root / STANDARD.relative_to("/")):
            drop_sources(folder)
    else:
        compile_standard(root)


def remove_unused(site: Path) -> None:
    """Deletes files that serving never reads."""
    for pattern in UNUSED:
        for path in list(site.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def compile_module(source: Path, root: Path | None = None) -> None:
    """Writes the module's `.pyc`, which stays valid whatever time the image gives the source.

    It goes next to the source or, with `root`, to the same place below it.
    """
    pyc = Path(importlib.util.cache_from_source(str(source)))
    py_compile.compile(
        str(source),
        str(root / pyc.relative_to("/") if root else pyc),
        dfile=str(source),
        quiet=2,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )


def compile_standard(root: Path) -> None:
    """Compiles the modules of the standard library that serving imports, for `root`.

    The official images of Python come without them.
    """
    for name in SERVING:
        try:
            importlib.import_module(name)
        except ImportError as error:
            print(f"not compiled: {name} ({error})")  # gRPC, where the image is without
    importlib.import_module("modelpad.runtime").load_onnxruntime()
    for module in list(sys.modules.values()):
        origin = getattr(getattr(module, "__spec__", None), "origin", None) or ""
        source = Path(origin)
        if source.suffix == ".py" and source.is_relative_to(STANDARD):
            compile_module(source, root)


def copy_python(root: Path) -> None:
    """Copies Python, its standard library, and every shared library that it loads."""
    python = Path(sys.prefix, "bin", "python")
    for path in follow_links(python)[1:]:
        copy_file(path, root)
    for path in sorted(STANDARD.rglob("*")):
        name = path.relative_to(STANDARD).as_posix()
        if not UNUSED_STANDARD.match(name) and path.is_file():
            copy_file(path, root)
            if path.suffix == ".py":
                compile_module(path, root)
    binaries = [*root.rglob("*.so"), *SITE.rglob("*.so*"), python]
    for library in sorted({name for path in binaries for name in list_libraries(path)}):
        copy_file(Path(library), root, resolve=True)
    for name in ("/etc/ld.so.cache", "/etc/ssl/certs/ca-certificates.crt", "/etc/nsswitch.conf"):
        if Path(name).exists():
            copy_file(Path(name), root, resolve=True)
    (root / "etc/passwd").write_text("modelpad:x:65532:65532::/tmp:/sbin/nologin\n", "utf-8")
    (root / "etc/group").write_text("modelpad:x:65532:\n", "utf-8")
    (root / "tmp").mkdir(mode=0o1777)
    (root / "tmp").chmod(0o1777)


def drop_sources(folder: Path) -> None:
    """Puts each compiled module in the place of its source, where Python finds it, too.

    Tracebacks then show no lines, but names and numbers.
    """
    for pyc in list(folder.rglob("__pycache__/*.pyc")):
        source = pyc.parents[1] / f"{pyc.name.partition('.')[0]}.py"
        if source.exists():
            source.unlink()
            pyc.rename(source.with_suffix(".pyc"))


def follow_links(path: Path) -> list[Path]:
    """A path and what its links lead to; nothing if it does not exist."""
    found = []
    while path.exists():
        found.append(path)
        if not path.is_symlink():
            break
        path = Path(os.path.normpath(path.parent / path.readlink()))
    return found


def copy_file(path: Path, root: Path, *, resolve: bool = False) -> None:
    """Copies a file or link to the same place below `root`; with `resolve`, what it leads to."""
    target = root / path.relative_to("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists() and not target.is_symlink():
        shutil.copy2(path, target, follow_symlinks=resolve)


def list_libraries(binary: Path) -> list[str]:
    """The shared libraries that a binary loads, outside the environment."""
    done = subprocess.run(["ldd", str(binary)], capture_output=True, text=True, check=False)
    return [name for name in LIBRARY.findall(done.stdout) if not name.startswith(sys.prefix)]


def list_components(site: Path) -> dict[str, object]:
    """The software bill of materials (CycloneDX 1.5): Python and every package in `site`."""
    version = ".".join(map(str, sys.version_info[:3]))
    python = {
        "type": "platform",
        "name": "python",
        "version": version,
        "bom-ref": f"pkg:generic/python@{version}",
        "purl": f"pkg:generic/python@{version}",
    }
    packages = sorted(distributions(path=[str(site)]), key=lambda one: one.metadata["Name"].lower())
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "components": [python, *(describe_package(package) for package in packages)],
    }


def describe_package(package: Distribution) -> dict[str, object]:
    """A package's entry in the bill of materials."""
    name = re.sub(r"[-_.]+", "-", package.metadata["Name"]).lower()
    purl = f"pkg:pypi/{name}@{package.version}"
    entry: dict[str, object] = {
        "type": "library",
        "name": name,
        "version": package.version,
        "bom-ref": purl,
        "purl": purl,
    }
    licence = package.metadata.json.get("license_expression")
    if licence:
        entry["licenses"] = [{"expression": licence}]
    return entry


if __name__ == "__main__":
    main(Path(sys.argv[1]), slim="--slim" in sys.argv)
