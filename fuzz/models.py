"""Models without a graph: real signatures, but all outputs are zeros, to fuzz only decoding."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np

from modelpad.engine import TensorInfo, TypedAccess
from modelpad.errors import ModelpadError
from modelpad.fields import Image, Label, Score, Signature, Sketch, Tensor, Text
from modelpad.server.budget import ByteBudget, Reservation
from modelpad.server.errors import respond_error, respond_words
from modelpad.server.host import ModelHost
from modelpad.server.http.messages import Request, ServerLimits
from modelpad.server.inference import Inference
from modelpad.server.model_table import ModelTable
from modelpad.server.models import ServedModel

LIMITS = ServerLimits(body_bytes=1 << 16, header_bytes=1 << 12)
LOOP = asyncio.new_event_loop()
INFERENCE = Inference(ModelHost(ModelTable([])), ByteBudget(LIMITS.inflight_bytes))


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """Runs a coroutine to completion, on one loop for all inputs."""
    return LOOP.run_until_complete(work)


@contextmanager
def allow_errors() -> Iterator[None]:
    """Accepts a `ModelpadError`, if it can be turned into a response."""
    try:
        yield
    except ModelpadError as error:
        respond_error(error)
        respond_words(error, error.words)


class ZeroBatcher:
    """Stands in for a model's batcher; every output is zero."""

    def __init__(self, session: ZeroSession) -> None:
        self.session = session
        self.limits = SimpleNamespace(max_length=64)

    async def run(self, arrays: Mapping[str, Any], **_: Any) -> dict[str, Any]:
        """A batch of outputs. Asserts that the inputs match the graph."""
        count = len(next(iter(arrays.values())))
        inputs, outputs = self.session.describe_tensors()
        for info in inputs:
            array, wanted = arrays[info.name], info.dtype
            assert array.dtype == (object if wanted == "string" else np.dtype(wanted)), array.dtype
            assert array.ndim == len(info.shape)
            assert all(
                want in (-1, have) for want, have in zip(info.shape, array.shape, strict=True)
            )
        return {
            info.name: np.full((count, *info.shape[1:]), "", object)
            if info.dtype == "string"
            else np.zeros((count, *info.shape[1:]), info.dtype)
            for info in outputs
        }

    async def answer(self, values: Mapping[str, object], **_: Any) -> dict[str, Any]:
        """One item, decoded and encoded by its fields."""
        typed = self.session.typed
        return typed.outputs.encode(await self.run(typed.inputs.decode(values)))

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Does nothing; the real batcher keeps its model loaded."""
        yield


class ZeroSession:
    """Stands in for a model's session; it has no graph."""

    def __init__(
        self, signature: Signature, inputs: list[TensorInfo], outputs: list[TensorInfo]
    ) -> None:
        self.signature = signature
        self.typed = TypedAccess(signature)
        self.signature_names = ("serving_default",)
        self._tensors = inputs, outputs

    def find_signature(self, name: str) -> ZeroSession:
        """Itself: there is only one."""
        return self

    def describe_tensors(self) -> tuple[list[TensorInfo], list[TensorInfo]]:
        """The inputs and outputs."""
        return self._tensors


def make_model(
    name: str, inputs: list[TensorInfo], outputs: list[TensorInfo], signature: Signature
) -> Any:
    """A served model without a graph."""
    manifest = SimpleNamespace(
        signature=signature, name=name, source={}, native=None, sequence=None
    )
    bundle: Any = SimpleNamespace(manifest=manifest)
    batcher: Any = ZeroBatcher(ZeroSession(signature, inputs, outputs))
    return ServedModel(name, 1, bundle, batcher)


MODELS = [
    make_model(
        "digits",
        [TensorInfo("image", "float32", (-1, 28, 28))],
        [TensorInfo("label", "float32", (-1, 10))],
        Signature((Sketch("image"),), (Label("label", tuple("0123456789")),)),
    ),
    make_model(
        "photo",
        [TensorInfo("image", "float32", (-1, -1, -1, 3))],
        [TensorInfo("score", "float32", (-1,))],
        Signature((Image("image", None, None),), (Score("score"),)),
    ),
    make_model(
        "mix",
        [TensorInfo("first", "int32", (-1, 4)), TensorInfo("second", "int32", (-1, 4))],
        [TensorInfo("total", "int32", (-1, 4)), TensorInfo("apart", "int32", (-1, 4))],
        Signature(
            (Tensor("first", "int32", (4,)), Tensor("second", "int32", (4,))),
            (Tensor("total", "int32", (4,)), Tensor("apart", "int32", (4,))),
        ),
    ),
    make_model(
        "half_plus_two",
        [TensorInfo("x", "float32", (-1,))],
        [TensorInfo("y", "float32", (-1,))],
        Signature((Score("x"),), (Score("y"),)),
    ),
    make_model(
        "echo",
        [TensorInfo("words", "string", (-1,))],
        [TensorInfo("same", "string", (-1,))],
        Signature((Text("words"),), (Text("same"),)),
    ),
]


def make_request(body: bytes, **headers: str) -> Request:
    """A POST request with this body; underscores in header names become hyphens."""

    async def read() -> tuple[bytes, bool]:
        return body, False

    named = {name.replace("_", "-"): value for name, value in headers.items()}
    held = Reservation(ByteBudget(LIMITS.inflight_bytes))
    return Request("POST", "/", b"", named, read, LIMITS, held)


def predict(model: Any, codec: Any, body: bytes, **headers: str) -> Any:
    """The response to a POST request with this body."""
    return run(INFERENCE.predict(model, codec, make_request(body, **headers), body))


def make_call() -> Any:
    """What the gRPC protocols need of a call: what it reserved."""
    reserved = Reservation(ByteBudget(LIMITS.inflight_bytes))
    return SimpleNamespace(reserved=reserved, reserve=reserved.grow)
