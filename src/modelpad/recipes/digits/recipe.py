"""The digits recipe from top to bottom: data, model, fit, test, card."""

from __future__ import annotations

import keras
import numpy as np

from modelpad.convert.keras_source import KerasSource
from modelpad.fields import Familiarity
from modelpad.recipes.digits import DigitsOptions
from modelpad.recipes.digits.data import load_splits
from modelpad.recipes.digits.model import build_model, choose_architecture
from modelpad.training.augment import AUGMENTATIONS
from modelpad.training.batches import Batches, BatchPlan
from modelpad.training.card import Card
from modelpad.training.classification import evaluate_classifier, plan_fields
from modelpad.training.custom import resolve_custom
from modelpad.training.evaluated import evaluated_split, pick_examples
from modelpad.training.familiarity_keras import Known, add_likeness, add_recogniser
from modelpad.training.figures import draw_network
from modelpad.training.findings import join_findings
from modelpad.training.image_splits import ImageSplits
from modelpad.training.keras import estimate_accuracy, fit, predict
from modelpad.training.metrics import accuracy
from modelpad.training.outliers import draw_outliers
from modelpad.training.recipe import Trained
from modelpad.training.run import Run

DIGIT_LIMITS = (
    "One digit at a time.",
    "Trained on pen strokes on paper and tablets; accuracy may be lower for finger drawings.",
)
FAMILIAR_IMAGES = 20_000  # that what is familiar is learnt from
OUTLIERS, IMAGES_PER_OUTLIER = 16_000, 4  # drawings of other things, at most
ALWAYS_LABELLED = "An image of none of the classes is still labelled as one of them."
OFTEN_UNKNOWN = (
    "An image of none of the classes is often, but not always, reported as unknown; so is 1 % of"
    " others."
)


def train(options: DigitsOptions, run: Run) -> Trained:
    """Trains, tests and describes a classifier of small images."""
    arch = choose_architecture(options.arch, options.optimizer)
    splits, pens = load_splits(run, pens=arch.uses_pen_strokes)
    shape, classes = splits.item_shape, splits.data.classes
    run.set_epochs(arch.epochs)
    run.use(
        learning_rate=arch.rate, batch_size=arch.batch_size, weight_decay=arch.weight_decay or 0
    )
    run.print(
        f"{options.arch} on {splits.data.name}: {len(splits.train):,} training,"
        f" {len(splits.validation):,} validation and {len(splits.test):,} test images."
    )

    custom = resolve_custom(options.keras, arch.loss(), len(classes))
    plan = BatchPlan(arch.batch_size, run.seed, AUGMENTATIONS[arch.augmentation], run.first_epoch)

    def build(steps: int) -> keras.Model:
        model = build_model(options.arch, shape, len(classes), for_training=True)
        custom.compile(model, arch.optimizer(steps, arch.rate, arch.weight_decay))
        return model

    undivided = splits.examples(splits.data.train, custom.encode)
    estimate, note = estimate_accuracy(run, build, undivided, plan)

    keras.utils.set_random_seed(run.seed)
    batches = Batches(splits.examples(splits.train, custom.encode), plan, run.team)
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
    metrics = dict(estimate)
    served, familiarity = final, None
    if not options.no_unknown:
        served, familiarity = learn_familiarity(final, splits, run)
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
            **options.optimizer.chosen,
        },
        limits=(
            *(DIGIT_LIMITS if splits.sketch else ()),
            OFTEN_UNKNOWN if familiarity else ALWAYS_LABELLED,
        ),
        notes=(*splits.notes, *note),
    )
    source = KerasSource(served)
    inputs, outputs = plan_fields(source, splits.field, classes, familiarity)
    return Trained(
        source=source,
        inputs=inputs,
        outputs=outputs,
        proof={"image": items},
        metrics=metrics,
        card=card,
        findings=join_findings(
            evaluate_classifier(tested, test.labels, scores, classes),
            custom.measure(test.labels, scores),
        ),
        examples=pick_examples(tested, test.labels, classes),
        figures=[draw_network(final)],
    )


def learn_familiarity(
    model: keras.Model, splits: ImageSplits, run: Run
) -> tuple[keras.Model, Familiarity]:
    """The model with an output that tells images of none of the classes, and its threshold.

    Drawings of other things can be made, so it learns from them; of other images it knows nothing.
    """
    chosen = np.random.default_rng([run.seed, 4]).permutation(len(splits.train))[:FAMILIAR_IMAGES]
    train = splits.train.take(chosen.astype(np.int64))
    known = Known(splits.inputs(train), train.labels, splits.inputs(splits.validation))
    if not splits.sketch:
        return add_likeness(model, known, run.seed)
    run.print("Learning what is no digit.")
    count = max(1, min(OUTLIERS, len(splits.train) // IMAGES_PER_OUTLIER))
    others = draw_outliers(train, count, run.seed).astype(np.float32)
    return add_recogniser(model, known, others, run.seed)
