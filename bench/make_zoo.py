"""Copies the bundle of a training run into the package, without the Keras files.

usage: python bench/make_zoo.py runs/digits-compact/bundle
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from modelpad.bundle import open_bundle, write_bundle
from modelpad.zoo import FOLDER

KERAS_FILES = ("architecture.json", "model.weights.h5")


def main(source: Path) -> None:
    bundle = open_bundle(source)
    kept = [name for name in bundle.manifest.files if name not in KERAS_FILES]
    target = FOLDER / bundle.manifest.name
    shutil.rmtree(target, ignore_errors=True)
    written = write_bundle(target, bundle.manifest, {name: bundle.path(name) for name in kept})
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    print(json.dumps({"folder": str(written.folder), "bytes": size}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
