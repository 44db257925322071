"""From a recipe to a version in the store: train, prove, report, bundle, push."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from modelpad import __version__
from modelpad.bundle import Bundle, Manifest, Sample, write_bundle
from modelpad.bundle.samples import add_input
from modelpad.convert import Proved, TensorSpec, prove
from modelpad.convert.batching import Batching
from modelpad.convert.conversion import task_name
from modelpad.convert.plans import make_signature
from modelpad.convert.prove import Claim
from modelpad.convert.reference import Reference
from modelpad.convert.sequences import prove_sequences
from modelpad.datasets.catalogue import CATALOGUE
from modelpad.errors import MissingExtra, TrainingFailed
from modelpad.fields import Label, Signature
from modelpad.fields.arrays import Array, Arrays
from modelpad.fields.tokenizer import ReadFile
from modelpad.foreign_json import Json
from modelpad.training.card import write_card
from modelpad.training.findings import Findings, join_findings
from modelpad.training.hardware import describe_hardware
from modelpad.training.options import flatten
from modelpad.training.parallel import find_team
from modelpad.training.recipe import Example, Recipe, Trained, TrainedSequence, all_findings
from modelpad.training.report import Report, write_report
from modelpad.training.report_page import format_bytes, format_seconds
from modelpad.training.run import BUNDLE, LOGS, Run, TrainRequest, Watch
from modelpad.training.run_folder import hold_folder

if TYPE_CHECKING:
    from modelpad.datasets import Progress
    from modelpad.store import Entry, Store
    from modelpad.training.trial import Trial

Files = dict[str, bytes | Path]

# Differences of this share of the threshold are of rounding: a familiarity is the difference of
# large sums.
SAME_FAMILIARITY = 0.01
LARGE_BUNDLE_BYTES = 50_000_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished training: its bundle in the run folder, and its version in the store, if any."""

    bundle: Bundle
    metrics: Mapping[str, float]
    data: str
    stopped_early: bool
    entry: Entry | None = None
    warnings: tuple[str, ...] = ()


def train(
    recipe: Recipe[Any],
    options: object,
    request: TrainRequest,
    *,
    out: TextIO,
    store: Store | None = None,
    data_progress: Progress | None = None,
    watch: Watch | None = None,
    trial: Trial | None = None,
) -> Outcome:
    """Trains, proves, reports, writes the bundle and pushes it to `store`; progress goes to `out`.

    `watch` is told how far the training is. With a `trial`, the training ends with `TrialEnded`
    before the test; so does that of a process that follows in a team (`parallel`), with
    `FollowerEnded`.

    Raises:
        DataSetNotFound, DataSetInvalid: the data is missing, or unsuitable for training.
        MissingExtra: a package that the recipe needs is not installed.
        TrainingFailed: nothing to resume, stopped before the first epoch ended, or another training
            uses the run folder.
        ParityFailed: the bundle's predictions differ from the trained model's.
    """
    team, facts = find_team(), list_facts(recipe, options, request)
    os.environ.setdefault("KERAS_BACKEND", "torch")  # Keras reads it when it is imported
    with ExitStack() as stack:
        if team.leads:
            stack.enter_context(hold_folder(request.folder))
        run = Run(request, facts, out, data_progress, watch, trial, team)
        stack.enter_context(run.interrupts.installed())
        stack.enter_context(_report_missing_extra(recipe.extra))
        trained = recipe.load_train()(options, run)
        if trial is not None:
            raise TrainingFailed(f"{recipe.name} has tested a trial.", hint="This is a bug.")
        if not run.team.leads:
            raise TrainingFailed(f"{recipe.name} has tested a follower.", hint="This is a bug.")
        run.end_training()
        run.report(1.0, "Testing the model")
        bundle = finish(run, trained)
        warnings = (*trained.findings.warnings, *filter(None, [explain_size(bundle)]))
        for warning in warnings:
            run.print(f"Warning: {warning}")
        entry = None if store is None else add_version(store, bundle, request.data)
    return Outcome(bundle, bundle.manifest.metrics, run.data_name, run.stopped, entry, warnings)


def list_facts(recipe: Recipe[Any], options: object, request: TrainRequest) -> dict[str, object]:
    """The settings that must not change when the run is resumed."""
    return {
        "recipe": recipe.name,
        "data": request.data,
        "seed": request.seed,
        "limit": request.limit,
        **flatten(asdict(options)),  # type: ignore[call-overload]
    }


def finish(run: Run, trained: Trained | TrainedSequence) -> Bundle:
    """Checks parity, then writes the report and the bundle into the run folder."""
    scratch = run.folder / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    proved = _prove(run, trained, scratch / "model.onnx")
    findings = join_findings(all_findings(trained), Findings(notes=run.request.notes))
    if run.history:
        from modelpad.training.figures import draw_curves

        findings = join_findings(findings, Findings(figures=draw_curves(run.history)))
    settings = {**trained.card.training, **run.describe()}
    write_report(run.folder, _report(run, trained, proved, findings, settings))
    files: Files = {path.name: path for path in proved.paths}
    files |= trained.source.files()
    files |= trained.files if isinstance(trained, Trained) else {}
    manifest = _describe(run, trained, proved, findings, settings, files)
    target = run.folder / BUNDLE
    if target.exists():
        shutil.rmtree(target)
    bundle = write_bundle(target, manifest, files)
    shutil.rmtree(scratch)
    return bundle


def _report(
    run: Run,
    trained: Trained | TrainedSequence,
    proved: Proved,
    findings: Findings,
    settings: Mapping[str, Json],
) -> Report:
    """What the report says; unlike the bundle, which travels, it has all options of the run."""
    chosen = {
        name: value
        for name, value in run.facts.items()
        if not any(known.startswith(name) for known in settings)  # `arch` is the `architecture`
    }
    parameters = trained.card.parameters
    facts: dict[str, Json] = {
        "training_time": format_seconds(run.seconds),
        "finished": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "parameters": None if parameters is None else f"{parameters:,}",
        "graph": format_bytes(sum(path.stat().st_size for path in proved.paths)),
    }
    return Report(
        name=run.request.name,
        card=trained.card,
        findings=findings,
        settings={name: n for name, n in {**chosen, **settings}.items() if name != "seconds"},
        facts=facts | describe_hardware() | {"modelpad": __version__} | _list_versions(),
        logs=run.folder / LOGS if run.history else None,
    )


def add_version(store: Store, bundle: Bundle, data: str) -> Entry:
    """Adds the bundle to the store, with a note of where its data is, for `modelpad promote`."""
    entry = store.push(bundle)
    path = Path(data).expanduser()
    if data not in CATALOGUE and path.exists():
        store.record_data(entry.name, entry.version, path.resolve())
    return entry


def explain_size(bundle: Bundle, limit: int = LARGE_BUNDLE_BYTES) -> str | None:
    """Why a bundle is large, or None if it has at most `limit` bytes."""
    sizes = {name: record.bytes for name, record in bundle.manifest.files.items()}
    total = sum(sizes.values())
    if total <= limit:
        return None
    largest = sorted(sizes, key=lambda name: -sizes[name])[:3]
    listed = ", ".join(f"{name} {sizes[name] / 1e6:.0f} MB" for name in largest)
    advice = "Most of it is weights; use a smaller network to reduce it."
    if any(name.endswith(".h5") for name in largest):
        advice = (
            "The weights are stored twice, in the graph and for Keras;"
            " fewer units before and after Flatten reduce both."
        )
    return f"the bundle takes {total / 1e6:.0f} MB: {listed}. {advice}"


def _prove(run: Run, trained: Trained | TrainedSequence, path: Path) -> Proved:
    """Proves the graph, and says how well it agrees."""
    if isinstance(trained, TrainedSequence):
        proved = prove_sequences(trained.source, trained.proof, path, trained.tolerance)
    else:
        proved = _prove_items(trained, path)
    parity = proved.parity
    line = f"Parity on {parity.samples:,} items: largest difference {parity.largest_difference:.1e}"
    if parity.label_agreement is not None:
        line += f", labels agree on {100 * parity.label_agreement:.2f} %"
    run.print(f"{line}.")
    return proved


def _list_proof(trained: Trained) -> list[Arrays]:
    """The items of the proof by the names of the model's tensors; texts are tokenized."""
    count = min(len(values) for values in trained.proof.values())
    items: list[Arrays] = [{} for _ in range(count)]
    for plan in trained.inputs:
        values = trained.proof[plan.field.name][:count]
        encode = plan.tokenizer.load(_read_file(trained)) if plan.tokenizer else None
        for item, value in zip(items, values, strict=True):
            item |= encode(str(value)) if encode else {plan.spec.name: np.asarray(value)}
    return items


def _read_file(trained: Trained) -> ReadFile:
    def read(name: str) -> bytes:
        content = trained.source.files()[name]
        return content if isinstance(content, bytes) else content.read_bytes()

    return read


def _prove_items(trained: Trained, path: Path) -> Proved:
    items = _list_proof(trained)
    reference = Reference(trained.source, items)
    axes = {spec.name: spec.batch_axis for spec in trained.source.outputs}
    fields = {plan.spec.name: plan.field for plan in trained.outputs}
    shown = {name: field for name, field in fields.items() if isinstance(field, Label)}
    known = [field.familiarity for field in shown.values() if field.familiarity is not None]
    claim = Claim(
        reference,
        Batching(reference.axes, axes),
        labels=dict.fromkeys(shown, _pick_class),
        quanta={each.tensor: SAME_FAMILIARITY * abs(each.threshold) for each in known},
    )
    return prove(trained.source.export(), claim, path, tolerance=trained.tolerance)


def _list_others(trained: Trained) -> list[TensorSpec]:
    """The model's outputs that no field shows."""
    shown = {plan.spec.name for plan in trained.outputs}
    return [spec for spec in trained.source.outputs if spec.name not in shown]


def _pick_class(scores: Array) -> Array:
    best: Array = scores.argmax(axis=-1)
    return best


def _describe(
    run: Run,
    trained: Trained | TrainedSequence,
    proved: Proved,
    findings: Findings,
    training: Mapping[str, Json],
    files: Files,
) -> Manifest:
    """Builds the manifest; adds the card, the examples and the figures to `files`."""
    card = trained.card
    pictures = [figure for figure in findings.figures if figure.in_bundle]
    files |= {figure.path: figure.content for figure in pictures}
    task, signature = _name_interface(trained)
    files["card.json"] = write_card(card, findings, training, run.history, pictures)
    return Manifest(
        name=run.request.name,
        task=task,
        title=card.title,
        summary=card.summary,
        licence=card.licence,
        signature=signature,
        source={
            "framework": trained.source.framework,
            **trained.source.facts,
            **_list_versions(),
        },
        training={**training, **run.request.origin, "python": platform.python_version()},
        metrics=findings.metrics,
        parity=proved.parity.to_dict(),
        samples=_add_examples(trained.examples, files),
        sequence=trained.source.sequence if isinstance(trained, TrainedSequence) else None,
    )


def _name_interface(trained: Trained | TrainedSequence) -> tuple[str, Signature]:
    """The task and the signature."""
    if isinstance(trained, TrainedSequence):
        return trained.task, trained.signature
    signature = make_signature(trained.inputs, trained.outputs, _list_others(trained))
    return task_name(trained.inputs, trained.outputs), signature


def _add_examples(examples: Sequence[Example], files: Files) -> tuple[Sample, ...]:
    """The examples as manifest samples; images are added to `files`."""
    return tuple(
        Sample(
            {name: add_input(number, value, files) for name, value in example.inputs.items()},
            example.expected,
        )
        for number, example in enumerate(examples)
    )


def _list_versions() -> dict[str, str]:
    """The versions of the frameworks in use."""
    found = {}
    for module, package in (("torch", "torch"), ("keras", "keras"), ("sklearn", "scikit-learn")):
        if module in sys.modules:
            try:
                found[package] = version(package)
            except PackageNotFoundError:
                continue
    return found


@contextmanager
def _report_missing_extra(extra: str) -> Iterator[None]:
    """Turns a failed import into an error that names the pip extra to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "modelpad"):
            raise
        raise MissingExtra(package, extra=extra) from error
