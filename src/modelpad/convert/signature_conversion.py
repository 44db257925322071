"""Converts one signature of a source model: its fields, its graph, and the proof that they agree.

The steps: export the graph, plan the inputs, collect samples, run the model on them, plan the
outputs, check parity on raw inputs, optionally quantize and check again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from modelpad.convert.batching import Batching, find_batching, pick_batch
from modelpad.convert.graph import last_operator
from modelpad.convert.input_plan import plan_inputs
from modelpad.convert.naming import match_specs
from modelpad.convert.native import Kept, keep_file, offering_native, prove_native
from modelpad.convert.output_plan import Observed, plan_outputs
from modelpad.convert.parity import Parity, Pick
from modelpad.convert.plans import Evidence, InputPlan, OutputPlan, make_signature
from modelpad.convert.prove import Claim, Proved, prove
from modelpad.convert.reference import Reference
from modelpad.convert.samples.files import load_samples
from modelpad.convert.samples.generated import generate_samples
from modelpad.convert.samples.objects import wrap_samples
from modelpad.convert.samples.values import Values, decode_samples
from modelpad.convert.scaling import find_scales
from modelpad.convert.source import HasFields, ImportRequest, Quantized, SourceModel, TensorSpec
from modelpad.convert.specs import InputSpec, OutputSpec, parse_input, parse_output
from modelpad.convert.table_plan import split_specs
from modelpad.convert.typed_check import check_typed
from modelpad.engine import Session
from modelpad.engine.typed import batch_first
from modelpad.errors import ParityFailed, UsageError
from modelpad.fields import Label, Signature
from modelpad.fields.arrays import Array, Arrays
from modelpad.fields.steps import apply_steps

if TYPE_CHECKING:
    from onnx import ModelProto

MAX_COMPARED = 64  # samples, to find two with different predictions
ALIKE = 1e-5  # relative; outputs that differ less between samples prove nothing


@dataclass(frozen=True, slots=True)
class Plans:
    """All that was found out about a model: its fields, and how it counts items."""

    inputs: tuple[InputPlan, ...]
    outputs: tuple[OutputPlan, ...]
    others: tuple[TensorSpec, ...]
    batching: Batching


@dataclass(frozen=True, slots=True)
class Samples:
    """Values as a client sends them, and the raw inputs made of them, in the same order.

    `generated`: they are not the user's.
    """

    values: list[Values]
    items: list[Arrays]
    generated: bool


@dataclass(frozen=True, slots=True)
class Converted:
    """One signature of a model, converted and proved."""

    plans: Plans
    signature: Signature
    proved: Proved
    samples: Samples
    reference: Reference
    kept: Kept | None = None

    def check_typed(self, session: Session) -> None:
        """Compares what fields tell with the source model. Raises `ParityFailed`."""
        values, outputs = self.samples.values, self.plans.outputs
        check_typed(session, self.proved.parity, self.reference, outputs, values)


def convert_signature(
    source: SourceModel, request: ImportRequest, path: Path, file: Path | None = None
) -> Converted:
    """Converts one signature of a model to a graph at `path`. Raises like `convert_model`.

    With the native backend there is no graph; the source's own file is kept.
    """
    native = request.backend == "native"
    kept = keep_file(source, file, path.parent, request) if native else None
    with offering_native(source, file):
        graph = None if native else source.export()
    plans, samples, reference = plan_signature(source, request, graph)
    quantized = source if isinstance(source, Quantized) else None
    quanta = quantized.quanta if quantized else {}
    tolerance = request.tolerance
    if tolerance is None and quantized:
        tolerance = quantized.tolerance
    claim = Claim(reference, plans.batching, pick_labels(plans), quanta, typical=len(samples.items))
    joins = plans.batching.joins
    signature = make_signature(plans.inputs, plans.outputs, plans.others, batched=joins)
    if graph is None:
        assert kept is not None

        def check(session: Session, parity: Parity) -> None:
            check_typed(session, parity, reference, plans.outputs, samples.values)

        proved = prove_native(kept, signature, claim, tolerance, check)
        return Converted(plans, signature, proved, samples, reference, kept)
    with offering_native(source, file):
        proved = prove(graph, claim, path, tolerance=tolerance, quantize=request.quantize)
    signature = msgspec.structs.replace(signature, batched=joins and not proved.note)
    return Converted(plans, signature, proved, samples, reference)


def plan_signature(
    source: SourceModel, request: ImportRequest, graph: ModelProto | None
) -> tuple[Plans, Samples, Reference]:
    """Plans a signature's fields, with the samples and the model's predictions for them.

    `graph` is None for the native backend. Raises like `convert_model`.
    """
    specs = read_inputs(source, request)
    hard = [dict(item) for item in source.hard_samples()]
    dtypes = {spec.name: spec.dtype for spec in source.inputs}
    scales = {} if graph is None else find_scales(graph, dtypes)
    tensors = choose_axes(source.inputs, specs)
    tokenizer = source.tokenizer if isinstance(source, HasFields) else None
    evidence = Evidence(scales, hard, request.ask, tokenizer)
    inputs = plan_inputs(source.framework, tensors, specs, evidence)
    samples = collect_samples(source, request, inputs)
    axes = {tensor.name: tensor.batch_axis for tensor in tensors}
    reference = Reference(source, [*samples.items, *hard], axes)
    batching = find_batching(reference, single=any("batch" in spec.options for spec in specs))
    outputs, others = plan_results(source, request, graph, reference, batching)
    return Plans(inputs, rename_clashes(inputs, outputs), others, batching), samples, reference


def read_inputs(source: SourceModel, request: ImportRequest) -> Sequence[InputSpec]:
    """The user's specs, else what the source says. Raises `UsageError`."""
    if not request.inputs and isinstance(source, HasFields):
        return source.input_specs()
    return [parse_input(text) for text in request.inputs]


def read_outputs(source: SourceModel, request: ImportRequest) -> Sequence[OutputSpec]:
    """The user's specs, else what the source says. Raises `UsageError`."""
    if not request.outputs and isinstance(source, HasFields):
        return source.output_specs()
    return [parse_output(text) for text in request.outputs]


def plan_results(
    source: SourceModel,
    request: ImportRequest,
    graph: ModelProto | None,
    reference: Reference,
    batching: Batching,
) -> tuple[tuple[OutputPlan, ...], tuple[TensorSpec, ...]]:
    """Runs the model and plans its outputs: those with a field, and the others.

    Raises like `convert_signature`.
    """
    picked = pick_batch(reference.alike()) if batching.joins else (0,)
    results = reference.predict(picked)
    check_variety(reference)
    observed = [
        Observed(
            replace(spec, batch_axis=batching.outputs[spec.name]),
            batch_first(results[spec.name], batching.outputs[spec.name]),
            "" if graph is None else last_operator(graph, spec.name),
            len(source.outputs) == 1,
        )
        for spec in source.outputs
    ]
    specs = read_outputs(source, request)
    return plan_outputs(source, specs, observed)


def choose_axes(
    tensors: Sequence[TensorSpec], specs: Sequence[InputSpec]
) -> tuple[TensorSpec, ...]:
    """The model's inputs, without a batch axis where the user says so. Raises `UsageError`."""
    specs, _ = split_specs(specs)
    for batch in (spec.options.get("batch") for spec in specs):
        if batch not in (None, "1", "none"):
            raise UsageError(
                f"batch={batch} is not known.",
                hint="Use batch=1 to predict items one at a time, or batch=none if the input has"
                " no batch axis.",
            )
    matched = match_specs(specs, tensors, "input")
    unbatched = {name for name, spec in matched.items() if spec.options.get("batch") == "none"}
    return tuple(
        replace(tensor, batch_axis=None) if tensor.name in unbatched else tensor
        for tensor in tensors
    )


def check_variety(reference: Reference) -> None:
    """Raises `ParityFailed` if the model predicts the same for all items."""
    first = reference.predict((0,))
    count = min(MAX_COMPARED, len(reference.items))
    for index in range(1, count):
        other = reference.predict((index,))
        if not all(_are_alike(first[name], other[name]) for name in first):
            return
    if count > 1:
        raise ParityFailed(
            f"The model predicts the same for {count} different samples, so that comparing it with"
            " its graph proves nothing.",
            hint="Give it real samples: --samples PATH.",
        )


def _are_alike(first: Array, second: Array) -> bool:
    if first.shape != second.shape:
        return False
    if first.dtype.kind not in "biuf":
        return bool(first.tolist() == second.tolist())
    before, after = first.astype(np.float64), second.astype(np.float64)
    limit = ALIKE * float(np.nanmax(np.abs(before), initial=0))
    return bool(np.allclose(before, after, rtol=0, atol=limit, equal_nan=True))


def pick_labels(plans: Plans) -> dict[str, Pick]:
    """How the class of each item is picked from the outputs with labels."""

    def make(plan: OutputPlan) -> Pick:
        axis = plans.batching.outputs[plan.spec.name]
        return lambda array: apply_steps(plan.steps, batch_first(array, axis)).argmax(axis=-1)

    return {plan.spec.name: make(plan) for plan in plans.outputs if isinstance(plan.field, Label)}


def rename_clashes(
    inputs: Sequence[InputPlan], outputs: Sequence[OutputPlan]
) -> tuple[OutputPlan, ...]:
    """Renames output fields that share a name with an input field."""
    names = {plan.field.name for plan in inputs}
    return tuple(
        plan.renamed(f"{plan.field.name}_out") if plan.field.name in names else plan
        for plan in outputs
    )


def collect_samples(
    source: SourceModel, request: ImportRequest, inputs: Sequence[InputPlan]
) -> Samples:
    """The user's samples, or generated ones."""
    generated = request.samples is None
    if generated:
        values = generate_samples(inputs)
    elif isinstance(request.samples, Path):
        values = load_samples(request.samples, inputs)
    else:
        values = wrap_samples(request.samples, inputs)

    def read(name: str) -> bytes:
        content = source.files()[name]
        return content if isinstance(content, bytes) else content.read_bytes()

    return Samples(values, decode_samples(values, inputs, read), generated)
