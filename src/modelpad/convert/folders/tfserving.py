"""TensorFlow Serving's base path, `BASE/VERSION/saved_model.pb`, and its `models.config`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from modelpad.convert.folders.found import FolderModel, LeftOut
from modelpad.convert.folders.listing import check_inside, list_folder, read_text, version_number
from modelpad.convert.folders.names import stem_of, valid_name
from modelpad.convert.folders.pbtxt import (
    Message,
    message_at,
    messages_at,
    parse_pbtxt,
    text_at,
)
from modelpad.convert.folders.triton import apply_policy
from modelpad.errors import ConversionFailed, ModelpadError

GRAPH = "saved_model.pb"
CONFIG = "models.config"


def is_base_path(folder: Path) -> bool:
    """Whether a folder has numbered SavedModels in it."""
    return bool(list_versions(folder))


def list_versions(folder: Path) -> dict[int, Path]:
    """The SavedModels in numbered folders, by number."""
    return {
        number: entry
        for entry in list_folder(folder)
        if (number := version_number(entry)) is not None and (entry / GRAPH).is_file()
    }


def read_base_path(
    folder: Path, root: Path, name: str = "", policy: Message | None = None
) -> list[FolderModel]:
    """The versions of one model, by default named after the folder.

    Raises:
        ConversionFailed: there are none.
        NotTrusted: one leads out of `root`.
    """
    versions = list_versions(folder)
    foreign = name or stem_of(folder.resolve())
    chosen = apply_policy(policy or {}, sorted(versions))
    if not chosen:
        raise ConversionFailed(
            f"{folder} has no version of {foreign!r}.",
            hint=f"Put SavedModels in numbered folders: {folder.name}/1/{GRAPH}",
        )
    return [
        FolderModel(foreign, valid_name(foreign), number, check_inside(versions[number], root))
        for number in chosen
    ]


def read_models_config(root: Path) -> tuple[list[FolderModel], list[LeftOut]]:
    """The models that `models.config` lists. Base paths outside `root` are looked for inside it.

    Raises `ConversionFailed` if it is invalid.
    """
    try:
        config = parse_pbtxt(read_text(root / CONFIG, root))
    except ValueError as error:
        raise ConversionFailed(
            f"{CONFIG} is invalid: {error}.", hint="TensorFlow Serving cannot read it either."
        ) from error
    models: list[FolderModel] = []
    left_out = []
    for each in messages_at(message_at(config, "model_config_list"), "config"):
        name = text_at(each, "name")
        try:
            folder = find_base_path(text_at(each, "base_path"), root)
            policy = message_at(each, "model_version_policy")
            models += read_base_path(folder, root, name, policy)
        except ModelpadError as error:
            left_out.append(LeftOut(name, error))
    return models, left_out


def find_base_path(given: str, root: Path) -> Path:
    """The folder of a base path, which was often written for a container: `/models/NAME`.

    Raises `ConversionFailed` if it is not in `root`.
    """
    parts = [part for part in PurePosixPath(given).parts if part not in ("/", ".")]
    for path in _suffixes(parts, root):
        if path.is_dir():
            return check_inside(path, root)
    raise ConversionFailed(
        f"The base path {given!r} is not in {root}.", hint=f"Give one relative to {CONFIG}."
    )


def _suffixes(parts: Sequence[str], root: Path) -> list[Path]:
    """The longest path first; never one that leads up."""
    if ".." in parts:
        return []
    return [root.joinpath(*parts[start:]) for start in range(min(len(parts), 32))]
