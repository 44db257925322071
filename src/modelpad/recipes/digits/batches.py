"""Batches of a split, shuffled and augmented by nothing but the seed, the epoch and the batch.

So an epoch that is trained again after a crash is the same epoch.
"""

from __future__ import annotations

from typing import Any

from modelpad.datasets import Split
from modelpad.recipes.digits.model import load_keras


def make_batches(
    split: Split,
    batch_size: int,
    *,
    seed: int,
    augmentation: str = "none",
    classes: int | None = None,
    first_epoch: int = 0,
) -> Any:
    """A Keras `PyDataset` of (images, labels): float32 (B, H, W[, C]) 0..255, and int64 (B,), or
    one-hot float32 (B, classes) when `classes` is given."""
    import torch

    keras = load_keras()
    images = torch.from_numpy(split.images)
    labels = torch.from_numpy(split.labels)
    if classes is not None:
        labels = torch.nn.functional.one_hot(labels, classes).float()

    class Batches(keras.utils.PyDataset):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.epoch = first_epoch
            self._shuffle()

        def __len__(self) -> int:
            return max(1, len(images) // batch_size)

        def __getitem__(self, index: int) -> tuple[Any, Any]:
            chosen = self.order[index * batch_size : (index + 1) * batch_size]
            random = torch.Generator().manual_seed(hash((seed, self.epoch, index)) & 0x7FFFFFFF)
            batch = images[chosen].float()
            return augment(batch, augmentation, random), labels[chosen]

        def on_epoch_end(self) -> None:
            self.epoch += 1
            self._shuffle()

        def _shuffle(self) -> None:
            random = torch.Generator().manual_seed(hash((seed, self.epoch)) & 0x7FFFFFFF)
            self.order = torch.randperm(len(images), generator=random)

    return Batches()


def augment(batch: Any, augmentation: str, random: Any) -> Any:
    """Distorts each image (B, H, W[, C]) a little; `none` returns the batch as it is.

    `affine-elastic` turns, scales, shears, shifts and bends (Simard et al., 2003); `shear-zoom`
    shears and zooms by up to 0.2.
    """
    import torch
    from torch.nn.functional import affine_grid, grid_sample, interpolate

    if augmentation == "none":
        return batch
    grey = batch.ndim == 3
    planes = batch[:, None] if grey else batch.permute(0, 3, 1, 2)
    count, height, width = len(planes), planes.shape[2], planes.shape[3]

    def spread(limit: float) -> Any:
        return torch.empty(count).uniform_(-limit, limit, generator=random)

    if augmentation == "shear-zoom":
        zero = torch.zeros(count)
        rows = [1 + spread(0.2), spread(0.2), zero, zero, 1 + spread(0.2), zero]
    else:
        angle, wide, high = spread(0.13), 1 + spread(0.09), 1 + spread(0.09)
        cosine, sine = angle.cos(), angle.sin()
        rows = [cosine * wide, spread(0.08) - sine * high, spread(0.075)]
        rows += [sine * wide, cosine * high, spread(0.075)]
    matrix = torch.stack(rows, dim=1).view(count, 2, 3)
    grid = affine_grid(matrix, list(planes.shape), align_corners=False)
    if augmentation == "affine-elastic":
        bends = torch.empty(count, 2, 6, 6).normal_(0, 0.018, generator=random)
        bends = interpolate(bends, size=(height, width), mode="bicubic", align_corners=True)
        grid = grid + bends.permute(0, 2, 3, 1)
    planes = grid_sample(planes, grid, align_corners=False)
    return planes[:, 0] if grey else planes.permute(0, 2, 3, 1)
