"""Runs work in a child process, so that a hang or crash does not affect the caller.

Frameworks read model files in native code, which cannot be interrupted and may crash on a
damaged file. This module is independent of models. Windows cannot fork: there the work is done in
the calling process, without a limit of time.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from modelpad import errors
from modelpad.errors import ConversionFailed, ModelpadError

DEFAULT_TIMEOUT_S = 3600.0
_outer_tempdir: str | None = None
MORE_TIME = "To give it more time, import it with a larger --timeout (0: no limit)."


def run_confined(work: Callable[[], None], what: str, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
    """Runs `work` in a child process and removes its temporary files, whatever happens.

    Its output is printed as usual; what it changes in memory is lost. A `timeout_s` of 0 means no
    limit; `what` starts the error messages.

    Raises:
        ModelpadError: the one that `work` raised.
        ConversionFailed: it took longer than `timeout_s`, or crashed (details: `signal`).
        RuntimeError: `work` raised anything else; the message names it.
    """
    if not can_confine():
        return _work_here(work)
    folder = tempfile.mkdtemp(prefix="modelpad-import-")
    inlet, outlet = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.close(inlet)
        _work(work, folder, outlet)
    os.close(outlet)
    try:
        report = _read(inlet, time.monotonic() + timeout_s if timeout_s else None)
    finally:
        os.close(inlet)
        _kill(child)
        _, status = os.waitpid(child, 0)
        shutil.rmtree(folder, ignore_errors=True)
    if report is None:
        raise ConversionFailed(f"{what} took longer than {timeout_s:g} seconds.", hint=MORE_TIME)
    if not report:
        reason = _describe_exit(status)
        raise ConversionFailed(
            f"{what} crashed ({reason}).",
            hint="The file may be damaged or malicious, or need more memory than there is.",
            signal=reason,
        )
    _raise(json.loads(report))


def can_confine() -> bool:
    """Whether this system has child processes that begin as copies of their parent."""
    return hasattr(os, "fork")


def outer_tempdir() -> str:
    """The folder for temporary files that must outlive confined work."""
    return _outer_tempdir or tempfile.gettempdir()


def _work_here(work: Callable[[], None]) -> None:
    """Does the work in this process; its temporary files are removed, and errors are the same."""
    global _outer_tempdir
    before = tempfile.tempdir, _outer_tempdir
    with tempfile.TemporaryDirectory(prefix="modelpad-import-", ignore_cleanup_errors=True) as own:
        _outer_tempdir = outer_tempdir()
        tempfile.tempdir = own
        try:
            work()
        except (ModelpadError, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise RuntimeError(f"{type(error).__name__}: {error}") from error
        finally:
            tempfile.tempdir, _outer_tempdir = before


def _work(work: Callable[[], None], folder: str, outlet: int) -> NoReturn:
    """All that the child does: it reports only how `work` ended, and never returns."""
    global _outer_tempdir
    report: dict[str, object] = {}
    try:
        _outer_tempdir = outer_tempdir()
        os.setpgid(0, 0)  # so that processes started by `work` end with it
        die_with_parent()
        tempfile.tempdir = os.environ["TMPDIR"] = folder
        work()
    except ModelpadError as error:
        details = {key: value for key, value in error.details.items() if _is_plain(value)}
        report = {"kind": type(error).__name__, "hint": error.hint, "details": details}
        report["message"] = error.message
    except BaseException as error:
        report = {"kind": "", "message": f"{type(error).__name__}: {error}"}
    if report and "--debug" in sys.argv:
        traceback.print_exc()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
        with os.fdopen(outlet, "w", encoding="utf-8") as pipe:
            json.dump(report, pipe)
    finally:
        os._exit(0)


def _read(inlet: int, end: float | None) -> bytes | None:
    """The child's report, empty if it crashed; None if it has not ended in time."""
    report = b""
    while True:
        left = None if end is None else max(0.0, end - time.monotonic())
        if not select.select([inlet], [], [], left)[0]:
            return None
        chunk = os.read(inlet, 1 << 16)
        if not chunk:
            return report
        report += chunk


def _kill(child: int) -> None:
    for kill in (os.killpg, os.kill):
        try:
            kill(child, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue


def _raise(report: dict[str, Any]) -> None:
    if not report:
        return
    kind = getattr(errors, report["kind"], None)
    if not isinstance(kind, type) or not issubclass(kind, ModelpadError):
        raise RuntimeError(report["message"])
    error = ModelpadError.__new__(kind)
    ModelpadError.__init__(error, report["message"], hint=report["hint"], **report["details"])
    raise error


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int | float | list | None)


def _describe_exit(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def die_with_parent() -> None:
    """Linux kills this process when the one that started it ends."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
