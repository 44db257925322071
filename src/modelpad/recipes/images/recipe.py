"""The images recipe from top to bottom: pictures, training, int8, test, card."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from modelpad.convert.plans import InputPlan, OutputPlan
from modelpad.datasets import LoadOptions
from modelpad.fields import Heatmap, Label
from modelpad.recipes.images import ImagesOptions
from modelpad.recipes.images.compact import Finished, finish_model
from modelpad.recipes.images.corrections import add_corrections
from modelpad.recipes.images.data import CHANNELS, load_pictures, split_pictures, weigh_classes
from modelpad.recipes.images.fitting import fit_few, fit_many
from modelpad.recipes.images.losses import Loss
from modelpad.recipes.images.model import ARCHITECTURES, Classifier, Extras, Served
from modelpad.training.card import Card
from modelpad.training.classification import evaluate_classifier
from modelpad.training.evaluated import evaluated_split, pick_examples
from modelpad.training.findings import Findings, join_findings
from modelpad.training.image_splits import ImageSplits
from modelpad.training.recipe import Trained
from modelpad.training.run import Run

FEW = 500  # with fewer pictures only the last layer is trained, and all of them cross-validate it
PROVED = 64  # pictures
TOLERANCE = 1e-3  # relative
LIMITS = ("A picture of none of the classes is still labelled as one of them.",)
UNKNOWN_LIMITS = (
    "Pictures unlike those it was trained on are reported as unknown; not every one is noticed.",
)


def train(options: ImagesOptions, run: Run, load: LoadOptions | None = None) -> Trained:
    """Trains, tests and describes a classifier of pictures. `load` is how to read the data."""
    arch = ARCHITECTURES[options.arch]
    run.set_epochs(arch.epochs)
    pictures = load_pictures(run, options.size, arch.size, load or LoadOptions())
    few = arch.pretrained and len(pictures.data.train) < FEW
    splits = split_pictures(pictures, run, divide=not few)
    if options.feedback is not None:
        splits = add_corrections(splits, pictures, options.feedback, run)
    classes, side = splits.data.classes, pictures.side
    run.print(describe_splits(splits, side))
    weights = weigh_classes(splits.train.labels, classes, options.class_weights)

    torch.manual_seed(run.seed)
    net = Classifier(arch, CHANNELS, side, len(classes))
    loss = Loss(options.loss, weights)
    fitted = (fit_few if few else fit_many)(net, splits, loss, run)
    likeness = None if options.no_unknown else fitted.likeness
    heatmap = arch.pooled and not options.no_heatmap
    served = Served(net, Extras(fitted.temperature, heatmap, likeness))
    quantize = options.quantize == "auto"
    finished = finish_model(served, fitted.judged, side, quantize=quantize)

    if likeness is not None:
        likeness = replace(likeness, threshold=likeness.threshold + finished.shift)

    findings = join_findings(fitted.findings, test_model(finished, splits, run))
    shown = splits.test if len(splits.test) else splits.train
    field = pictures.field
    label = Label(
        "label",
        classes,
        familiarity=likeness.field if likeness else None,
        heatmap=Heatmap("heatmap", over=field.name) if heatmap else None,
    )
    scores = next(spec for spec in finished.source.outputs if spec.name == "label")
    return Trained(
        source=finished.source,
        inputs=[InputPlan(field, finished.source.inputs[0])],
        outputs=[OutputPlan(label, scores)],
        proof={"image": splits.inputs(shown.take(np.arange(min(PROVED, len(shown)))))},
        metrics={},
        card=describe_model(options, net, splits, finished, run),
        findings=findings,
        examples=pick_examples(evaluated_split(shown), shown.labels, classes),
        tolerance=TOLERANCE,
    )


def test_model(finished: Finished, splits: ImageSplits, run: Run) -> Findings:
    """What the test split says, if there is one: the only time that it is used."""
    if not len(splits.test):
        return Findings()
    run.print(f"Testing on {len(splits.test):,} pictures.")
    scores = finished.predict(splits.test)["label"]
    items = evaluated_split(splits.test, seed=run.seed)
    return evaluate_classifier(items, splits.test.labels, scores, splits.data.classes)


def describe_splits(splits: ImageSplits, side: int) -> str:
    """How many pictures are used for what."""
    sizes = {
        "training": len(splits.train),
        "validation": len(splits.validation),
        "test": len(splits.test),
    }
    counts = ", ".join(f"{count:,} {name}" for name, count in sizes.items() if count)
    return f"{splits.data.name}: {counts} pictures of {side} x {side} pixels."


def describe_model(
    options: ImagesOptions, net: Classifier, splits: ImageSplits, finished: Finished, run: Run
) -> Card:
    """The card."""
    classes = splits.data.classes
    title = run.request.name.replace("-", " ").capitalize()
    network = "EfficientNet-Lite0, pretrained on ImageNet" if net.arch.pretrained else options.arch
    return Card(
        title=title,
        summary=f"Tells {len(classes)} kinds of pictures apart: {', '.join(classes[:8])}.",
        data=splits.sources,
        licence=splits.data.licence,
        architecture=network,
        parameters=sum(each.numel() for each in net.parameters()),
        training={"architecture": options.arch, "size": net.size},
        limits=LIMITS if options.no_unknown else UNKNOWN_LIMITS,
        notes=tuple(filter(None, (*splits.notes, finished.note))),
    )
