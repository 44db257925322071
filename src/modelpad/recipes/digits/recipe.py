"""The digits recipe from top to bottom: data, model, fit, test, card."""

from __future__ import annotations

import keras

from modelpad.convert.keras_source import KerasSource
from modelpad.recipes.digits import DigitsOptions
from modelpad.recipes.digits.data import load_splits
from modelpad.recipes.digits.model import ARCHITECTURES, build_model
from modelpad.training.augment import AUGMENTATIONS
from modelpad.training.batches import Batches, BatchPlan
from modelpad.training.card import Card
from modelpad.training.classification import evaluate_classifier, plan_fields
from modelpad.training.custom import resolve_custom
from modelpad.training.evaluated import evaluated_split, pick_examples
from modelpad.training.figures import draw_network
from modelpad.training.keras import estimate_accuracy, fit, predict
from modelpad.training.metrics import accuracy
from modelpad.training.recipe import Trained
from modelpad.training.run import Run

DIGIT_LIMITS = (
    "One digit at a time; any other drawing is labelled as the digit it resembles most.",
    "Trained on pen strokes on paper and tablets; accuracy may be lower for finger drawings.",
)
OTHER_LIMITS = ("An image of none of the classes is still labelled as one of them.",)


def train(options: DigitsOptions, run: Run) -> Trained:
    """Trains, tests and describes a classifier of small images."""
    arch = ARCHITECTURES[options.arch]
    splits, pens = load_splits(run, pens=arch.uses_pen_strokes)
    shape, classes = splits.item_shape, splits.data.classes
    run.set_epochs(arch.epochs)
    run.print(
        f"{options.arch} on {splits.data.name}: {len(splits.train):,} training,"
        f" {len(splits.validation):,} validation and {len(splits.test):,} test images."
    )

    custom = resolve_custom(options.keras, arch.loss(), len(classes))
    plan = BatchPlan(arch.batch_size, run.seed, AUGMENTATIONS[arch.augmentation], run.first_epoch)

    def build(steps: int) -> keras.Model:
        model = build_model(options.arch, shape, len(classes), for_training=True)
        custom.compile(model, arch.optimizer(steps))
        return model

    undivided = splits.examples(splits.data.train, custom.encode)
    estimate, note = estimate_accuracy(run, build, undivided, plan)

    keras.utils.set_random_seed(run.seed)
    batches = Batches(splits.examples(splits.train, custom.encode), plan)
    model = build(len(batches) * run.epochs)
    validation = splits.validation
    fit(model, run, custom, batches, (splits.inputs(validation), custom.encode(validation.labels)))

    # Test and export the same weights without the training-only layers.
    final = build_model(options.arch, shape, len(classes))
    final.set_weights(model.get_weights())
    test = splits.test.in_memory()  # image files are decoded once, not on each access
    items = splits.inputs(test)
    scores = predict(final, items)
    tested = evaluated_split(test, inverted=splits.sketch, seed=run.seed)
    metrics = estimate | custom.measure(test.labels, scores)
    if pens is not None:
        metrics["drawn_accuracy"] = accuracy(pens.labels, predict(final, splits.inputs(pens)))

    name, named = run.request.name, ", ".join(classes[:8])
    card = Card(
        title="Handwritten digits" if splits.sketch else name.replace("-", " ").capitalize(),
        summary="Draw a digit, and the model recognises it."
        if splits.sketch
        else f"Classifies images into {len(classes)} classes: {named}.",
        data=splits.sources,
        licence=splits.data.licence,
        architecture=", ".join(layer.name for layer in final.layers[1:]),
        parameters=final.count_params(),
        training={
            "architecture": options.arch,
            "optimizer": type(model.optimizer).__name__,
            "loss": options.keras.loss or type(custom.loss).__name__,
            "batch_size": arch.batch_size,
            "augmentation": arch.augmentation,
        },
        limits=DIGIT_LIMITS if splits.sketch else OTHER_LIMITS,
        notes=(*splits.notes, *note),
    )
    source = KerasSource(final)
    inputs, outputs = plan_fields(source, splits.field, classes)
    return Trained(
        source=source,
        inputs=inputs,
        outputs=outputs,
        proof={"image": items},
        metrics=metrics,
        card=card,
        findings=evaluate_classifier(tested, test.labels, scores, classes),
        examples=pick_examples(tested, test.labels, classes),
        figures=[draw_network(final)],
    )
