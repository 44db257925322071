"""The features that style and content are measured in: VGG-19's convolutions, with their weights.

The network is that of Simonyan & Zisserman (2014), as Keras distributes it: it takes RGB, swaps it
to BGR and subtracts the mean of ImageNet. Its pooling is by averages (Gatys et al., 2016, section
2: "slightly more appealing results"). Weights come from a file `vgg19_blocks.npz`, which may hold
only the first blocks, or from Keras's official file without the dense layers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from modelpad.errors import DataSetInvalid, DataSetNotFound

NPZ = "vgg19_blocks.npz"
KERAS = "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"
ADDRESS = f"https://storage.googleapis.com/tensorflow/keras-applications/vgg19/{KERAS}"
CONVOLUTIONS = (2, 2, 4, 4, 4)  # in each block
CHANNELS = (64, 128, 256, 512, 512)
MEAN = (123.68, 116.779, 103.939)  # RGB

Weights = Mapping[str, NDArray[np.floating]]
"""`blockB_convC.kernel` (3, 3, in, out) and `.bias` (out,), for each convolution."""
Maps = dict[str, torch.Tensor]
"""Features (N, C, h, w) by the name of their layer, after its ReLU."""


class Vgg(nn.Module):
    """VGG-19's convolutions as far as there are weights. Its weights are never trained."""

    mean: torch.Tensor

    def __init__(self, weights: Weights) -> None:
        """Raises `DataSetInvalid` if the first block is missing or a shape is wrong."""
        super().__init__()
        self.layers = nn.ModuleDict()
        taken = 3
        for name, given in list_layers():
            if f"{name}.kernel" not in weights:
                break
            self.layers[name] = make_layer(name, weights, taken, given)
            taken = given
        if not self.layers:
            raise DataSetInvalid(
                "The weights of VGG-19 have no block1_conv1.kernel.",
                hint=f"Use {NPZ}, or Keras's {KERAS}.",
            )
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None])
        self.requires_grad_(requires_grad=False)

    def forward(self, pixels: torch.Tensor, wanted: Collection[str]) -> Maps:
        """The features of RGB pictures (N, 3, H, W), 0..255, in the layers `wanted`."""
        found: Maps = {}
        maps = (pixels - self.mean).flip(1)
        for name, layer in self.layers.items():
            if name.endswith("conv1") and name != "block1_conv1":
                maps = functional.avg_pool2d(maps, 2)
            maps = torch.relu(layer(maps))
            if name in wanted:
                found[name] = maps
            if len(found) == len(wanted):
                break
        return found


def list_layers() -> Iterator[tuple[str, int]]:
    """The name and the number of channels of each convolution, in order."""
    for block, (count, channels) in enumerate(zip(CONVOLUTIONS, CHANNELS, strict=True), start=1):
        for number in range(1, count + 1):
            yield f"block{block}_conv{number}", channels


def make_layer(name: str, weights: Weights, taken: int, given: int) -> nn.Conv2d:
    """A convolution with its weights. Raises `DataSetInvalid` if their shapes are wrong."""
    kernel, bias = weights[f"{name}.kernel"], weights.get(f"{name}.bias")
    if bias is None or kernel.shape != (3, 3, taken, given) or bias.shape != (given,):
        raise DataSetInvalid(
            f"VGG-19's layer {name} has the wrong shape: {list(kernel.shape)}.",
            hint=f"Expected a kernel {[3, 3, taken, given]} and a bias {[given]}.",
        )
    layer = nn.Conv2d(taken, given, 3, padding=1)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(kernel.transpose(3, 2, 0, 1).astype(np.float32)))
        layer.bias.copy_(torch.from_numpy(bias.astype(np.float32)))  # type: ignore[union-attr]
    return layer


def find_weights(folders: Sequence[Path]) -> Path:
    """The first file of weights in `folders`; Keras's own has all blocks and is preferred.

    Raises `DataSetNotFound` if there is none.
    """
    for name in (KERAS, NPZ):
        for folder in folders:
            if (folder / name).is_file():
                return folder / name
    raise DataSetNotFound(
        f"The weights of VGG-19 were not found. Searched: {', '.join(map(str, folders))}.",
        hint=f"Download {ADDRESS} into one of these folders.",
        folders=[str(folder) for folder in folders],
    )


def load_vgg(path: Path) -> Vgg:
    """The network with the weights in a file. Raises `DataSetInvalid` if it cannot be read."""
    try:
        weights = read_keras(path) if path.suffix == ".h5" else read_npz(path)
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise DataSetInvalid(
            f"{path} cannot be read: {error}.", hint="Download it again.", path=str(path)
        ) from error
    return Vgg(weights).eval()


def read_npz(path: Path) -> Weights:
    """The arrays of an .npz file."""
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def read_keras(path: Path) -> Weights:
    """The arrays of Keras's official file, one group for each layer."""
    import h5py

    found: dict[str, NDArray[np.floating]] = {}
    with h5py.File(path, "r") as file:
        for name, _ in list_layers():
            for array in file[name].values():
                found[f"{name}.{'kernel' if array.ndim == 4 else 'bias'}"] = array[()]
    return found
