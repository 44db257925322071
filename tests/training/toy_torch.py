"""A recipe with a loop of its own, in PyTorch: a linear model on the 8x8 digits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from modelpad.convert import ImportRequest, open_object
from modelpad.convert.plans import InputPlan, OutputPlan
from modelpad.fields import Label, Tensor
from modelpad.fields.steps import Softmax
from modelpad.training.card import Card, describe_data
from modelpad.training.metrics import accuracy
from modelpad.training.options import option
from modelpad.training.recipe import Recipe, Trained
from modelpad.training.run import Run
from modelpad.training.splits import hold_out

BATCH = 64
after_epoch: list[Callable[[int], None]] = []
"""What a test wants done after each epoch was saved."""


@dataclass(frozen=True, slots=True)
class Options:
    """What `modelpad train loop` accepts."""

    rate: float = option(0.01, "learning rate")


def train(options: Options, run: Run) -> Trained:
    """Trains in a loop, keeps the epoch with the lowest validation loss, and tests it."""
    data = run.load_data()
    assert data.test is not None
    kept, held = hold_out(data.train.labels, 0.2, np.random.default_rng(run.seed))
    images = torch.from_numpy(data.train.images.reshape(-1, 64) / np.float32(255))
    labels = torch.from_numpy(data.train.labels)
    run.set_epochs(4)

    torch.manual_seed(run.seed)
    net = torch.nn.Sequential(torch.nn.Dropout(0.2), torch.nn.Linear(64, 10))
    optimizer = torch.optim.Adam(net.parameters(), lr=options.rate)
    measure = torch.nn.CrossEntropyLoss()

    def write(folder: Path) -> None:
        state = {"net": net.state_dict(), "optimizer": optimizer.state_dict()}
        torch.save(state, folder / "state.pt")

    def read(folder: Path) -> None:
        state = torch.load(folder / "state.pt", weights_only=True)
        net.load_state_dict(state["net"])
        optimizer.load_state_dict(state["optimizer"])

    run.restore(read)
    with run.interruptible():
        for epoch in run.remaining_epochs():
            torch.manual_seed(run.seed_of(epoch))
            net.train()
            batches = torch.from_numpy(kept)[torch.randperm(len(kept))].split(BATCH)  # type: ignore[no-untyped-call]
            for step, batch in enumerate(batches):
                optimizer.zero_grad()
                loss = measure(net(images[batch]), labels[batch])
                loss.backward()
                optimizer.step()
                run.progress(epoch, step + 1, len(batches), {"loss": loss.item()})
            net.eval()
            with torch.no_grad():
                val_loss = measure(net(images[held]), labels[held]).item()
            run.log(epoch, {"loss": loss.item(), "val_loss": val_loss})
            run.save(write, loss=val_loss)
            for call in after_epoch:
                call(epoch)
    run.restore_best(read)

    net.eval()
    tested = data.test.images.reshape(-1, 64) / np.float32(255)
    source = open_object(net, ImportRequest(), tested[:2])
    with torch.no_grad():
        scores = net(torch.from_numpy(tested)).numpy()
    label = Label("label", data.classes)
    return Trained(
        source=source,
        inputs=[InputPlan(Tensor("pixels", "float32", (64,)), source.inputs[0])],
        outputs=[OutputPlan(label, source.outputs[0], (Softmax(),))],
        proof={"pixels": tested},
        metrics={"test_accuracy": accuracy(data.test.labels, scores)},
        card=Card("Loop", "Ten digits.", [describe_data(data)]),
    )


RECIPE = Recipe(
    name="loop",
    summary="a toy with a loop of its own",
    extra="pytorch",
    data_sets=("uci-digits",),
    options=Options,
    train=train,
)
