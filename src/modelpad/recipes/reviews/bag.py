"""A bag of words as a model of its own, and as the baseline of others."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from modelpad.convert.sklearn import SklearnSource
from modelpad.errors import UsageError
from modelpad.fields import Text
from modelpad.recipes.reviews import ReviewsOptions
from modelpad.recipes.reviews.testing import (
    LIMITS,
    Tested,
    describe_kinds,
    describe_test,
    pick_examples,
)
from modelpad.recipes.text.bag import PENALTY, Bag, calibrate, fit_bag
from modelpad.recipes.text.splits import LabelledSplits, describe_texts
from modelpad.training.card import Card
from modelpad.training.classification import plan_fields
from modelpad.training.findings import Findings
from modelpad.training.metrics import accuracy
from modelpad.training.options import extend_command, name_flag
from modelpad.training.recipe import Trained
from modelpad.training.run import Run

MAX_TEXT = 1_000_000  # characters
PROVED = 256  # texts
SMALLEST = 1e-7  # chance of a class, so that its logarithm is a number
FEW = 200  # training texts, of which a comparison would say little


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a bag of words reaches on the same texts, and in how many seconds of processor time."""

    accuracy: float
    features: int
    seconds: float


def train_bag(options: ReviewsOptions, splits: LabelledSplits, run: Run) -> Trained:
    """Trains, tests and describes a bag of words. Raises UsageError for options of the encoder."""
    check_options(options, run)
    run.print("Learning a bag of words and pairs of words.")
    penalty = options.penalty or PENALTY
    run.use(penalty=penalty)
    bag = learn(splits, run, penalty)
    run.judge(validate(bag, splits))
    run.print(f"Testing on {len(splits.test.texts):,} texts.")
    texts, classes = splits.test.texts, splits.data.classes
    lengths = np.array([len(text.split()) for text in texts], np.int64)
    tested = Tested(bag.read_scores(texts), lengths, "words", bag.read_scores)
    source = SklearnSource(bag.pipeline)
    inputs, outputs = plan_fields(source, Text("text", MAX_TEXT), classes)
    hard = [str(sample["text"]) for sample in source.hard_samples()]
    return Trained(
        source=source,
        inputs=inputs,
        outputs=outputs,
        proof={"text": np.array([*texts[:PROVED], *hard], object)},
        metrics={},
        card=describe_bag(options, bag, splits, run),
        findings=describe_test(splits, tested, run),
        examples=pick_examples(splits),
    )


def check_options(options: ReviewsOptions, run: Run) -> None:
    """Raises UsageError for an option that only an encoder has."""
    usual = ReviewsOptions()
    if options.penalty is not None and not 0 < options.penalty < float("inf"):
        raise UsageError(f"--penalty is {options.penalty}.", hint="Give a number above 0.")
    given = {
        "--from": options.from_ != usual.from_,
        "--adapt": options.adapt is not None,
        "--quantize": options.quantize != usual.quantize,
        "--phrases": options.phrases != usual.phrases,
        "--epochs": run.request.epochs is not None,
        **{name_flag(name): True for name in options.optimizer.chosen},
    }
    for name, is_given in given.items():
        if is_given:
            raise UsageError(
                f"{name} does not apply to --arch bow, which learns from scratch and in one go.",
                hint=f"Leave {name} out.",
            )


def learn(splits: LabelledSplits, run: Run, penalty: float = PENALTY) -> Bag:
    """A bag of the training texts, calibrated on those for validation."""
    train, validation = splits.train, splits.validation
    bag = fit_bag(train.texts, train.labels, len(splits.data.classes), run.seed, penalty)
    return calibrate(bag, validation.texts, validation.labels)


def validate(bag: Bag, splits: LabelledSplits) -> dict[str, float]:
    """The log loss and the accuracy on the validation texts."""
    scores, labels = bag.read_scores(splits.validation.texts), splits.validation.labels
    chances = scores[np.arange(len(labels)), labels]
    loss = float(-np.log(np.maximum(chances, SMALLEST)).mean())
    return {"val_loss": loss, "val_accuracy": accuracy(labels, scores)}


def measure_baseline(options: ReviewsOptions, splits: LabelledSplits, run: Run) -> Baseline | None:
    """What a bag of words reaches on the test texts; None if there are few texts, or not wanted."""
    if options.no_baseline or len(splits.train.texts) < FEW:
        return None
    begun = time.process_time()
    bag = learn(splits, run)
    seconds = time.process_time() - begun
    share = accuracy(splits.test.labels, bag.read_scores(splits.test.texts))
    found = Baseline(share, bag.features, seconds)
    run.print(f"Baseline: {describe_share(found)}.")
    return found


def describe_share(found: Baseline) -> str:
    """The baseline in words."""
    return (
        f"a bag of words and pairs of words (--arch bow) gets {100 * found.accuracy:.2f} % of the"
        f" test texts right, and learns in {found.seconds:.0f} s of processor time"
    )


def compare(found: Baseline | None, reached: float) -> Findings:
    """The baseline beside the accuracy that was reached; a warning if that is not higher."""
    if found is None:
        return Findings()
    words = describe_share(found)
    warnings = []
    if reached <= found.accuracy:
        warnings.append(
            f"No better than a bag of words, which gets {100 * found.accuracy:.2f} % of the test"
            " texts right: prefer --arch bow, or train longer."
        )
    return Findings(
        metrics={"baseline_accuracy": found.accuracy},
        notes=[f"Baseline: {words}."],
        warnings=warnings,
    )


def describe_bag(options: ReviewsOptions, bag: Bag, splits: LabelledSplits, run: Run) -> Card:
    """The card."""
    source = describe_texts(splits)
    return Card(
        title=run.request.name.replace("-", " ").capitalize(),
        summary=describe_kinds(splits.data.classes),
        data=(source,),
        licence=source.licence,
        architecture=f"bag of {bag.features:,} words and pairs of words with naive-Bayes weights,"
        " and a logistic regression (Wang & Manning 2012)",
        parameters=int(bag.pipeline[-1].coef_.size + bag.pipeline[-1].intercept_.size),
        training={
            "architecture": "bow",
            "command": extend_command(
                f"modelpad train reviews --arch bow --seed {run.seed}",
                {} if options.penalty is None else {"penalty": options.penalty},
            ),
        },
        limits=(*LIMITS, "It does not know the order of more than two words."),
        notes=splits.notes,
    )
