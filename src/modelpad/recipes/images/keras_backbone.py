"""The networks of keras.applications, with their ImageNet weights, as layers of a classifier.

Keras downloads the weights into its own folder, or finds them there. The network itself is not
changed in training, only the linear layer after it: its normalisation fits what it was trained on.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any

import keras
import torch
from torch import nn

from modelpad.errors import TrainingFailed, UsageError, first_line, suggest_name
from modelpad.recipes.images.model import CENTRE, SPREAD, Architecture
from modelpad.training.keras import image_data_format

SIDE = 224
EPOCHS = 4
RATE = 1e-3
FETCH_FAILED = re.compile(r"URL fetch failure on (\S+):")
FOLDER = "~/.keras/models/ (or $KERAS_HOME/models/)"


class KerasLayers(nn.Module):
    """A network of Keras as one layer; `prepare` scales pixels, 0..255, as it expects them."""

    def __init__(
        self, network: keras.Model, prepare: Callable[[torch.Tensor], torch.Tensor]
    ) -> None:
        super().__init__()
        self.network, self.prepare = network, prepare

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W), -1..1, to a map (N, features, h, w)."""
        pixels = (x * SPREAD + CENTRE).permute(0, 2, 3, 1)
        maps: torch.Tensor = self.network(self.prepare(pixels), training=False)
        return maps.permute(0, 3, 1, 2)


def find_backbone(name: str) -> Architecture:
    """The architecture with a network of keras.applications, in any case. Raises `UsageError`."""
    if keras.backend.backend() != "torch":
        raise UsageError(
            f"Keras runs on {keras.backend.backend()}; the recipe trains with PyTorch.",
            hint="Set KERAS_BACKEND=torch.",
        )
    known = {
        each: build
        for each, build in vars(keras.applications).items()
        if each[0].isupper() and callable(build)
    }
    found = next((each for each in known if each.lower() == name.lower()), None)
    if found is None:
        raise UsageError(
            f"keras.applications has no network called {name}.",
            hint=suggest_name(name, known, kind="network"),
        )
    build = known[found]
    return Architecture(
        lambda channels, size: nn.Sequential(load_network(found, build, size)),
        EPOCHS,
        RATE,
        SIDE,
        frozen=1,
        pretrained=True,
        network=found,
    )


def load_network(name: str, build: Callable[..., keras.Model], size: int) -> KerasLayers:
    """The network without its last layer, for RGB pictures of `size` x `size` pixels.

    Raises:
        UsageError: it does not take pictures of this size.
        TrainingFailed: its weights are not on this machine and cannot be downloaded.
    """
    try:
        with (
            image_data_format("channels_last"),
            warnings.catch_warnings(),
            redirect_stdout(sys.stderr),  # the progress of a download
        ):
            warnings.simplefilter("ignore")  # about sizes other than those of the weights
            network = build(include_top=False, weights="imagenet", input_shape=(size, size, 3))
    except ValueError as error:
        raise UsageError(
            f"{name} cannot be used with pictures of {size} pixels: {first_line(error, 200)}",
            hint=f"Its usual size is {SIDE}: --size {SIDE}",
        ) from error
    except Exception as error:  # Keras raises a plain Exception
        failed = FETCH_FAILED.search(str(error))
        if failed is None:
            raise
        address = failed[1]
        raise TrainingFailed(
            f"The weights of {name} are not on this machine, and cannot be downloaded from"
            f" {address}.",
            hint=f"Download that file elsewhere, and put {address.rpartition('/')[2]} into"
            f" {FOLDER}.",
        ) from error
    network.trainable = False
    prepare: Any = sys.modules[build.__module__].preprocess_input
    return KerasLayers(network, prepare)
