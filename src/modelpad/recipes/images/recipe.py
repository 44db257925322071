"""The images recipe from top to bottom: pictures, training, int8, test, card."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from modelpad.convert.plans import InputPlan
from modelpad.datasets import LoadOptions
from modelpad.errors import UsageError
from modelpad.fields import Heatmap
from modelpad.recipes.images import ImagesOptions
from modelpad.recipes.images.compact import Finished, finish_model
from modelpad.recipes.images.corrections import add_corrections
from modelpad.recipes.images.data import CHANNELS, load_pictures, split_pictures
from modelpad.recipes.images.fitting import fit_few, fit_many
from modelpad.recipes.images.model import ARCHITECTURES, Architecture, Classifier, Extras, Served
from modelpad.recipes.images.objectives.choose import choose_objective
from modelpad.recipes.images.objectives.objective import Companions
from modelpad.recipes.images.testing import Tester
from modelpad.training.card import Card
from modelpad.training.evaluated import evaluated_split
from modelpad.training.findings import join_findings, join_sets
from modelpad.training.image_splits import ImageSplits
from modelpad.training.options import write_flags
from modelpad.training.recipe import Trained
from modelpad.training.run import Run

FEW = 500  # with fewer pictures only the last layer is trained, and all of them cross-validate it
PROVED = 64  # pictures
TOLERANCE = 1e-3  # relative
NO_UNKNOWN = "A picture of none of the classes is still labelled as one of them."
NO_UNKNOWN_VALUE = "It predicts a value for any picture, also for one unlike those it has seen."
UNKNOWN = (
    "Pictures unlike those it was trained on are reported as unknown; not every one is noticed."
)


def train(options: ImagesOptions, run: Run, load: LoadOptions | None = None) -> Trained:
    """Trains, tests and describes a model of pictures. `load` is how to read the data."""
    arch = choose_architecture(options)
    run.set_epochs(arch.epochs)
    load = replace(load or LoadOptions(), table=options.table.plan())
    pictures = load_pictures(run, options.size, arch.size, load)
    options.table.check(pictures.data)
    few = arch.pretrained and len(pictures.data.train) < FEW
    if few:
        check_few(options, run)
    splits = split_pictures(pictures, run, divide=not few)
    if options.feedback is not None:
        splits = add_corrections(splits, pictures, options.feedback, run)
    run.print(describe_splits(splits, pictures.side))
    objective = choose_objective(options, splits.data, splits.train)
    tester = Tester(objective, run, options.metric, splits.train.targets)

    torch.manual_seed(run.seed)
    net = Classifier(arch, CHANNELS, pictures.side, objective.outputs)
    fitted = (fit_few if few else fit_many)(net, splits, objective, run)
    objective.finish(net.head)
    likeness = fitted.likeness if objective.explains and not options.no_unknown else None
    explained = objective.explains and arch.pooled and not options.no_heatmap
    served = Served(net, objective, Extras(fitted.temperature, explained, likeness))
    quantize = options.quantize == "auto"
    finished = finish_model(served, fitted.judged, pictures.side, quantize=quantize)

    if likeness is not None:
        likeness = replace(likeness, threshold=likeness.threshold + finished.shift)
    companions = Companions(
        likeness.field if likeness else None,
        Heatmap("heatmap", over=pictures.field.name) if explained else None,
    )
    found = join_sets(
        {
            "cross-validated": tester.validate(fitted, splits),
            "test set": tester.test(finished, splits),
        }
    )
    shown = splits.test if len(splits.test) else splits.train
    return Trained(
        source=finished.source,
        inputs=[InputPlan(pictures.field, finished.source.inputs[0])],
        outputs=objective.plan(finished.source, companions),
        proof={"image": splits.inputs(shown.take(np.arange(min(PROVED, len(shown)))))},
        metrics={},
        card=describe_model(options, served, splits, finished, run),
        findings=join_findings(found, pictures.findings),
        examples=objective.pick_examples(evaluated_split(shown), shown.targets),
        tolerance=TOLERANCE,
    )


def check_few(options: ImagesOptions, run: Run) -> None:
    """Raises `UsageError` for options of the optimizer, which few pictures do without."""
    given = write_flags(options.optimizer.chosen)
    if given or run.is_trial:
        what = f"{given[0]} has" if given else "A search has"
        raise UsageError(
            f"{what} nothing to do with fewer than {FEW} pictures: only the last layer is trained,"
            " to its optimum.",
            hint="Give more pictures, or train a network from scratch: --arch small.",
        )


def choose_architecture(options: ImagesOptions) -> Architecture:
    """The architecture, with the learning rate and the like that were chosen.

    Raises `UsageError` for a backbone that it does not have.
    """
    arch, chosen = find_architecture(options), options.optimizer
    return replace(
        arch,
        rate=chosen.learning_rate or arch.rate,
        batch_size=chosen.batch_size,
        weight_decay=arch.weight_decay if chosen.weight_decay is None else chosen.weight_decay,
    )


def find_architecture(options: ImagesOptions) -> Architecture:
    """The architecture of that name, or of that backbone."""
    if options.backbone is None:
        return ARCHITECTURES[options.arch]
    if options.arch != "transfer":
        raise UsageError(
            f"--arch {options.arch} starts from scratch, without a backbone.",
            hint="Leave --backbone out, or use --arch transfer.",
        )
    from modelpad.recipes.images.keras_backbone import find_backbone

    return find_backbone(options.backbone)


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
    options: ImagesOptions, served: Served, splits: ImageSplits, finished: Finished, run: Run
) -> Card:
    """The card."""
    net = served.net
    title = run.request.name.replace("-", " ").capitalize()
    network: str = options.arch
    if net.arch.pretrained:
        network = f"{net.arch.network}, pretrained on ImageNet"
    return Card(
        title=title,
        summary=served.objective.summary,
        data=splits.sources,
        licence=splits.data.licence,
        architecture=network,
        parameters=sum(each.numel() for each in net.parameters()),
        training={"architecture": options.arch, "size": net.size, **options.optimizer.chosen},
        limits=list_limits(served),
        notes=tuple(filter(None, (*splits.notes, finished.note))),
    )


def list_limits(served: Served) -> tuple[str, ...]:
    """What the model cannot do."""
    if served.extras.likeness is not None:
        return (UNKNOWN,)
    return (NO_UNKNOWN if served.objective.explains else NO_UNKNOWN_VALUE,)
