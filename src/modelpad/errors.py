"""All errors that modelpad raises deliberately, as one tree.

    ModelpadError
    ├── InvalidInput            a value is not valid for its field
    │   └── EmptyCanvas         a drawing without ink
    ├── TooLarge                a body, picture or tensor exceeds its limit
    ├── NotFound
    │   ├── ModelNotFound
    │   ├── VersionNotFound
    │   └── DataSetNotFound
    ├── BundleInvalid           a bundle that cannot be read
    │   ├── ChecksumMismatch    a file that has changed
    │   └── SignatureInvalid    a bundle without a trusted digital signature
    ├── StoreError              a store that cannot be read or written
    │   ├── FeedbackFull        as much feedback as may be kept
    │   ├── CollectionFull      as many pictures as may be kept
    │   └── UploadsFull         as many uploads as may be kept
    ├── JobFailed               a job that has failed or exceeded a limit
    ├── JobConflict             a job that cannot be changed any more
    ├── DataSetInvalid          a data set that is damaged or unsuitable for training
    ├── ModelFailed             the graph failed while it ran
    ├── Overloaded              the queue is full
    │   ├── JobsFull            too many jobs are waiting
    │   └── RateLimited         a client exceeds its rate limit
    │       └── TooManyFailures an address sends wrong API keys too often
    ├── Unauthorized            no API key, or an unknown one
    ├── Forbidden               the key does not permit this
    │   ├── ForeignOrigin       a browser sent the request from another site's page
    │   └── UnknownHost         a host name that the server does not serve
    ├── DeadlineExceeded        the time-out has passed
    ├── NotReady                the models are being loaded or unloaded
    ├── Unsupported             a part of a protocol that modelpad does not have
    ├── MissingExtra            an optional dependency that is not installed
    ├── TrainingFailed
    ├── ConversionFailed        a model that cannot be read or exported to ONNX
    │   └── NotTrusted          a model file that would run code
    ├── ParityFailed            a bundle whose outputs differ from its source model's
    ├── PortInUse
    └── UsageError              an invalid command line

HTTP statuses and exit codes are not defined here: `server/errors.py` and `cli/main.py` map them.
"""

from __future__ import annotations

from collections.abc import Iterable


class ModelpadError(Exception):
    """An error with a message (what is wrong), a hint (what to do) and machine-readable details.

    Tracebacks show the hint below the message.
    """

    def __init__(self, message: str, *, hint: str = "", **details: object) -> None:
        super().__init__(message)
        if hint:
            self.add_note(hint)
        self.message = message
        self.hint = hint
        self.details = details

    @property
    def words(self) -> str:
        """The message and the hint, for protocols whose errors are a single string."""
        return f"{self.message} {self.hint}".strip()


class InvalidInput(ModelpadError):
    """A value is not valid for its field. Details: `field`, `expected`, `got`."""


class EmptyCanvas(InvalidInput):
    """A drawing has no ink."""


class TooLarge(ModelpadError):
    """Something exceeds its limit. Details: `limit` and `got`; the message has the unit."""


class NotFound(ModelpadError):
    """Nothing of that name exists. Details: `known`, the names that do."""


class ModelNotFound(NotFound):
    """No model has that name."""


class VersionNotFound(NotFound):
    """The model has no such version or alias."""


class DataSetNotFound(NotFound):
    """There is no data set of that name, or its files are missing and cannot be downloaded."""


class BundleInvalid(ModelpadError):
    """A bundle is not readable, because of a missing file or an invalid manifest."""


class ChecksumMismatch(BundleInvalid):
    """A bundle's file has changed since it was written. Details: `file`."""


class SignatureInvalid(BundleInvalid):
    """A bundle is not signed, or not by a trusted key. Details: `file`, if one has changed."""


class StoreError(ModelpadError):
    """The store cannot be read or written. Details: `away`, if it may be back soon."""


class FeedbackFull(StoreError):
    """The feedback has reached its limit of items or bytes. Details: `limit`."""


class CollectionFull(StoreError):
    """The pictures that a server keeps have reached their limit. Details: `limit`."""


class UploadsFull(StoreError):
    """The files that clients have sent for jobs have reached their limit. Details: `limit`."""


class JobFailed(ModelpadError):
    """A job has failed, or exceeded a limit."""


class JobConflict(ModelpadError):
    """A job cannot be changed any more, or its idempotency key belongs to another one."""


class DataSetInvalid(ModelpadError):
    """A data set is damaged or unsuitable for training. Details: `path`."""


class ModelFailed(ModelpadError):
    """The model failed while it ran."""


class Overloaded(ModelpadError):
    """The queue is full. Details: `retry_after_s`."""


class JobsFull(Overloaded):
    """Too many jobs are waiting. Details: `retry_after_s`."""


class RateLimited(Overloaded):
    """A client exceeds its rate limit. Details: `retry_after_s`."""


class TooManyFailures(RateLimited):
    """An address sends wrong API keys, or none, too often. Details: `retry_after_s`."""


class Unauthorized(ModelpadError):
    """A request has no API key, or an unknown one. Details: `reason`, `missing` or `wrong`."""


class Forbidden(ModelpadError):
    """The API key is valid, but does not permit this."""


class ForeignOrigin(Forbidden):
    """A browser sent the request on behalf of another site that is not allowed."""


class UnknownHost(Forbidden):
    """The request is for a host name that the server does not serve."""


class DeadlineExceeded(ModelpadError):
    """The time-out has passed. Details: `timeout_s`."""


class NotReady(ModelpadError):
    """The models are being loaded or unloaded."""


class Unsupported(ModelpadError):
    """A request uses a part of a protocol that modelpad does not have."""


class MissingExtra(ModelpadError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, *, extra: str) -> None:
        """`package` is its name, or that of one of its modules."""
        package = package.partition(".")[0]
        super().__init__(
            f"{package} is not installed.",
            hint=f"Install it with: pip install 'modelpad[{extra}]'",
            package=package,
            extra=extra,
        )


class TrainingFailed(ModelpadError):
    """A training cannot start or continue."""


class ConversionFailed(ModelpadError):
    """A model cannot be read, or cannot be exported to ONNX."""


class NotTrusted(ConversionFailed):
    """A model file would run code. Details: `found`, the names of what would run."""


class ParityFailed(ModelpadError):
    """A bundle's outputs differ from its source model's."""


class PortInUse(ModelpadError):
    """Another program already listens on that address."""


class UsageError(ModelpadError):
    """A command line or an argument is invalid."""


def first_line(error: BaseException, max_length: int | None = None) -> str:
    """The first line of an error's message, else the name of its class.

    It is cut to `max_length` characters: some libraries put a whole graph on one line.
    """
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:max_length]


def forget_frames(error: BaseException) -> None:
    """Drops the tracebacks of a handled error and its causes.

    A traceback keeps its frames, and a frame its variables. In a server these include a request's
    body and the future that holds the error: a cycle that keeps the body in memory until the next
    full garbage collection.
    """
    chain: list[BaseException | None] = [error]
    while chain:
        one = chain.pop()
        if one is not None and one.__traceback__ is not None:
            one.__traceback__ = None
            chain += [one.__cause__, one.__context__]


def suggest_name(name: str, known: Iterable[str], *, kind: str = "model") -> str:
    """A hint that suggests the nearest of the `known` names and lists them."""
    from difflib import get_close_matches  # ten milliseconds, spent only on errors

    names = sorted(known)
    if not names:
        return f"There are no {kind}s yet."
    near = get_close_matches(name[:100], names, n=1)  # slow for long names
    listed = ", ".join(names[:12]) + (", ..." if len(names) > 12 else ".")
    return (f"Did you mean {near[0]}? " if near else "") + f"Known {kind}s: {listed}"
