"""Converts a source model into the content of a bundle: graph, manifest, samples and parity.

The steps: plan the inputs, collect samples, run the model on them, plan the outputs, export the
graph, add preprocessing to it, optimise it, check parity, and optionally quantize and check again.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from modelpad.bundle import Manifest, Sample
from modelpad.bundle.samples import add_input
from modelpad.convert.input_plan import InputPlan, plan_inputs
from modelpad.convert.output_plan import OutputPlan, plan_outputs
from modelpad.convert.parity import Parity, Run
from modelpad.convert.prove import GraphFacts, make_reference, prove, run_source
from modelpad.convert.samples import (
    Values,
    decode_samples,
    generate_samples,
    load_samples,
    stack_samples,
    wrap_samples,
)
from modelpad.convert.source import ImportRequest, SourceModel
from modelpad.convert.specs import parse_input, parse_output
from modelpad.fields import Label, Signature
from modelpad.fields.arrays import Array, Arrays
from modelpad.foreign_json import Json

MAX_KEPT_SAMPLES = 6
SAME = "identical for all samples, so parity proves little; use real ones: --samples"
MAX_INLINE_ELEMENTS = 4096


@dataclass(frozen=True, slots=True)
class Conversion:
    """A converted model that passed the parity check.

    `before` describes the graph before quantization. `folder` holds the graph's files; it is
    deleted together with this object.
    """

    manifest: Manifest
    files: Mapping[str, bytes | Path]
    parity: Parity
    facts: GraphFacts
    before: tuple[GraphFacts, Parity] | None = None
    notes: tuple[str, ...] = ()
    folder: tempfile.TemporaryDirectory[str] | None = field(default=None, repr=False)


def convert_model(source: SourceModel, name: str, request: ImportRequest) -> Conversion:
    """Converts a model and checks that the result is equivalent.

    Raises:
        UsageError: an input, an output or the samples do not fit the model.
        ConversionFailed: the model cannot be exported to ONNX.
        ParityFailed: the graph's outputs differ from the model's.
        BundleInvalid: the name is invalid.
    """
    inputs = plan_inputs(source, [parse_input(text) for text in request.inputs])
    raw = collect_samples(request, inputs)
    raw, samples = keep_one_shape(raw, decode_samples(raw, inputs))
    results = run_source(source, inputs, stack_samples(samples[:7]))
    outputs = plan_outputs(source, [parse_output(text) for text in request.outputs], results)
    outputs = rename_clashes(inputs, outputs)
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
    quantized: dict[str, Json] = {"quantized": request.quantize} if request.quantize else {}
    manifest = Manifest(
        name=name,
        task=task_name(inputs, outputs),
        title=name,
        signature=Signature(
            tuple(plan.field for plan in inputs), tuple(plan.field for plan in outputs)
        ),
        source={"framework": source.framework, **source.facts, **quantized},
        parity=proved.parity.to_dict(),
        samples=keep_samples(raw, inputs, outputs, reference, samples, files),
    )
    notes = write_notes(inputs, outputs, results)
    return Conversion(manifest, files, proved.parity, proved.facts, proved.before, notes, folder)


def write_notes(
    inputs: Sequence[InputPlan], outputs: Sequence[OutputPlan], results: Arrays
) -> tuple[str, ...]:
    """The plans' assumptions that the user should check, one line each."""
    notes = [(plan.field.name, plan.note) for plan in inputs]
    notes += [(plan.field.name, plan.note) for plan in outputs]
    notes += [(plan.field.name, SAME) for plan in outputs if is_constant(results[plan.spec.name])]
    return tuple(f"{name}: {note}" for name, note in notes if note)


def rename_clashes(
    inputs: Sequence[InputPlan], outputs: Sequence[OutputPlan]
) -> tuple[OutputPlan, ...]:
    """Renames outputs that share a name with an input: a graph's names are unique."""
    names = {plan.field.name for plan in inputs}
    return tuple(
        plan.renamed(f"{plan.field.name}_out") if plan.field.name in names else plan
        for plan in outputs
    )


def is_constant(output: Array) -> bool:
    """Whether an output (batch, ...) hardly differs between samples."""
    if len(output) < 2 or output.dtype.kind not in "biuf":
        return False
    numbers = output.astype(np.float64)
    return bool(np.ptp(numbers, axis=0).max() <= 1e-5 * np.abs(numbers).max())


def collect_samples(request: ImportRequest, inputs: Sequence[InputPlan]) -> list[Values]:
    """The user's samples, or generated ones."""
    if request.samples is None:
        return generate_samples(inputs)
    if isinstance(request.samples, Path):
        return load_samples(request.samples, inputs)
    return wrap_samples(request.samples, inputs)


def keep_one_shape(
    raw: Sequence[Values], decoded: Sequence[Arrays]
) -> tuple[list[Values], list[Arrays]]:
    """The samples with the same shapes as the first, raw and decoded: a batch has one shape."""

    def shapes(sample: Arrays) -> dict[str, tuple[int, ...]]:
        return {name: array.shape for name, array in sample.items()}

    kept = [n for n, sample in enumerate(decoded) if shapes(sample) == shapes(decoded[0])]
    return [raw[number] for number in kept], [decoded[number] for number in kept]


def task_name(inputs: Sequence[InputPlan], outputs: Sequence[OutputPlan]) -> str:
    """The model's task by its usual name, such as `image-classification`."""
    source, target = inputs[0].field.kind, outputs[0].field.kind
    source = "image" if source == "sketch" else source
    if target == "label":
        return {"tensor": "tabular-classification"}.get(source, f"{source}-classification")
    if target == "score" and source == "tensor":
        return "tabular-regression"
    return f"{source}-to-{target}"


def keep_samples(
    raw: Sequence[Values],
    inputs: Sequence[InputPlan],
    outputs: Sequence[OutputPlan],
    reference: Run,
    decoded: Sequence[Arrays],
    files: dict[str, bytes | Path],
) -> tuple[Sample, ...]:
    """A few samples for warm-up and for the page's examples; pictures are added to `files`."""
    kept = []
    label = next((plan.field for plan in outputs if isinstance(plan.field, Label)), None)
    for number, values in enumerate(raw[:MAX_KEPT_SAMPLES]):
        record: dict[str, dict[str, Json]] = {}
        for plan in inputs:
            value = values[plan.field.name]
            if isinstance(value, bytes) or np.size(np.asarray(value)) <= MAX_INLINE_ELEMENTS:
                record[plan.field.name] = add_input(number, value, files)
        if len(record) < len(inputs):
            continue
        expected = None
        if label is not None and number < len(decoded):
            scores = reference(stack_samples(decoded[number : number + 1]))[label.name]
            expected = label.classes[int(np.argmax(scores))]
        kept.append(Sample(record, expected))
    return tuple(kept)
