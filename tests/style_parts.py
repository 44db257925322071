"""Small parts that the tests of style transfer share: a random VGG, folders, a bundle."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from modelpad.fields.picture_format import PictureFormat
from modelpad.recipes.style.vgg import CHANNELS, CONVOLUTIONS, NPZ


def make_weights(blocks: int = 2, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Random weights of VGG-19's first blocks, which keep the size of the features."""
    rng, taken = np.random.default_rng(seed), 3
    weights: dict[str, NDArray[np.float32]] = {}
    for block, (count, given) in enumerate(zip(CONVOLUTIONS, CHANNELS, strict=True), start=1):
        for number in range(1, count + 1):
            name = f"block{block}_conv{number}"
            kernel = rng.normal(0, (2 / 9 / taken) ** 0.5, (3, 3, taken, given))
            weights[f"{name}.kernel"] = kernel.astype(np.float32)
            weights[f"{name}.bias"] = rng.normal(0, 0.1, given).astype(np.float32)
            taken = given
        if block == blocks:
            break
    return weights


def write_data(root: Path, photos: int = 20, side: int = 72) -> Path:
    """A folder as in MODELPAD_DATA, with vgg19/, paintings/ and photos/."""
    rng = np.random.default_rng(1)
    (root / "vgg19").mkdir(parents=True)
    np.savez(root / "vgg19" / NPZ, **make_weights())  # type: ignore[arg-type]
    for name, count in (("paintings", 2), ("photos", photos)):
        (root / name).mkdir()
        for index in range(count):
            coarse = rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)
            picture = Image.fromarray(coarse).resize((side + 8, side), Image.Resampling.BICUBIC)
            file = "waves.png" if (name, index) == ("paintings", 0) else f"{name} {index}.png"
            picture.save(root / name / file)
    return root


def write_styles(folder: Path) -> Path:
    """The bundle of an untrained painter with two styles, made as the recipe makes its own."""
    import torch

    from modelpad.recipes.style.network import Painter
    from modelpad.recipes.style.served import make_source, plan_inputs, plan_outputs
    from modelpad.training.card import Card
    from modelpad.training.pipeline import finish
    from modelpad.training.recipe import Example, Trained
    from modelpad.training.run import Run, TrainRequest

    torch.manual_seed(0)
    painter = Painter(2, (8, 8, 8), 1)
    for name, value in painter.named_parameters():
        if name.endswith(("scale", "shift")):  # or both styles would be the same
            torch.nn.init.normal_(value, 1.0, 0.5)
    source = make_source(painter, 2)
    photo = np.random.default_rng(0).integers(0, 256, (24, 40, 3)).astype(np.uint8)
    trained = Trained(
        source=source,
        inputs=plan_inputs(source, ("wave", "scream")),
        outputs=plan_outputs(source),
        proof={
            "image": photo[None].astype(np.float32),
            "style": np.array([[0.25, 0.75]], np.float32),
            "strength": np.array([0.5], np.float32),
            "preserve_colour": np.array([0.5], np.float32),
        },
        metrics={},
        card=Card("Styles", "Paints.", []),
        examples=[Example({"image": PictureFormat().encode(photo), "style": "scream"})],
    )
    run = Run(TrainRequest("styles", "photos", folder), {}, io.StringIO())
    return finish(run, trained).folder
