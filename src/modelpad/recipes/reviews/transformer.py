"""A classifier on a transformer in a Hugging Face folder: start, classes, test, card."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from modelpad.convert.huggingface import HuggingFaceSource, open_folder
from modelpad.convert.plans import InputPlan, OutputPlan
from modelpad.convert.source import ImportRequest
from modelpad.errors import UsageError
from modelpad.fields import Label, Text
from modelpad.fields.steps import Softmax
from modelpad.recipes.reviews import ReviewsOptions
from modelpad.recipes.reviews.bag import compare, measure_baseline
from modelpad.recipes.reviews.testing import (
    LIMITS,
    Tested,
    describe_kinds,
    describe_test,
    pick_examples,
)
from modelpad.recipes.text.fitting import show_steps
from modelpad.recipes.text.splits import LabelledSplits, describe_texts
from modelpad.recipes.text.transformer import (
    LONGEST,
    Transformer,
    TransformerTrainer,
    load_transformer,
)
from modelpad.training.calibration import fit_temperature
from modelpad.training.card import Card, DataRow
from modelpad.training.device import Device, choose_device
from modelpad.training.findings import join_findings
from modelpad.training.metrics import accuracy
from modelpad.training.options import OptimizerOptions, extend_command
from modelpad.training.recipe import Trained
from modelpad.training.run import Run

EPOCHS = 2
PROVED = 32  # texts
MAX_TEXT = 1_000_000  # characters
TOLERANCE = 1e-3


def train_transformer(options: ReviewsOptions, splits: LabelledSplits, run: Run) -> Trained:
    """Trains, tests and describes a classifier that begins as a transformer.

    Raises UsageError for --adapt, which has no meaning here; else as `load_transformer`.
    """
    if options.adapt is not None:
        raise UsageError(
            "--adapt does not apply to a Hugging Face folder.", hint="Leave --adapt out."
        )
    device, folder = choose_device(), Path(options.from_).expanduser()
    run.set_epochs(EPOCHS)
    torch.manual_seed(run.seed)
    model = load_transformer(folder, splits.data.classes)
    fit(model, splits, run, device, options.optimizer)
    run.print(f"Testing on {len(splits.test.texts):,} texts.")

    def read(texts: Sequence[str]) -> NDArray[np.float32]:
        logits = torch.from_numpy(model.predict(model.encode(texts), device))
        scores: NDArray[np.float32] = torch.softmax(logits, dim=1).numpy()
        return scores

    texts, labels = splits.test.texts, splits.test.labels
    lengths = np.array([len(text.split()) for text in texts], np.int64)
    tested = Tested(read(texts), lengths, "words", read)
    found = describe_test(splits, tested, run)
    baseline = compare(measure_baseline(options, splits, run), accuracy(labels, tested.scores))
    source, inputs = open_trained(model)
    return Trained(
        source=source,
        inputs=inputs,
        outputs=[OutputPlan(Label("label", splits.data.classes), source.outputs[0], (Softmax(),))],
        proof={"text": np.array(texts[:PROVED], object)},
        metrics={},
        card=describe_model(options, model, folder, splits, run),
        findings=join_findings(found, baseline),
        examples=pick_examples(splits),
        tolerance=TOLERANCE,
    )


def fit(
    model: Transformer,
    splits: LabelledSplits,
    run: Run,
    device: Device,
    chosen: OptimizerOptions,
) -> None:
    """Trains in the run's epochs, keeps the best one, and calibrates it on validation texts."""
    train, validation = splits.train, splits.validation
    tokens = model.encode(train.texts, LONGEST[device.name])
    trainer = TransformerTrainer(model, tokens, train.labels, run.epochs, device, run.seed, chosen)
    run.use(learning_rate=trainer.peak, batch_size=trainer.batch, weight_decay=trainer.decay)
    judged = model.encode(validation.texts)
    run.restore(trainer.read)
    with run.interruptible():
        for epoch in run.remaining_epochs():
            loss = trainer.train_epoch(epoch, show_steps(run, epoch), run)
            logits = torch.from_numpy(model.predict(judged, device))
            right = torch.from_numpy(validation.labels)
            val_loss = float(torch.nn.functional.cross_entropy(logits, right))
            numbers = {"loss": loss, "val_loss": val_loss, "learning_rate": trainer.rate}
            numbers["val_accuracy"] = float((logits.argmax(dim=1) == right).float().mean())
            run.log(epoch, numbers)
            run.save(trainer.write, loss=val_loss, write_best=trainer.write_best)
    run.restore_best(trainer.read_best)
    model.divide_logits(fit_temperature(model.predict(judged, device), validation.labels))


def open_trained(model: Transformer) -> tuple[HuggingFaceSource, list[InputPlan]]:
    """The network as a source of a bundle. Raises UsageError if its tokenizer cannot be stored."""
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder))
        source = open_folder(Path(folder), ImportRequest())
    if source.tokenizer is None:
        raise UsageError(
            "The tokenizer of this model cannot be stored in a bundle.",
            hint="Give a model whose tokenizer the tokenizers library reproduces, such as BERT's.",
        )
    ids = next(spec for spec in source.inputs if spec.name == source.tokenizer.ids)
    return source, [InputPlan(Text("text", MAX_TEXT), ids, tokenizer=source.tokenizer)]


def describe_model(
    options: ReviewsOptions, model: Transformer, folder: Path, splits: LabelledSplits, run: Run
) -> Card:
    """The card."""
    data = describe_texts(splits)
    kind = type(model.net).__name__
    return Card(
        title=run.request.name.replace("-", " ").capitalize(),
        summary=describe_kinds(splits.data.classes),
        data=(
            data,
            DataRow(f"what {folder.name} was trained on", 0, "", "the model to start from"),
        ),
        licence=data.licence,
        architecture=f"{kind}, which reads at most {model.longest:,} tokens",
        parameters=sum(each.numel() for each in model.net.parameters()),
        training={
            "started": f"from {folder.name}",
            "command": extend_command(
                f"modelpad train reviews --from {folder.name} --epochs {run.epochs}"
                f" --seed {run.seed}",
                options.optimizer.chosen,
            ),
        },
        limits=(*LIMITS, f"Of longer texts, it reads the first {model.longest:,} tokens."),
        notes=splits.notes,
    )
