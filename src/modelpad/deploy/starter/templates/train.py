"""Trains a small network on the drawings in data/, and adds it to the store: make train

Replace data, network and texts by your own. modelpad.save takes models of other frameworks, too.
"""

import os
from pathlib import Path

import numpy as np
import torch

import modelpad
from modelpad.fields import Sketch

NAME = "@NAME@"
EPOCHS = int(os.environ.get("EPOCHS") or 10)
BATCH = 16
HELD_OUT = 5  # every fifth drawing is for testing
SKETCH = Sketch("drawing", size=28)


def read_drawings(files):
    """The drawings as a tensor (files, 28, 28) of 0 (paper) to 1 (ink), centred as when served."""
    grids = [SKETCH.decode(file.read_bytes()) for file in files]
    return torch.from_numpy(np.stack(grids)) / 255


def make_network(classes):
    """Scores of the classes, for drawings (batch, 28, 28)."""
    return torch.nn.Sequential(
        torch.nn.Unflatten(1, (1, 28)),
        torch.nn.Conv2d(1, 16, 5, stride=2),
        torch.nn.ReLU(),
        torch.nn.Conv2d(16, 32, 5, stride=2),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(32 * 4 * 4, classes),
    )


def train(network, drawings, labels):
    """Adam on random batches, and the loss after each epoch."""
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    for epoch in range(1, EPOCHS + 1):
        for batch in torch.randperm(len(drawings)).split(BATCH):
            loss = torch.nn.functional.cross_entropy(network(drawings[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"Epoch {epoch} of {EPOCHS}: loss {loss.item():.3f}")


def main():
    torch.manual_seed(0)
    files = sorted(Path("data").glob("*/*.png"))
    classes = sorted({file.parent.name for file in files})
    drawings = read_drawings(files)
    labels = torch.tensor([classes.index(file.parent.name) for file in files])
    tested = torch.arange(len(files)) % HELD_OUT == 0

    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = make_network(len(classes)).to(device)
    train(network, drawings[~tested].to(device), labels[~tested].to(device))

    network = network.cpu().eval()
    with torch.no_grad():
        right = network(drawings[tested]).argmax(1) == labels[tested]
    print(f"Test accuracy: {right.float().mean():.0%} of {len(right)} drawings.")
    saved = modelpad.save(
        torch.nn.Sequential(network, torch.nn.Softmax(1)).eval(),
        NAME,
        example=drawings[:2],
        inputs="drawing=sketch:28x28,scale=0..1",
        outputs=f"labels:{','.join(classes)}",
        samples=[files[index] for index in tested.nonzero().flatten()[::3]],
        title="Circle, cross or triangle",
        summary="Draw one of them.",
    )
    print(f"Saved as {saved.name} version {saved.version}. Next: make test, make serve")


if __name__ == "__main__":
    main()
