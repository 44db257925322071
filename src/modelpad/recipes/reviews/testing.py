"""What the test texts say about a classifier, whatever kind it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from modelpad.recipes.text.splits import LabelledSplits
from modelpad.recipes.text.word_effects import ReadScores, describe_effects, measure_effects
from modelpad.training.classification import evaluate_classifier, format_share
from modelpad.training.evaluated import evaluated_texts, shorten_text
from modelpad.training.findings import Findings, Table, join_findings
from modelpad.training.recipe import Example
from modelpad.training.run import Run

MAX_EXAMPLE = 400  # characters
EXPLAINED = 8  # mistakes
LIMITS = (
    "A text about something else still gets one of the classes.",
    "Irony, and reviews that praise what they finally reject, are often misjudged.",
)


@dataclass(frozen=True, slots=True)
class Tested:
    """What a classifier makes of the test texts: scores (N, C), and their lengths int64 (N,).

    `unit` is what lengths count. `read` scores any texts.
    """

    scores: NDArray[np.float32]
    lengths: NDArray[np.int64]
    unit: str
    read: ReadScores


def describe_test(splits: LabelledSplits, tested: Tested, run: Run) -> Findings:
    """What the test split says: the only time that it is used."""
    labels, scores = splits.test.labels, tested.scores
    items = evaluated_texts(splits.test.texts, seed=run.seed)
    found = evaluate_classifier(items, labels, scores, splits.data.classes)
    right = scores.argmax(axis=1) == labels
    rows = [
        (name, f"{count:,}", f"{100 * share:.1f} %")
        for name, count, share in bucket_lengths(tested.lengths, right)
    ]
    tables = [Table("Accuracy by length", (tested.unit, "texts", "accuracy"), rows)]
    metrics, notes = {}, []
    if splits.repeated.any():
        fresh = float(right[~splits.repeated].mean())
        metrics["test_accuracy_without_repeated"] = fresh
        notes.append(
            f"{int(splits.repeated.sum()):,} test texts are also in the training data, word for"
            f" word; without them, the accuracy is {100 * fresh:.2f} %."
        )
    tables += explain_mistakes(splits, tested)
    return join_findings(found, Findings(metrics=metrics, tables=tables, notes=notes))


def explain_mistakes(splits: LabelledSplits, tested: Tested) -> list[Table]:
    """Which words moved the score of the most surprising mistakes."""
    wrong = np.flatnonzero(tested.scores.argmax(axis=1) != splits.test.labels)
    surprise = -tested.scores[wrong, splits.test.labels[wrong]]
    rows = []
    for index in wrong[np.argsort(-surprise, kind="stable")][:EXPLAINED].tolist():
        text, predicted = splits.test.texts[index], int(tested.scores[index].argmax())
        towards, away = describe_effects(measure_effects(text, predicted, tested.read))
        score = format_share(float(tested.scores[index, predicted]))
        name = splits.data.classes[predicted]
        rows.append((shorten_text(text), f"{name}, {score}", towards, away))
    if not rows:
        return []
    note = (
        "The most surprising mistakes. Each part of a text was left out in turn; beside it is how"
        " much it raises or lowers the log-odds of the predicted class."
    )
    columns = ("text", "predicted", "words for it", "words against it")
    return [Table("Which words moved the score", columns, rows, note)]


def bucket_lengths(
    lengths: NDArray[np.int64], right: NDArray[np.bool_]
) -> list[tuple[str, int, float]]:
    """The number of texts and the accuracy by length."""
    edges = [0, 32, 64, 128, 256, 512, 1024, 1 << 62]
    found = []
    for low, high in pairwise(edges):
        inside = (lengths >= low) & (lengths < high)
        if inside.any():
            name = f"{low} to {high - 1}" if high < 1 << 62 else f"{low} or more"
            found.append((name, int(inside.sum()), float(right[inside].mean())))
    return found


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


def describe_splits(splits: LabelledSplits) -> str:
    """How many texts are used for what."""
    parts = {
        "training": splits.train,
        "validation": splits.validation,
        "test": splits.test,
    }
    counts = ", ".join(f"{len(part.texts):,} {name}" for name, part in parts.items())
    return f"{splits.data.name}: {counts} texts of {len(splits.data.classes)} classes."


def describe_kinds(classes: Sequence[str]) -> str:
    """The card's summary."""
    return f"Tells {len(classes)} kinds of texts apart: {', '.join(classes[:8])}."
