"""What a search for models finds: each model's name, version, place and tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from modelpad.errors import ModelpadError


@dataclass(frozen=True, slots=True)
class Contract:
    """What a configuration says about a model's tensors.

    `inputs` and `outputs` are names in the model's order, for formats that have none of their own.
    With `unbatched`, no axis counts items. `columns` name the features of a table's last axis.
    `sizes` are the expected elements of one item of each output, None if unknown.
    """

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    unbatched: bool = False
    columns: tuple[str, ...] = ()
    sizes: tuple[int | None, ...] = ()


@dataclass(frozen=True, slots=True)
class FolderModel:
    """One version of a model: the file or folder at `path`, which `open_source` opens.

    `foreign_name` is the name in its folder, `name` the valid one that it is served under. `inputs`
    are texts of `--input`, for formats that do not declare any. `labels` are class names by output.
    """

    foreign_name: str
    name: str
    version: int
    path: Path
    weights: Path | None = None
    inputs: tuple[str, ...] = ()
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    contract: Contract = Contract()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A part of a folder that cannot be served, and why."""

    name: str
    reason: ModelpadError


@dataclass(frozen=True, slots=True)
class Found:
    """The models in a folder, by name and version, and what was left out."""

    models: tuple[FolderModel, ...]
    left_out: tuple[LeftOut, ...] = ()
