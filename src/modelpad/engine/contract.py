"""What a server needs of a model's engine and session, whatever kind of model they run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from modelpad.bundle import Bundle
    from modelpad.engine.batcher import QueueLimits
    from modelpad.engine.batching import BatchLimits
    from modelpad.engine.expected import Expected
    from modelpad.engine.running import BatchRecord
    from modelpad.engine.tensors import TensorInfo
    from modelpad.engine.typed import TypedAccess
    from modelpad.fields import Signature
    from modelpad.fields.arrays import Arrays


class ModelSession(Protocol):
    """A loaded bundle: `Session`, or `TextSession` for language models."""

    bundle: Bundle
    signature: Signature
    typed: TypedAccess

    @property
    def title(self) -> str:
        """The bundle's name."""

    @property
    def is_open(self) -> bool:
        """Whether the graph is loaded."""

    @property
    def is_described(self) -> bool:
        """Whether its tensors are known, so that it need not be loaded to describe them."""

    @property
    def signature_names(self) -> tuple[str, ...]:
        """The names of all signatures, the main one first."""

    def find_signature(self, name: str) -> ModelSession:
        """The session of a signature. Raises `InvalidInput` if there is none of that name."""

    def describe_tensors(self) -> tuple[list[TensorInfo], list[TensorInfo]]:
        """The inputs and outputs of tensor protocols."""

    def answer(self, values: Mapping[str, object]) -> dict[str, object]:
        """The encoded outputs for one item's values, without an engine."""

    def close(self) -> None:
        """Unloads the graph permanently."""


class Engine(Protocol):
    """Runs a session for many callers: `Batcher`, or `TextBatcher` for language models."""

    limits: QueueLimits
    expected: Expected
    observe: Callable[[BatchRecord], None] | None

    @property
    def session(self) -> ModelSession:
        """What it runs."""

    @property
    def batches(self) -> BatchLimits:
        """The size of a batch."""

    @property
    def waiting(self) -> int:
        """The number of requests that are queued or running."""

    @property
    def is_full(self) -> bool:
        """Whether another request would be rejected."""

    @property
    def is_stuck(self) -> bool:
        """Whether it hangs."""

    async def answer(self, values: Mapping[str, object]) -> dict[str, object]:
        """The encoded outputs for one item's values."""

    async def run(
        self, arrays: Arrays, *, timeout_s: float | None = None, signature: str = ""
    ) -> Arrays:
        """The outputs for tensors."""

    def check_free(self) -> None:
        """Raises `Overloaded` if the queue is full."""

    def hold(self) -> AbstractContextManager[None]:
        """Keeps `drain` waiting while the rest of a request is still being received."""

    async def drain(self, timeout_s: float) -> bool:
        """Waits until nothing is unfinished. Returns False on time-out."""

    def close(self) -> None:
        """Stops it."""

    def join(self, timeout_s: float) -> None:
        """Waits for its threads to end."""
