"""Trains each architecture on MNIST and prints its test accuracy and training time.

Needs MNIST (in MODELPAD_DATA, or a download) and the extra `train`.

usage: python bench/train_digits.py [ARCHITECTURE...]
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from typing import get_args

from modelpad.recipes.digits import ArchitectureName


def main(architectures: list[str]) -> None:
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in architectures:
            begin = time.perf_counter()
            command = [sys.executable, "-m", "modelpad", "train", "digits", "--arch", name]
            command += ["--json", "--store", f"{folder}/store", "--runs", f"{folder}/runs"]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            seconds = round(time.perf_counter() - begin)
            rows[name] = json.loads(done.stdout) | {"seconds": seconds}
    print(json.dumps(rows))


if __name__ == "__main__":
    main(sys.argv[1:] or list(get_args(ArchitectureName)))
