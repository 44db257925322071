"""Keeps what exporters print out of modelpad's own output.

Exporters write to stdout and stderr from Python and from native code, and through `logging`,
`warnings` and progress bars: megabytes, sometimes, of which only the exception matters. All of it
goes to a file, which is kept if the export fails and deleted if it succeeds.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from modelpad.confine import outer_tempdir
from modelpad.errors import ModelpadError


@contextlib.contextmanager
def exporter_log(exporter: str) -> Iterator[Path]:
    """Redirects everything that is printed to a file, whose path it gives.

    If a `ModelpadError` passes, the file is kept in the system's folder for temporary files, and
    the error's hint and its detail `log` name it. So translate exceptions inside the `with`.
    The whole process is affected: what other threads print meanwhile is in the file, too.
    """
    handle, name = tempfile.mkstemp(prefix=f"modelpad-{exporter}-", suffix=".log")
    path = Path(name)
    kept = False
    try:
        with (
            os.fdopen(handle, "w", encoding="utf-8", errors="replace", buffering=1) as file,
            _redirected(file),
            _logged(file),
        ):
            yield path
    except ModelpadError as error:
        kept = path.stat().st_size > 0 and _name_log(error, path)
        raise
    finally:
        if not kept:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def _redirected(file: IO[str]) -> Iterator[None]:
    """Sends file descriptors 1 and 2 to `file`, and Python's streams if they are elsewhere."""
    saved = []
    for number in (1, 2):
        with contextlib.suppress(OSError):  # closed, as in a daemon
            saved.append((number, os.dup(number)))
    _flush()
    try:
        with contextlib.ExitStack() as stack:
            if not _is_on(sys.stdout, 1):
                stack.enter_context(contextlib.redirect_stdout(file))
            if not _is_on(sys.stderr, 2):
                stack.enter_context(contextlib.redirect_stderr(file))
            for number, _ in saved:
                os.dup2(file.fileno(), number)
            yield
            _flush()
    finally:
        file.flush()
        for number, copy in saved:
            os.dup2(copy, number)
            os.close(copy)


def _is_on(stream: IO[str] | None, number: int) -> bool:
    """Whether a stream writes to a file descriptor: it does not in notebooks and in tests."""
    try:
        return stream is not None and stream.fileno() == number
    except (OSError, ValueError, AttributeError):
        return False


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()


@contextlib.contextmanager
def _logged(file: IO[str]) -> Iterator[None]:
    """Sends the log records of all libraries to `file` only."""
    before = [(each, each.handlers[:]) for each in _list_loggers()]
    handler = logging.StreamHandler(file)
    for each, _ in before:
        each.handlers[:] = [handler] if each.parent is None or not each.propagate else []
    try:
        with warnings.catch_warnings():
            yield
    finally:
        for each, handlers in before:
            new = [made for made in each.handlers if made is not handler and made not in handlers]
            each.handlers[:] = handlers + new
        for each in _list_loggers():  # those that a library has made meanwhile
            for made in each.handlers:
                if isinstance(made, logging.StreamHandler) and made.stream is file:
                    made.setStream(sys.__stderr__ or sys.stderr)


def _list_loggers() -> list[logging.Logger]:
    root = logging.getLogger()
    known = root.manager.loggerDict.values()
    return [root, *(each for each in known if isinstance(each, logging.Logger))]


def _name_log(error: ModelpadError, path: Path) -> bool:
    """Adds the log's path to the error. Returns whether the file stays where it is."""
    lasting = Path(outer_tempdir()) / path.name
    if lasting != path:
        try:
            shutil.copyfile(path, lasting)
            lasting.chmod(0o600)
        except OSError:
            return False
    error.details["log"] = str(lasting)
    error.hint = f"{error.hint} The exporter's log: {lasting}".strip()
    return lasting == path
