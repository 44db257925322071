"""The prediction path, common to all protocols.

A protocol is two functions, a `Codec`: `read` turns its request into `Inputs`, `write` turns the
outputs into its response. Between the two, this module enqueues the inputs on the model's batcher,
measures the time, and sends a copy to the model's shadow version.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from modelpad.server.codec import Codec, Inputs, Message, Options, Outputs, Written
from modelpad.server.lifecycle.shadowing import compare_shadow

if TYPE_CHECKING:
    from modelpad.server.budget import ByteBudget
    from modelpad.server.host import ModelHost
    from modelpad.server.models import ServedModel


class Inference:
    """Runs predictions on a host's models."""

    def __init__(self, host: ModelHost, budget: ByteBudget) -> None:
        """Copies for shadows reserve their memory in `budget`."""
        self._host = host
        self._budget = budget

    async def predict(
        self,
        model: ServedModel,
        codec: Codec[*Message, Options, Written],
        *message: *Message,
    ) -> Written:
        """The response to a message; `modelpad_prediction_seconds` counts it.

        Raises:
            InvalidInput, TooLarge: the message cannot be read, or does not fit the model.
            Overloaded, DeadlineExceeded, NotReady, ModelFailed: as in the batcher.
        """
        started = time.perf_counter()
        inputs = codec.read(model, *message)
        outputs = await enqueue(model, inputs)
        response = await codec.write(model.select(inputs.signature), inputs, outputs)
        seconds = time.perf_counter() - started
        self._host.metrics.observe_prediction(seconds, model=model.name)
        shadow = self._host.require_models().find_shadow(model)
        if shadow is not None:
            self._host.spawn(self._copy(shadow, inputs, outputs))
        return response

    async def _copy(self, shadow: ServedModel, inputs: Inputs[Any], outputs: Outputs) -> None:
        result = await compare_shadow(
            lambda: enqueue(shadow, inputs), outputs, self._budget, inputs.held_bytes
        )
        self._host.metrics.count_shadow(result, model=shadow.name, version=shadow.version)


def enqueue(model: ServedModel, inputs: Inputs[Any]) -> Awaitable[Outputs]:
    """The model's outputs; the inputs wait in its queue for a batch. Raises as in the batcher."""
    if inputs.tensors is not None:
        return model.batcher.run(
            inputs.tensors, timeout_s=inputs.timeout_s, signature=inputs.signature
        )
    return model.batcher.answer(inputs.values or {})
