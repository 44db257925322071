"""The digits recipe from top to bottom: data, model, fit, test, card."""

from __future__ import annotations

import keras

from modelpad.convert.keras import KerasSource
from modelpad.recipes.digits import DigitsOptions
from modelpad.recipes.digits.data import load_splits
from modelpad.recipes.digits.model import ARCHITECTURES, build_model
from modelpad.training.augment import AUGMENTATIONS
from modelpad.training.batches import Batches, BatchPlan
from modelpad.training.card import Card
from modelpad.training.classification import TESTED_ONCE, Answers, plan_fields
from modelpad.training.custom import find_custom
from modelpad.training.figures import draw_network
from modelpad.training.keras import estimate_accuracy, fit, predict
from modelpad.training.metrics import accuracy
from modelpad.training.recipe import Trained
from modelpad.training.run import Run

DIGIT_LIMITS = (
    "One digit at a time; anything else is answered as the digit that it resembles most.",
    "It learned from pens on paper and tablets; finger paintings may differ.",
)
OTHER_LIMITS = ("Anything that is none of its classes is answered as one of them all the same.",)


def train(options: DigitsOptions, run: Run) -> Trained:
    """Trains, tests and describes a classifier of small pictures."""
    arch = ARCHITECTURES[options.arch]
    splits, pens = load_splits(run, pens=arch.learns_pens)
    shape, classes = splits.item_shape, splits.data.classes
    learned, held, test = splits.train, splits.validation, splits.test
    run.set_epochs(arch.epochs)
    run.say(
        f"{options.arch} on {splits.data.name}: {len(learned):,} images to learn from,"
        f" {len(held):,} to choose by, {len(test):,} to test."
    )

    custom = find_custom(options.keras, arch.loss(), len(classes))
    plan = BatchPlan(arch.batch_size, run.seed, AUGMENTATIONS[arch.augmentation], run.first_epoch)

    def make_model(steps: int) -> keras.Model:
        model = build_model(options.arch, shape, len(classes), for_training=True)
        custom.compile(model, arch.optimizer(steps))
        return model

    pool = splits.examples(splits.pool, custom.encode)
    estimate, note = estimate_accuracy(run, make_model, pool, plan)

    keras.utils.set_random_seed(run.seed)
    batches = Batches(splits.examples(learned, custom.encode), plan)
    model = make_model(len(batches) * run.epochs)
    fit(model, run, custom, batches, (splits.inputs(held), custom.encode(held.labels)))

    # What is tested and exported has the same weights, and no layers made for training.
    final = build_model(options.arch, shape, len(classes))
    final.set_weights(model.get_weights())
    items = splits.inputs(test)
    answers = Answers(test.images, test.labels, predict(final, items), classes, splits.sketch)
    metrics = {"test_accuracy": answers.accuracy, **estimate}
    metrics |= custom.measure(test.labels, answers.scores)
    if pens is not None:
        metrics["drawn_accuracy"] = accuracy(pens.labels, predict(final, splits.inputs(pens)))

    name, named = run.request.name, ", ".join(classes[:8])
    card = Card(
        title="Handwritten digits" if splits.sketch else name.replace("-", " ").capitalize(),
        summary="Draw a digit and it is recognised."
        if splits.sketch
        else f"Tells {len(classes)} classes of pictures apart: {named}.",
        data=splits.sources,
        licence=splits.data.licence,
        architecture=", ".join(layer.name for layer in final.layers),
        parameters=final.count_params(),
        training={
            "architecture": options.arch,
            "optimizer": type(model.optimizer).__name__,
            "loss": options.keras.loss or type(custom.loss).__name__,
            "batch_size": arch.batch_size,
            "augmentation": arch.augmentation,
        },
        classes=classes,
        confusion=answers.confusion,
        limits=DIGIT_LIMITS if splits.sketch else OTHER_LIMITS,
        notes=(*splits.notes, *note, TESTED_ONCE),
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
        examples=answers.examples(),
        figures=[*answers.draw(), draw_network(final)],
    )
