"""`modelpad doctor`: checks this machine and reports what to install."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from modelpad import __version__
from modelpad.cli.main import DONE, FAILED, add_common_options, add_store_option
from modelpad.cli.settings import Settings
from modelpad.installation import install_command

EXAMPLE = """example:
  modelpad doctor
  modelpad doctor --json
"""
BASE = ("numpy", "onnxruntime", "pillow", "httptools", "msgspec", "python-multipart")
TRAINING = ("torch", "keras", "onnx", "onnxscript", "h5py", "scikit-learn", "matplotlib")

# The package and the extra of frameworks whose names are others.
FRAMEWORKS = {"scikit-learn": ("sklearn", "sklearn"), "pytorch": ("torch", "pytorch")}


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check; `state` is ok, note (optional and missing) or bad."""

    state: str
    what: str
    hint: str = ""


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.epilog = EXAMPLE
    add_store_option(parser)
    add_common_options(parser)


def run(args: argparse.Namespace) -> int:
    """Prints one line per finding; returns 1 if anything essential does not work."""
    findings = list(check_all(Settings.from_environment(args)))
    if args.json:
        print(json.dumps({"findings": [asdict(finding) for finding in findings]}))
    else:
        for finding in findings:
            mark = {"ok": "ok  ", "note": "note", "bad": "BAD "}[finding.state]
            print(f"{mark}  {finding.what}" + (f"  ({finding.hint})" if finding.hint else ""))
    return FAILED if any(finding.state == "bad" for finding in findings) else DONE


def check_all(settings: Settings) -> Iterator[Finding]:
    """Checks Python, packages, ONNX Runtime, the bundled model, the store and data folders."""
    python = platform.python_version()
    yield Finding(
        "ok" if sys.version_info >= (3, 11) else "bad",
        f"modelpad {__version__} on Python {python}, {platform.system()} {platform.machine()}",
    )
    for package in BASE:
        yield _check_package(package, "bad", install_command())
    for package in TRAINING:
        yield _check_package(package, "note", f"for training: {install_command('train')}")
    yield from _check_engine()
    yield (store := _check_store(settings))
    if store.state == "ok":
        yield from check_native_models(settings)
    for root in settings.data_roots:
        found = root.is_dir()
        yield Finding(
            "ok" if found else "bad",
            f"data folder {root}",
            "" if found else "not found; check MODELPAD_DATA",
        )


def _check_package(name: str, state: str, hint: str) -> Finding:
    try:
        return Finding("ok", f"{name} {version(name)}")
    except PackageNotFoundError:
        return Finding(state, f"{name} is not installed", hint)


def _check_engine() -> Iterator[Finding]:
    from modelpad.bundle import open_bundle
    from modelpad.engine import Session, allotted_cpus
    from modelpad.errors import ModelpadError
    from modelpad.zoo import zoo_bundles

    yield Finding("ok", f"{allotted_cpus()} CPUs available")
    try:
        session = Session(open_bundle(zoo_bundles()["digits"]))
        session.warm_up()
        yield Finding("ok", "the bundled digits model works")
    except (ModelpadError, ImportError) as error:
        yield Finding("bad", f"the bundled digits model fails: {error}")


def check_native_models(settings: Settings) -> Iterator[Finding]:
    """Whether the models in the store that run in their own framework can run on this machine."""
    from modelpad.errors import ModelpadError
    from modelpad.store import open_store

    store = open_store(settings.store)
    for name in store.names():
        try:
            version = store.resolve(name).version
            native = store.manifest(f"{name}@{version}").native
        except ModelpadError as error:
            yield Finding("bad", f"the model {name} cannot be read: {error}", error.hint)
            continue
        if native is None:
            continue
        what = f"the model {name} version {version} runs in {native.framework}"
        package, extra = FRAMEWORKS.get(native.framework, (native.framework, native.framework))
        if find_spec(package) is None:
            yield Finding("bad", f"{what}, which is not installed", install_command(extra))
        else:
            yield Finding("ok", what)


def _check_store(settings: Settings) -> Finding:
    from modelpad.errors import ModelpadError
    from modelpad.store import open_store

    try:
        open_store(settings.store).check_writable()
    except ModelpadError as error:
        return Finding("bad", f"store {settings.store}: {error.message}", error.hint)
    return Finding("ok", f"store {settings.store}")
