"""Converts a source model into the content of a bundle: graph, manifest, samples and parity.

Each signature is converted and proved (`signature_conversion.py`); then the typed side is checked.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from modelpad.bundle import DEFAULT_SIGNATURE, GRAPH, Manifest, OtherSignature, Sample
from modelpad.bundle.samples import add_input
from modelpad.convert.card import write_card
from modelpad.convert.parity import Parity
from modelpad.convert.plans import InputPlan, OutputPlan
from modelpad.convert.prove import GraphFacts
from modelpad.convert.signature_conversion import Converted, Plans, convert_signature, pick_labels
from modelpad.convert.source import HasFields, HasSignatures, ImportRequest, SourceModel
from modelpad.convert.typed_check import open_draft
from modelpad.errors import ConversionFailed, UsageError
from modelpad.fields import Label
from modelpad.foreign_json import Json

MAX_KEPT_SAMPLES = 6
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


def convert_model(
    source: SourceModel, name: str, request: ImportRequest, file: Path | None = None
) -> Conversion:
    """Converts a model and checks that the result is equivalent.

    `file` is what the source was read from, if it was. It becomes part of a native bundle.

    Raises:
        UsageError: an input, an output or the samples do not fit the model, or leave open what the
            model expects.
        ConversionFailed: the model cannot be exported to ONNX.
        ParityFailed: the graph's outputs differ from the model's.
        BundleInvalid: the name is invalid.
    """
    folder = tempfile.TemporaryDirectory(prefix="modelpad-import-")
    try:
        main = convert_signature(source, request, Path(folder.name) / GRAPH, file)
        kept = main.kept
        files: dict[str, bytes | Path] = {path.name: path for path in main.proved.paths}
        files |= source.files() if kept is None else {kept.model.file: kept.path}
        files |= {"card.json": write_card(request.card)} if request.card else {}
        left_out: list[str] = []
        parts = Path(folder.name) / "signatures"
        others = convert_others(main, request, parts, files, left_out)
        quantized: dict[str, Json] = {"quantized": request.quantize} if request.quantize else {}
        manifest = Manifest(
            name=name,
            task=source.task
            if isinstance(source, HasFields)
            else task_name(main.plans.inputs, main.plans.outputs),
            title=request.title or name,
            summary=request.summary,
            author=request.author,
            licence=request.licence,
            signature=main.signature,
            source={"framework": source.framework, **source.facts, **quantized},
            parity=main.proved.parity.to_dict() | ({"backend": "native"} if kept else {}),
            samples=keep_samples(main, files),
            signature_name=getattr(source, "signature_name", DEFAULT_SIGNATURE),
            other_signatures=others,
            native=None if kept is None else kept.model,
        )
        if kept is None:
            with open_draft(manifest, files) as session:
                main.check_typed(session)
    except BaseException:
        folder.cleanup()
        raise
    proved, notes = main.proved, (*write_notes(main.plans, main.proved.note), *left_out)
    return Conversion(manifest, files, proved.parity, proved.facts, proved.before, notes, folder)


def convert_others(
    main: Converted,
    request: ImportRequest,
    folder: Path,
    files: dict[str, bytes | Path],
    notes: list[str],
) -> dict[str, OtherSignature]:
    """Converts a model's other signatures, if it has any, and adds their graphs to `files`.

    Equal signatures share a graph. `notes` says which cannot be converted.
    """
    source = main.reference.source
    if not isinstance(source, HasSignatures):
        return {}
    plain = replace(request, inputs=(), outputs=(), samples=None, ask=False)
    found: dict[str, OtherSignature] = {}
    converted = {id(source): OtherSignature(GRAPH, main.signature)}
    for name, other in source.other_signatures().items():
        if id(other) not in converted:
            folder.mkdir(exist_ok=True)
            path = folder / f"{len(converted) - 1}.onnx"
            try:
                part = convert_signature(other, plain, path)
            except (ConversionFailed, UsageError) as error:
                notes.append(f"the signature {name!r} is left out: {error.message}")
                continue
            files |= {f"signatures/{path.name}": path for path in part.proved.paths}
            converted[id(other)] = OtherSignature(f"signatures/{path.name}", part.signature)
        found[name] = converted[id(other)]
    return found


def write_notes(plans: Plans, note: str) -> tuple[str, ...]:
    """What the user should know about the plans, one line each."""
    notes = [(plan.field.name, plan.note) for plan in plans.inputs]
    notes += [(plan.field.name, plan.note) for plan in plans.outputs]
    lines = [f"{name}: {text}" for name, text in notes if text]
    return (*lines, *filter(None, (plans.batching.note, note)))


def task_name(inputs: Sequence[InputPlan], outputs: Sequence[OutputPlan]) -> str:
    """The model's task by its usual name, such as `image-classification`."""
    source, target = inputs[0].field.kind, outputs[0].field.kind
    source = {"sketch": "image", "number": "tensor", "choice": "tensor"}.get(source, source)
    if target == "label":
        return {"tensor": "tabular-classification"}.get(source, f"{source}-classification")
    if target == "score" and source == "tensor":
        return "tabular-regression"
    if target == "number" and source == "image":
        return "image-regression"
    return f"{source}-to-{target}"


def keep_samples(converted: Converted, files: dict[str, bytes | Path]) -> tuple[Sample, ...]:
    """A few samples for warm-up, and the user's for the page; images are added to `files`."""
    plans, samples, reference = converted.plans, converted.samples, converted.reference
    kept = []
    label = next((plan for plan in plans.outputs if isinstance(plan.field, Label)), None)
    picks = pick_labels(plans)
    for number, values in enumerate(samples.values[:MAX_KEPT_SAMPLES]):
        small = [
            isinstance(value, bytes) or np.size(np.asarray(value)) <= MAX_INLINE_ELEMENTS
            for value in values.values()
        ]
        if not all(small):
            continue
        record = {name: add_input(number, value, files) for name, value in values.items()}
        expected = None
        if label is not None and isinstance(label.field, Label):
            name = label.spec.name
            picked = picks[name](reference.predict((number,))[name])
            expected = label.field.classes[int(picked.reshape(-1)[0])]
        kept.append(Sample(record, expected, samples.generated))
    return tuple(kept)
