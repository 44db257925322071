"""From an opened foreign model to what a bundle needs: graph, manifest, samples, parity.

The way: plan the inputs, gather samples, see what the model answers, plan the outputs, export,
put preparation into the graph, simplify, prove parity, perhaps quantize and prove it again.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelpad.bundle import Manifest, Sample
from modelpad.convert.input_plan import InputPlan, plan_inputs
from modelpad.convert.output_plan import OutputPlan, plan_outputs
from modelpad.convert.parity import Parity
from modelpad.convert.prove import GraphFacts, make_reference, prove, run_source
from modelpad.convert.samples import (
    Values,
    decode_samples,
    load_samples,
    make_samples,
    stack_samples,
    wrap_samples,
)
from modelpad.convert.source import Arrays, ImportRequest, SourceModel
from modelpad.convert.specs import parse_input, parse_output
from modelpad.fields import Label, Signature

KEPT_SAMPLES = 6
SAME = "the same for all samples, so parity proves little; give real ones: --samples"
LARGEST_INLINE = 4096


@dataclass(frozen=True, slots=True)
class Conversion:
    """A converted, proved model. `before` is the graph that was quantized, where one was."""

    manifest: Manifest
    files: Mapping[str, bytes | Path]
    parity: Parity
    facts: GraphFacts
    before: tuple[GraphFacts, Parity] | None = None
    notes: tuple[str, ...] = ()
    folder: tempfile.TemporaryDirectory[str] | None = field(default=None, repr=False)


def convert_model(source: SourceModel, name: str, request: ImportRequest) -> Conversion:
    """Converts, and proves that the outcome is the same model.

    Raises:
        UsageError: what was said of inputs, outputs or samples does not fit.
        ConversionFailed: the model cannot be turned into a graph.
        ParityFailed: the graph does not answer as the model does.
        BundleInvalid: the name is none.
    """
    inputs = plan_inputs(source, [parse_input(words) for words in request.inputs])
    given = gather_samples(request, inputs)
    given, samples = keep_one_shape(given, decode_samples(given, inputs))
    answers = run_source(source, inputs, stack_samples(samples[:7]))
    outputs = plan_outputs(source, [parse_output(words) for words in request.outputs], answers)
    outputs = keep_apart(inputs, outputs)
    folder = tempfile.TemporaryDirectory(prefix="modelpad-import-")
    try:
        proved = prove(
            source,
            inputs,
            outputs,
            samples,
            Path(folder.name) / "model.onnx",
            tolerance=request.tolerance,
            quantize=request.quantize,
        )
    except BaseException:
        folder.cleanup()
        raise
    files: dict[str, bytes | Path] = {path.name: path for path in proved.paths}
    files |= source.files()
    reference = make_reference(source, inputs, outputs)
    quantized = {"quantized": request.quantize} if request.quantize else {}
    manifest = Manifest(
        name=name,
        task=name_task(inputs, outputs),
        title=name,
        signature=Signature(
            tuple(plan.field for plan in inputs), tuple(plan.field for plan in outputs)
        ),
        source={"framework": source.framework, **source.facts, **quantized},
        parity=proved.parity.to_dict(),
        samples=keep_samples(given, inputs, outputs, reference, samples, files),
    )
    notes = write_notes(inputs, outputs, answers)
    return Conversion(manifest, files, proved.parity, proved.facts, proved.before, notes, folder)


def write_notes(
    inputs: Sequence[InputPlan], outputs: Sequence[OutputPlan], answers: Arrays
) -> tuple[str, ...]:
    """What a person should know of how the fields were understood, a line each."""
    told = [(plan.field.name, plan.note) for plan in inputs]
    told += [(plan.field.name, plan.note) for plan in outputs]
    told += [(plan.field.name, SAME) for plan in outputs if is_same(answers[plan.spec.name])]
    return tuple(f"{name}: {note}" for name, note in told if note)


def keep_apart(
    inputs: Sequence[InputPlan], outputs: Sequence[OutputPlan]
) -> tuple[OutputPlan, ...]:
    """The outputs, renamed where an input has that name: in a graph each name is one value."""
    taken = {plan.field.name for plan in inputs}

    def rename(plan: OutputPlan) -> OutputPlan:
        field: Any = plan.field
        return replace(plan, field=replace(field, name=f"{field.name}_out"))

    return tuple(rename(plan) if plan.field.name in taken else plan for plan in outputs)


def is_same(answers: NDArray[Any]) -> bool:
    """Whether a model's answers (batch, ...) hardly differ from one sample to the next."""
    if len(answers) < 2 or answers.dtype.kind not in "biuf":
        return False
    numbers = answers.astype(np.float64)
    return bool(np.ptp(numbers, axis=0).max() <= 1e-5 * np.abs(numbers).max())


def gather_samples(request: ImportRequest, inputs: Sequence[InputPlan]) -> list[Values]:
    """The samples asked for, or made-up ones."""
    if request.samples is None:
        return make_samples(inputs)
    if isinstance(request.samples, Path):
        return load_samples(request.samples, inputs)
    return wrap_samples(request.samples, inputs)


def keep_one_shape(
    given: Sequence[Values], decoded: Sequence[Values]
) -> tuple[list[Values], list[Values]]:
    """The samples of the first one's shapes, as given and as decoded: a batch has one shape."""

    def shapes(values: Values) -> dict[str, tuple[int, ...]]:
        return {name: np.shape(value) for name, value in values.items()}

    kept = [n for n, values in enumerate(decoded) if shapes(values) == shapes(decoded[0])]
    return [given[number] for number in kept], [decoded[number] for number in kept]


def name_task(inputs: Sequence[InputPlan], outputs: Sequence[OutputPlan]) -> str:
    """What kind of work the model does, in the field's usual words."""
    taken, given = inputs[0].field.kind, outputs[0].field.kind
    taken = "image" if taken == "sketch" else taken
    if given == "label":
        return {"tensor": "tabular-classification"}.get(taken, f"{taken}-classification")
    if given == "score" and taken == "tensor":
        return "tabular-regression"
    return f"{taken}-to-{given}"


def keep_samples(
    given: Sequence[Values],
    inputs: Sequence[InputPlan],
    outputs: Sequence[OutputPlan],
    reference: Any,
    decoded: Sequence[Values],
    files: dict[str, bytes | Path],
) -> tuple[Sample, ...]:
    """A few samples for warming up and for the page's examples; pictures become `files`."""
    kept = []
    label = next((plan.field for plan in outputs if isinstance(plan.field, Label)), None)
    for number, values in enumerate(given[:KEPT_SAMPLES]):
        record: dict[str, dict[str, Any]] = {}
        for plan in inputs:
            value = values[plan.field.name]
            if isinstance(value, bytes):
                suffix = "png" if value.startswith(b"\x89PNG") else "jpg"
                path = f"samples/{number}.{suffix}"
                files[path] = value
                record[plan.field.name] = {"file": path}
            elif np.size(value) <= LARGEST_INLINE:
                record[plan.field.name] = {"value": value}
        if len(record) < len(inputs):
            continue
        expected = None
        if label is not None and number < len(decoded):
            scores = reference(stack_samples(decoded[number : number + 1]))[label.name]
            expected = label.classes[int(np.argmax(scores))]
        kept.append(Sample(record, expected))
    return tuple(kept)
