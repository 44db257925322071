"""Every error that modelpad raises on purpose, as one tree.

    ModelpadError
    ├── InvalidInput            what was sent does not fit the field
    │   └── EmptyCanvas         a drawing without ink
    ├── TooLarge                a body, picture or tensor over its limit
    ├── NotFound
    │   ├── ModelNotFound
    │   ├── VersionNotFound
    │   └── DataSetNotFound
    ├── BundleInvalid           a bundle that cannot be read
    │   └── ChecksumMismatch    a file of it that changed
    ├── StoreError              a store that cannot be read or written
    ├── DataSetInvalid          data that is damaged or cannot be learned from
    ├── ModelFailed             the graph raised while it ran
    ├── Overloaded              the queue is full
    │   └── RateLimited         one client asks too often
    │       └── TooManyFailures one address sends wrong API keys too often
    ├── Unauthorized            no API key, or an unknown one
    ├── Forbidden               a key that may not do this
    │   ├── ForeignOrigin       a page of another site asked a browser to send the request
    │   └── UnknownHost         a host name that the server does not answer to
    ├── DeadlineExceeded        no answer within the time allowed
    ├── NotReady                the models are still being opened
    ├── MissingExtra            an optional part that is not installed
    ├── TrainingFailed
    ├── ConversionFailed        a foreign model that cannot be turned into a graph
    │   └── NotTrusted          a foreign file that would run code
    ├── ParityFailed            a bundle that disagrees with its source model
    ├── PortInUse
    └── UsageError              a command line that makes no sense

This module knows nothing of HTTP or exit codes: `server/errors.py` and `cli/main.py` map them.
"""

from __future__ import annotations

from collections.abc import Iterable


class ModelpadError(Exception):
    """An error with a message (what is wrong), a hint (what to do) and details as data."""

    def __init__(self, message: str, *, hint: str = "", **details: object) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details

    @property
    def words(self) -> str:
        """Message and hint as one text, for protocols whose errors are a text."""
        return f"{self.message} {self.hint}".strip()


class InvalidInput(ModelpadError):
    """A value does not fit its field. Details: `field`, `expected`, `got`."""


class EmptyCanvas(InvalidInput):
    """A drawing holds no ink."""


class TooLarge(ModelpadError):
    """Something is over its limit. Details: `limit` and `got`, with the unit in the message."""


class NotFound(ModelpadError):
    """A thing asked for by name does not exist. Details: `known`, the names that do."""


class ModelNotFound(NotFound):
    """No model has that name."""


class VersionNotFound(NotFound):
    """The model has no such version or alias."""


class DataSetNotFound(NotFound):
    """No data set of that name, or its files are not here and cannot be downloaded."""


class BundleInvalid(ModelpadError):
    """A bundle is not readable: a file missing, a manifest that makes no sense."""


class ChecksumMismatch(BundleInvalid):
    """A bundle's file is not the one that was written. Details: `file`."""


class StoreError(ModelpadError):
    """The store cannot be read or written."""


class DataSetInvalid(ModelpadError):
    """A data set is damaged or cannot be learned from. Details: `path`."""


class ModelFailed(ModelpadError):
    """The model itself raised while it ran."""


class Overloaded(ModelpadError):
    """More work waits than the queue may hold. Details: `retry_after_s`."""


class RateLimited(Overloaded):
    """One client asks more often than it may. Details: `retry_after_s`."""


class TooManyFailures(RateLimited):
    """One address sends wrong API keys, or none, too often. Details: `retry_after_s`."""


class Unauthorized(ModelpadError):
    """A request has no API key, or one that nobody has. Details: `reason`, missing or wrong."""


class Forbidden(ModelpadError):
    """The API key is known, but its owner may not do this."""


class ForeignOrigin(Forbidden):
    """A page of another site, which is not listed, asked a browser to send the request."""


class UnknownHost(Forbidden):
    """The request names a host that the server does not answer to."""


class DeadlineExceeded(ModelpadError):
    """No answer within the time allowed. Details: `timeout_s`."""


class NotReady(ModelpadError):
    """The models are still being opened, or are being closed."""


class MissingExtra(ModelpadError):
    """A package of an optional extra is not installed."""

    def __init__(self, package: str, *, extra: str) -> None:
        super().__init__(
            f"{package} is not installed.",
            hint=f"Install it with: pip install 'modelpad[{extra}]'",
            package=package,
            extra=extra,
        )


class TrainingFailed(ModelpadError):
    """A training cannot start or go on."""


class ConversionFailed(ModelpadError):
    """A foreign model cannot be read, or not be turned into an ONNX graph."""


class NotTrusted(ConversionFailed):
    """A foreign file holds what would run code. Details: `found`, the names of it."""


class ParityFailed(ModelpadError):
    """A bundle does not answer as its source model does."""


class PortInUse(ModelpadError):
    """Another program listens on that address already."""


class UsageError(ModelpadError):
    """A command line that makes no sense."""


def first_line(error: BaseException, most: int | None = None) -> str:
    """What a foreign error says, at its shortest: its first line, else the name of its class.

    `most` characters of it are kept, where given; libraries write whole graphs into one line.
    """
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:most]


def forget_frames(error: BaseException) -> None:
    """Drops the tracebacks of an error that was handled, and of all that led to it.

    A traceback keeps the frames it went through, a frame its variables, and among those of a server
    are a request's body and the future that holds the error: a cycle, which keeps the body until
    the next full garbage collection.
    """
    chain: list[BaseException | None] = [error]
    while chain:
        one = chain.pop()
        if one is not None and one.__traceback__ is not None:
            one.__traceback__ = None
            chain += [one.__cause__, one.__context__]


def suggest_name(name: str, known: Iterable[str], *, kind: str = "model") -> str:
    """A hint that names the nearest of `known`, or lists what there is."""
    from difflib import get_close_matches  # ten milliseconds that only an error pays

    names = sorted(known)
    if not names:
        return f"There is no {kind} yet."
    near = get_close_matches(name[:100], names, n=1)  # its time grows with the length
    listed = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return (f"Did you mean {near[0]}? " if near else "") + f"There is: {listed}."
