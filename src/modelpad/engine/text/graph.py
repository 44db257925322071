"""Runs the graph of a language model on pieces of several texts."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from modelpad.engine.packed_graph import load_shared
from modelpad.engine.session import Run
from modelpad.engine.text.states import Array, StateTable, TextState
from modelpad.errors import BundleInvalid, ModelFailed, first_line

if TYPE_CHECKING:
    from modelpad.bundle import Bundle, SequenceModel
    from modelpad.engine.graph import SessionSettings

log = logging.getLogger("modelpad.engine")

PROBE_ROWS = 3
TOLERANCE = 1e-4  # of rounding, where sums are computed in another order


@dataclass(frozen=True, slots=True)
class Row:
    """The piece of one text: its tokens, and for which of them outputs are wanted."""

    tokens: Sequence[int]
    state: TextState
    wanted: Sequence[int] = ()


class TextGraph:
    """A loaded graph. `states` makes the states of new texts."""

    def __init__(self, bundle: Bundle, model: SequenceModel, settings: SessionSettings) -> None:
        """Raises `BundleInvalid` if the graph cannot be loaded, or has other tensors."""
        self.model = model
        self.states = StateTable(model)
        self.min_rows = 1
        """Smaller batches are padded to so many rows, to be computed by the same kernels."""
        self.is_independent = True
        """Whether a row's outputs do not depend on the other rows, but for rounding."""
        self._joins_all = model.offsets is not None or not model.grows
        self._graph = load_shared(bundle, settings)
        extra = [] if model.embedding is None else [model.embedding]
        self._names = [*model.output_names, *extra]
        self._check_names()

    def run(self, rows: Sequence[Row], run: Run | None = None) -> list[Array]:
        """The outputs for each row, (wanted, V) or (1, C); replaces the rows' states.

        Raises `ModelFailed`; no state has changed then.
        """
        model = self.model
        counts = [len(row.tokens) for row in rows]
        states = [row.state for row in rows]
        for _ in range(self.min_rows - len(rows)):
            counts.append(0)
            states.append(self.states.start())
        width = max(counts)
        tokens = np.zeros((len(counts), width), np.int64)
        for at, row in enumerate(rows):
            tokens[at, : counts[at]] = row.tokens
        inputs: dict[str, Array] = {model.tokens: tokens, model.lengths: np.array(counts, np.int64)}
        if model.positions is not None:
            inputs[model.positions] = _flatten_positions(rows, width)
        if model.offsets is not None:
            inputs[model.offsets] = np.array([each.length for each in states], np.int64)
        inputs |= self.states.join(states)
        try:
            results = self._graph.run(self._names, inputs, None if run is None else run.options)
        except Exception as error:
            raise ModelFailed(
                f"The model failed on this text: {first_line(error, 300)}",
                hint="Check the bundle with: modelpad models verify",
            ) from error
        outputs = dict(zip(self._names, results, strict=True))
        self.states.divide(outputs, states[: len(rows)], counts[: len(rows)])
        if model.embedding is not None:
            for row, vector in zip(rows, outputs[model.embedding], strict=False):
                row.state.embedding = vector
        return self._split(outputs[model.output], rows)

    def can_join(self, first: Row, other: Row) -> bool:
        """Whether two rows can run together."""
        if not self.is_independent or self._joins_all:
            return self.is_independent
        same_length = first.state.length == other.state.length
        return same_length and len(first.tokens) == len(other.tokens)

    def probe(self) -> None:
        """Finds out whether a row's outputs depend on the number of rows, or on their content.

        Runs the graph four times, which also warms it up. Raises as `run`.
        """
        texts = [[place + 1, place + 2] for place in range(PROBE_ROWS)]

        def run(count: int) -> list[Array]:
            rows = [Row(text, self.states.start(), [1]) for text in texts[:count]]
            self.run(rows)
            rows = [Row(text[:1], row.state, [0]) for text, row in zip(texts, rows, strict=False)]
            output = self.run(rows)[0]
            return [output, *self.states.copy(rows[0].state).arrays]

        alone, several = run(1), run(PROBE_ROWS)
        if _are_equal(alone, several):
            return
        if self._joins_all:
            self.min_rows = 2
            alone = run(1)
        if not _are_equal(alone, several, TOLERANCE):
            self.is_independent = False
            log.warning("a text's outputs depend on the batch: texts run one by one")

    def _split(self, output: Array, rows: Sequence[Row]) -> list[Array]:
        if self.model.positions is None:
            return [output[at : at + 1] for at in range(len(rows))]
        parts, start = [], 0
        for row in rows:
            parts.append(output[start : start + len(row.wanted)])
            start += len(row.wanted)
        return parts

    def _check_names(self) -> None:
        inputs = sorted(value.name for value in self._graph.get_inputs())
        outputs = {value.name for value in self._graph.get_outputs()}
        if inputs != sorted(self.model.input_names) or not outputs.issuperset(self._names):
            raise BundleInvalid(
                f"The graph has inputs {inputs} and outputs {sorted(outputs)}, but the manifest"
                f" declares {sorted(self.model.input_names)} and {self._names}.",
                hint="Write the bundle again from its source model.",
            )


def _are_equal(first: Sequence[Array], second: Sequence[Array], tolerance: float = 0.0) -> bool:
    return all(
        np.allclose(one, other, rtol=tolerance, atol=tolerance, equal_nan=True)
        for one, other in zip(first, second, strict=True)
    )


def _flatten_positions(rows: Sequence[Row], width: int) -> Array:
    """The wanted positions in the flattened batch; the first one if none are, as 0 is not safe."""
    positions = [at * width + place for at, row in enumerate(rows) for place in row.wanted]
    return np.array(positions or [0], np.int64)
