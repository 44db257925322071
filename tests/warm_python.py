"""Runs commands in forks of a process that has imported the frameworks, which takes seconds.

Each command has a process, an environment and a working directory of its own, as if started with
`python -m modelpad`. Tests of isolation, of start-up or of lazy imports start Python itself.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import select
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# What imports of models import in the end, where it is installed.
MODULES = (
    *("onnx", "onnxscript", "keras", "torch.export", "torch._dynamo", "sklearn", "skl2onnx"),
    *("skops.io", "pandas", "xgboost", "lightgbm", "catboost", "onnxmltools", "safetensors"),
    *("modelpad.convert", "modelpad.cli.import_model"),
)
# Without PyTorch, Keras would import TensorFlow, whose threads a fork does not have.
NEEDED = {"keras": "torch"}


class WarmPython:
    """The process that forks. It is started when it is first needed."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def run(
        self,
        arguments: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        timeout_s: float = 300,
    ) -> subprocess.CompletedProcess[str]:
        """Runs `modelpad` with arguments, one command at a time.

        Raises `subprocess.TimeoutExpired`.
        """
        with self._lock, tempfile.TemporaryDirectory() as folder:
            outputs = [str(Path(folder) / name) for name in ("stdout", "stderr")]
            process = self._start()
            assert process.stdin is not None
            assert process.stdout is not None
            request = {"arguments": [*arguments], "cwd": str(cwd), "env": dict(env)}
            process.stdin.write(json.dumps(request | {"outputs": outputs}) + "\n")
            process.stdin.flush()
            if not select.select([process.stdout], [], [], timeout_s)[0]:
                self.close()
                raise subprocess.TimeoutExpired([*arguments], timeout_s)
            code = int(process.stdout.readline())
            said, told = (Path(name).read_text("utf-8", "replace") for name in outputs)
        return subprocess.CompletedProcess([*arguments], code, said, told)

    def close(self) -> None:
        """Ends the process, and with it a command that still runs."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def _start(self) -> subprocess.Popen[str]:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-P", __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        return self._process


def main() -> None:
    """Reads a command from each line of standard input, and writes its exit code."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries that print when they are imported write no answer
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in MODULES:
            root = name.partition(".")[0]
            if find_spec(root) and find_spec(NEEDED.get(name, root)):
                import_module(name)
    gc.freeze()
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            os._exit(run_command(json.loads(line)))
        _, status = os.waitpid(child, 0)
        answers.write(f"{os.waitstatus_to_exitcode(status)}\n")
        answers.flush()


def run_command(request: dict[str, Any]) -> int:
    """Becomes `python -m modelpad ARGUMENTS`. Returns its exit code."""
    from modelpad.cli.main import main as run

    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    sys.path.insert(0, request["cwd"])
    sys.argv = ["modelpad", *request["arguments"]]
    for target, name in zip((1, 2), request["outputs"], strict=True):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT), target)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    tempfile.tempdir = None  # as TMPDIR says
    sys.modules["__main__"] = type(sys)("__main__")
    code = 1
    try:
        code = run()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    return code


if __name__ == "__main__":
    main()
