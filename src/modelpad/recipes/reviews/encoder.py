"""A classifier on a language model's encoder: start, classes, passages, phrases, test, card."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from modelpad.convert.prove import open_session
from modelpad.errors import UsageError
from modelpad.fields import Binding, Label, Signature, Text
from modelpad.recipes.reviews import ReviewsOptions
from modelpad.recipes.reviews.bag import compare, measure_baseline
from modelpad.recipes.reviews.data import (
    NONE,
    Start,
    choose_start,
    describe_sources,
    encode_labelled,
)
from modelpad.recipes.reviews.model import build_classifier, choose_precision, weigh_phrases
from modelpad.recipes.reviews.testing import (
    LIMITS,
    Tested,
    describe_kinds,
    describe_test,
    pick_examples,
)
from modelpad.recipes.text.classifying import predict
from modelpad.recipes.text.fitting import fit_classifier
from modelpad.recipes.text.graph import SCORES
from modelpad.recipes.text.labelled import Labelled
from modelpad.recipes.text.language import Report
from modelpad.recipes.text.network import Classifier
from modelpad.recipes.text.passages import PassagePlan, cut_passages, teach_passages
from modelpad.recipes.text.precision import read_scores
from modelpad.recipes.text.source import ClassifierSource
from modelpad.recipes.text.splits import LabelledSplits
from modelpad.recipes.text.tokens import encode, load_tokenizer
from modelpad.training.calibration import fit_temperature
from modelpad.training.card import Card
from modelpad.training.device import Device, choose_device
from modelpad.training.findings import join_findings
from modelpad.training.metrics import accuracy
from modelpad.training.options import extend_command
from modelpad.training.recipe import TrainedSequence
from modelpad.training.run import Run

EPOCHS = {"cpu": 4, "cuda": 6}
FEW_PASSAGES = 200
PROVED = 32  # texts
TOLERANCES = {"float32": 1e-3, "int8": 0.2}
MAX_TEXT = 10_000_000
PHRASES = (
    "; beside it a logistic regression on tokens, pairs and triples with naive-Bayes weights (Wang"
    " & Manning 2012)"
)


def train_encoder(options: ReviewsOptions, splits: LabelledSplits, run: Run) -> TrainedSequence:
    """Trains, tests and describes a classifier that is built on a language model's encoder."""
    device = choose_device()
    torch.manual_seed(run.seed)
    start = choose_start(options, splits, run)
    run.set_epochs(0 if start.continues else EPOCHS[device.name])
    learned = encode_labelled(start.tokenizer, splits.train)
    judged = encode_labelled(start.tokenizer, splits.validation)
    net = build_classifier(start, len(splits.data.classes))
    if not run.epochs:
        run.team.check_alone("A training without epochs", "passages are learnt in one process")
    else:
        fit_classifier(net, learned, judged, run, device, start.adaptation, options.optimizer)
    run.end_training()
    note = learn_passages(net, splits, learned, judged, start, run, device)

    logits = predict(net, judged.corpus, device)
    source = ClassifierSource(net.cpu(), start.tokenizer, fit_temperature(logits, judged.labels))
    weighed = ""
    if options.phrases == "auto":
        source, weighed = weigh_phrases(source, logits, learned, judged, run.seed)
        if weighed:
            run.print(weighed)
    source, stored = choose_precision(source, judged, quantize=options.quantize == "auto")
    baseline = measure_baseline(options, splits, run)
    run.print(f"Testing on {len(splits.test.texts):,} texts.")
    test = encode_labelled(start.tokenizer, splits.test)
    tested = read_test(source, test)
    found = describe_test(splits, tested, run)
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
        card=describe_model(options, source, splits, start, run, [note, weighed, stored]),
        findings=join_findings(found, compare(baseline, accuracy(test.labels, tested.scores))),
        examples=pick_examples(splits),
        tolerance=TOLERANCES[source.precision],
    )


def learn_passages(
    net: Classifier,
    splits: LabelledSplits,
    learned: Labelled,
    judged: Labelled,
    start: Start,
    run: Run,
    device: Device,
) -> str:
    """Trains on passages of the texts too, so that short texts are judged; a note.

    Raises UsageError if there are too few of them, and no epoch that learns whole texts.
    """
    cut = [cut_passages(each, run.seed) for each in (splits.train, splits.validation)]
    if len(cut[0].texts) < FEW_PASSAGES or not cut[1].texts:
        if not run.epochs:
            raise UsageError(
                f"The texts have only {len(cut[0].texts)} passages to learn from.",
                hint="Learn whole texts: --epochs 2",
            )
        return ""
    run.print(f"Learning {len(cut[0].texts):,} passages of the texts.")
    passages = [encode_labelled(start.tokenizer, each) for each in cut]
    found = teach_passages(
        net,
        [learned, passages[0]],
        [judged, passages[1]],
        PassagePlan(seed=run.seed),
        device,
        show_quarters(run),
    )
    if not found.kept:
        run.print("Passages were not learnt: that would have made the model worse.")
    return found.describe()


def show_quarters(run: Run) -> Report:
    """Prints the progress after each quarter of the steps."""

    def report(step: int, steps: int, loss: float) -> None:
        if 4 * step // steps > 4 * (step - 1) // steps:
            run.print(f"Passages: {step / steps:.0%}, loss {loss:.4f}")

    return report


def read_test(source: ClassifierSource, test: Labelled) -> Tested:
    """The scores of the test texts by the graph that is served."""
    session = open_session(source.export().SerializeToString())
    tokenizer = load_tokenizer(source.tokenizer)

    def read(texts: Sequence[str]) -> NDArray[np.float32]:
        return read_scores(session, source.sequence, encode(tokenizer, texts))

    scores = read_scores(session, source.sequence, test.corpus)
    return Tested(scores, test.corpus.lengths, "tokens", read)


def describe_model(
    options: ReviewsOptions,
    source: ClassifierSource,
    splits: LabelledSplits,
    start: Start,
    run: Run,
    notes: Sequence[str],
) -> Card:
    """The card."""
    classes, shape = splits.data.classes, source.net.encoder.shape
    weighed = "" if source.phrases is None else PHRASES
    sources = describe_sources(splits, start)
    licences = dict.fromkeys(part for row in sources for part in row.licence.split("; "))
    begun = NONE if start.pretrained is None else start.pretrained.name
    epochs = f" --epochs {run.epochs}" if run.epochs else ""
    phrases = " --phrases no" if options.phrases == "no" else ""
    return Card(
        title=run.request.name.replace("-", " ").capitalize(),
        summary=describe_kinds(classes),
        data=sources,
        licence="; ".join(licences),
        architecture=f"encoder of a language model ({shape.arch}, {shape.blocks} x {shape.width}),"
        f" pooled to its last, largest and mean values, and two linear layers{weighed}",
        parameters=source.parameters,
        training={
            "started": "from scratch" if begun == NONE else f"from {begun}",
            "command": extend_command(
                f"modelpad train reviews --from {begun}{epochs}{phrases} --seed {run.seed}",
                options.optimizer.chosen,
            ),
        },
        limits=LIMITS,
        notes=tuple(filter(None, (*splits.notes, *notes))),
    )
