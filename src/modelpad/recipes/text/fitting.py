"""The stages of ULMFiT within a run: general text, target text, classes (Howard & Ruder 2018).

How much is trained at a time depends on the size of the text and on the device.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from modelpad.recipes.text.classifying import (
    CLASSES,
    ClassifierPlan,
    ClassifierTrainer,
    measure_classes,
)
from modelpad.recipes.text.labelled import Labelled
from modelpad.recipes.text.language import (
    STAGE,
    LanguagePlan,
    LanguageTrainer,
    Report,
    measure,
)
from modelpad.recipes.text.network import Classifier, LanguageModel, Shape
from modelpad.recipes.text.tokens import Corpus
from modelpad.training.device import Device
from modelpad.training.options import OptimizerOptions
from modelpad.training.run import Run
from modelpad.training.seeding import derive_seed

SPANS = {"cpu": 128, "cuda": 256}
LANES = {"cpu": 32, "cuda": 64}
MIN_LANES = 4
STEPS = 60  # small texts still make about as many steps in a pass
MOST_STEPS = {"cpu": 2500, "cuda": None}  # of a pass: twenty minutes on two cores
GENERAL, TARGET = "general", "target"  # stages, in checkpoints
GENERAL_PASSES = 2
RATES = {"mingru": 4e-3, "lstm": 2e-3}
DROPOUT_PER_PASS, DROPOUTS = 0.03, (0.05, 0.6)
LARGE_VOCABULARY = 4096  # of which a CPU uses a sample only
JUDGED_TOKENS = 200_000  # of the validation texts after each epoch
KEEP_EVERY = 500  # steps, a checkpoint is saved within a pass
BATCHES, MIN_BATCH = {"cpu": 32, "cuda": 64}, 8  # texts
MIN_STEPS = 20  # of a classifier in an epoch
LONGEST = {"cpu": 512, "cuda": 1024}  # tokens of a text that a classifier learns from
SEEDS = {stage: number for number, stage in enumerate((GENERAL, TARGET, CLASSES))}


@dataclass(frozen=True, slots=True)
class Corpora:
    """What a language model learns from: `general` text first, if any; then `train`."""

    train: Corpus
    validation: Corpus
    general: Corpus | None = None


@dataclass(frozen=True, slots=True)
class Adaptation:
    """A language model that is to be trained on a corpus before it becomes a classifier."""

    net: LanguageModel
    corpus: Corpus
    passes: int


def plan_language(
    stage: str, corpus: Corpus, passes: int, shape: Shape, run: Run, device: Device
) -> LanguagePlan:
    """The plan for a corpus: larger steps on larger texts, more dropout with more passes."""
    span = SPANS[device.name]
    lanes = int(np.clip(len(corpus.tokens) // (span * STEPS), MIN_LANES, LANES[device.name]))
    return LanguagePlan(
        stage,
        passes,
        lanes,
        span,
        rate=RATES[shape.arch],
        dropout=float(np.clip(DROPOUT_PER_PASS * passes, *DROPOUTS)),
        most=MOST_STEPS[device.name],
        sampled=not device.is_accelerator and shape.vocabulary > LARGE_VOCABULARY,
        seed=derive_seed(run.seed, SEEDS[stage]),
        keep_every=KEEP_EVERY,
    )


def choose_language(plan: LanguagePlan, chosen: OptimizerOptions) -> LanguagePlan:
    """The plan with what the user chose; a batch is that many texts side by side."""
    return replace(
        plan,
        lanes=chosen.batch_size or plan.lanes,
        rate=chosen.learning_rate or plan.rate,
        decay=plan.decay if chosen.weight_decay is None else chosen.weight_decay,
    )


def fit_language(
    net: LanguageModel,
    corpora: Corpora,
    run: Run,
    device: Device,
    chosen: OptimizerOptions = OptimizerOptions(),
) -> None:
    """Trains in the run's epochs, and leaves the weights of the best one in `net`.

    The general text is read before the first epoch; an epoch is one pass over the other. `chosen`
    holds for both.
    """
    shape = net.encoder.shape
    stage, folder = find_stage(run)
    with run.interruptible():
        if corpora.general is not None and stage != TARGET and run.remaining_epochs():
            plan = plan_language(GENERAL, corpora.general, GENERAL_PASSES, shape, run, device)
            plan = choose_language(plan, chosen)
            pretrain(net, corpora.general, plan, run, device, folder)
        plan = plan_language(TARGET, corpora.train, run.epochs, shape, run, device)
        plan = choose_language(plan, chosen)
        run.use(learning_rate=plan.rate, batch_size=plan.lanes, weight_decay=plan.decay)
        trainer = LanguageTrainer(net, corpora.train, plan, device, run.team)
        if stage == TARGET and folder is not None:
            trainer.read(folder)
        judged = shorten(corpora.validation, JUDGED_TOKENS)
        for epoch in run.remaining_epochs():
            loss = trainer.train_pass(show_steps(run, epoch), run)
            if not run.team.leads:
                continue
            found = measure(net, judged, device)
            numbers = {"loss": loss, "val_loss": found.loss, "learning_rate": trainer.rate}
            run.log(epoch, {**numbers, "val_bits_per_byte": found.bits_per_byte})
            run.save(trainer.write, loss=found.loss, write_best=trainer.write_best)
    run.restore_best(trainer.read_best)


def pretrain(
    net: LanguageModel,
    corpus: Corpus,
    plan: LanguagePlan,
    run: Run,
    device: Device,
    folder: Path | None,
) -> None:
    """Trains on text in a cycle of its own, before the run's epochs; goes on from `folder`."""
    trainer = LanguageTrainer(net, corpus, plan, device, run.team)
    if folder is not None:
        trainer.read(folder)
    while trainer.passed < plan.passes:
        loss = trainer.train_pass(show_steps(run, 0), run)
        run.print(f"Pass {trainer.passed} of {plan.passes} over the {plan.stage} text: {loss:.3f}.")


def fit_classifier(
    net: Classifier,
    train: Labelled,
    validation: Labelled,
    run: Run,
    device: Device,
    adaptation: Adaptation | None = None,
    chosen: OptimizerOptions = OptimizerOptions(),
) -> None:
    """Trains in the run's epochs, and leaves the weights of the best one in `net`.

    Before the first epoch, `adaptation` continues to train the language model that `net` begins as;
    what is `chosen` does not hold for that.
    """
    stage, folder = find_stage(run)
    with run.interruptible():
        if adaptation is not None and stage != CLASSES and run.remaining_epochs():
            language, shape = adaptation.net, adaptation.net.encoder.shape
            plan = plan_language(TARGET, adaptation.corpus, adaptation.passes, shape, run, device)
            pretrain(language, adaptation.corpus, plan, run, device, folder)
            net.encoder.load_state_dict(language.encoder.state_dict())
        plan_classes = plan_classifier(len(train.labels), run, device, chosen)
        run.use(
            learning_rate=plan_classes.rate,
            batch_size=plan_classes.batch,
            weight_decay=plan_classes.decay,
        )
        trainer = ClassifierTrainer(net, train, plan_classes, device, run.team)
        if stage == CLASSES and folder is not None:
            trainer.read(folder)
        for epoch in run.remaining_epochs():
            loss = trainer.train_epoch(epoch, show_steps(run, epoch), run)
            if not run.team.leads:
                continue
            found = measure_classes(trainer.averaged, validation, device)
            numbers = {"loss": loss, "val_loss": found.loss, "learning_rate": trainer.rate}
            run.log(epoch, {**numbers, "val_accuracy": found.accuracy})
            run.save(trainer.write, loss=found.loss, write_best=trainer.write_best)
    run.restore_best(trainer.read_best)


def plan_classifier(
    texts: int, run: Run, device: Device, chosen: OptimizerOptions
) -> ClassifierPlan:
    """The plan for so many texts: smaller batches for few of them."""
    batch = int(np.clip(texts // MIN_STEPS, MIN_BATCH, BATCHES[device.name]))
    plan = ClassifierPlan(
        run.epochs,
        frozen=min(2, max(0, run.epochs - 1)),
        batch=chosen.batch_size or batch,
        longest=LONGEST[device.name],
        seed=derive_seed(run.seed, SEEDS[CLASSES]),
    )
    return replace(
        plan,
        rate=chosen.learning_rate or plan.rate,
        decay=plan.decay if chosen.weight_decay is None else chosen.weight_decay,
    )


def find_stage(run: Run) -> tuple[str, Path | None]:
    """The stage and folder of the checkpoint that the run goes on from; "" and None if none."""
    folders: list[Path] = []
    if run.remaining_epochs():
        run.restore(folders.append)
    if not folders:
        return "", None
    return (folders[0] / STAGE).read_text("utf-8"), folders[0]


def shorten(corpus: Corpus, tokens: int) -> Corpus:
    """The first texts of a corpus, about so many tokens."""
    count = max(1, int(np.searchsorted(corpus.offsets, tokens, side="right")) - 1)
    return corpus if count >= len(corpus) else corpus.first(count)


def show_steps(run: Run, epoch: int) -> Report:
    """Shows the progress of an epoch."""

    def report(step: int, steps: int, loss: float) -> None:
        run.progress(epoch, step, steps, {"loss": loss})

    return report
