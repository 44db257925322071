"""The reviews recipe from top to bottom: texts, encoder, classes, int8, test, card."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from modelpad.fields import Binding, Label, Signature, Text
from modelpad.recipes.reviews import ReviewsOptions
from modelpad.recipes.reviews.data import (
    Start,
    choose_start,
    describe_sources,
    encode_labelled,
)
from modelpad.recipes.reviews.model import bucket_lengths, build_classifier, choose_precision
from modelpad.recipes.text.classifying import predict
from modelpad.recipes.text.device import choose_device
from modelpad.recipes.text.fitting import Labelled, fit_classifier
from modelpad.recipes.text.graph import SCORES
from modelpad.recipes.text.network import Classifier
from modelpad.recipes.text.precision import open_graph, read_scores
from modelpad.recipes.text.source import ClassifierSource
from modelpad.recipes.text.splits import LabelledSplits, load_labelled
from modelpad.training.calibration import fit_temperature
from modelpad.training.card import Card
from modelpad.training.classification import evaluate_classifier
from modelpad.training.evaluated import evaluated_texts
from modelpad.training.findings import Findings, Table, join_findings
from modelpad.training.recipe import Example, TrainedSequence
from modelpad.training.run import Run

EPOCHS = {"cpu": 4, "cuda": 6}
PROVED = 32  # texts
TOLERANCES = {"float32": 1e-3, "int8": 0.2}
MAX_TEXT = 10_000_000
MAX_EXAMPLE = 400  # characters
LIMITS = (
    "A text about something else still gets one of the classes.",
    "Irony, and reviews that praise what they finally reject, are often misjudged.",
)


def train(options: ReviewsOptions, run: Run) -> TrainedSequence:
    """Trains, tests and describes a classifier of texts."""
    device = choose_device()
    run.set_epochs(EPOCHS[device.name])
    splits = load_labelled(run, options.text_column, options.label_column)
    run.print(describe_splits(splits))
    torch.manual_seed(run.seed)
    start = choose_start(options, splits, run)
    learned = encode_labelled(start.tokenizer, splits.train)
    judged = encode_labelled(start.tokenizer, splits.validation)
    net = build_classifier(start, len(splits.data.classes))
    fit_classifier(net, learned, judged, run, device, start.adaptation)

    logits = predict(net, judged.corpus, device)
    net.cpu()
    temperature = fit_temperature(logits, judged.labels)
    source = ClassifierSource(net, start.tokenizer, temperature)
    source, note = choose_precision(source, judged, quantize=options.quantize == "auto")
    run.print(f"Testing on {len(splits.test.texts):,} texts.")
    test = encode_labelled(start.tokenizer, splits.test)
    scores = read_test(source, test, run)
    return TrainedSequence(
        source=source,
        task="text-classification",
        signature=Signature(
            (Text("text", MAX_TEXT),),
            (Label("label", splits.data.classes),),
            output_bindings=(Binding(SCORES),),
        ),
        proof=[test.corpus.text(n).astype(np.int64) for n in range(min(PROVED, len(test.labels)))],
        metrics={},
        card=describe_model(net, splits, start, run, note),
        findings=describe_test(splits, test, scores, run),
        examples=pick_examples(splits),
        tolerance=TOLERANCES[source.precision],
    )


def read_test(source: ClassifierSource, test: Labelled, run: Run) -> NDArray[np.float32]:
    """The scores (N, C) of the test texts by the graph that is served."""
    session = open_graph(source.export().SerializeToString())
    return read_scores(session, source.sequence, test.corpus)


def describe_splits(splits: LabelledSplits) -> str:
    """How many texts are used for what."""
    parts = {
        "training": splits.train,
        "validation": splits.validation,
        "test": splits.test,
    }
    counts = ", ".join(f"{len(part.texts):,} {name}" for name, part in parts.items())
    return f"{splits.data.name}: {counts} texts of {len(splits.data.classes)} classes."


def describe_test(
    splits: LabelledSplits, test: Labelled, scores: NDArray[np.float32], run: Run
) -> Findings:
    """What the test split says: the only time that it is used."""
    items = evaluated_texts(splits.test.texts, seed=run.seed)
    found = evaluate_classifier(items, test.labels, scores, splits.data.classes)
    right = scores.argmax(axis=1) == test.labels
    rows = [
        (name, f"{count:,}", f"{100 * share:.1f} %")
        for name, count, share in bucket_lengths(test.corpus.lengths, right)
    ]
    table = Table("Accuracy by length", ("tokens", "texts", "accuracy"), rows)
    metrics, notes = {}, []
    if splits.repeated.any():
        fresh = float(right[~splits.repeated].mean())
        metrics["test_accuracy_without_repeated"] = fresh
        notes.append(
            f"{int(splits.repeated.sum()):,} test texts are also in the training data, word for"
            f" word; without them, the accuracy is {100 * fresh:.2f} %."
        )
    return join_findings(found, Findings(metrics=metrics, tables=[table], notes=notes))


def pick_examples(splits: LabelledSplits) -> list[Example]:
    """A short test text of each class, at most ten, for the web page."""
    found = []
    for label, name in list(enumerate(splits.data.classes))[:10]:
        texts = [
            text
            for text, truth in zip(splits.test.texts, splits.test.labels, strict=True)
            if truth == label
        ]
        if texts:
            found.append(Example({"text": min(texts, key=rank_example)}, name))
    return found


def rank_example(text: str) -> tuple[bool, int]:
    """Sorts texts that fit on a page first, the longest of them first."""
    return len(text) > MAX_EXAMPLE, -len(text) if len(text) <= MAX_EXAMPLE else len(text)


def describe_model(
    net: Classifier,
    splits: LabelledSplits,
    start: Start,
    run: Run,
    note: str,
) -> Card:
    """The card."""
    classes, shape = splits.data.classes, net.encoder.shape
    sources = describe_sources(splits, start)
    named = ", ".join(classes[:8])
    begun = "from scratch" if start.pretrained is None else f"from {start.pretrained.name}"
    return Card(
        title=run.request.name.replace("-", " ").capitalize(),
        summary=f"Tells {len(classes)} kinds of texts apart: {named}.",
        data=sources,
        licence="; ".join(dict.fromkeys(row.licence for row in sources)),
        architecture=f"encoder of a language model ({shape.arch}, {shape.blocks} x {shape.width}),"
        " pooled to its last, largest and mean values, and two linear layers",
        parameters=sum(each.numel() for each in net.parameters()),
        training={
            "started": begun,
            "command": f"modelpad train reviews --epochs {run.epochs} --seed {run.seed}",
        },
        limits=LIMITS,
        notes=tuple(filter(None, (*splits.notes, note))),
    )
