"""Labelled items to evaluate versions with: a data set's test split, a CSV file, or corrections.

Items are the values of a request to the typed API, so that a version is evaluated as it is served.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from modelpad.errors import DataSetInvalid, DataSetNotFound, InvalidInput
from modelpad.feedback import HELD_OUT, FeedbackStore, restore_values
from modelpad.feedback.corrections import choose_part
from modelpad.feedback.items import CELL_KINDS, PICTURE_KINDS
from modelpad.fields import Field, Label, Signature
from modelpad.fields.csv_table import parse_row, split_rows

if TYPE_CHECKING:
    from modelpad.datasets import DataSet, Split

CORRECTIONS = "correction_accuracy"
Values = Mapping[str, object]
MAX_NAMED = 10  # classes, in an error


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Items and their true labels. `open_items` reads the values again, one at a time.

    `names` are the files of the items, () where they have none.
    """

    name: str
    truth: tuple[str, ...]
    open_items: Callable[[], Iterator[Values]]
    names: tuple[str, ...] = ()

    def name_item(self, index: int) -> str:
        """The file of an item, or its number, which counts from 1."""
        return self.names[index] if self.names else f"item {index + 1:,}"


@dataclass(frozen=True, slots=True)
class DataPlaces:
    """Where data sets are: folders of named ones, and the cache."""

    roots: tuple[Path, ...] = ()
    cache: Path | None = None


def open_data(given: str, signature: Signature, label: Label, places: DataPlaces) -> HeldOut:
    """The test split of a data set by name or path; of one without splits, all of it.

    For models of tables, a CSV file with the inputs' columns and the label's.

    Raises:
        DataSetNotFound, DataSetInvalid: there is none, or it does not fit the model.
    """
    held_out, _ = _open(given, signature, label, places)
    return held_out


def open_own_data(
    manifest_data: object,
    path: Path | None,
    signature: Signature,
    label: Label,
    places: DataPlaces,
) -> HeldOut:
    """The test split of the data set that a version was trained on.

    It is at `path` if that is known and there, else it has the name in the version's manifest.
    Raises `DataSetNotFound` if it cannot be found or has no test split: what a version was trained
    on says little about it.
    """
    hint = (
        "Name a data set that no version was trained on: --data DIR_OR_NAME. Or let the corrections"
        f' decide: --feedback DIR --if "{CORRECTIONS} >= production"'
    )
    given = str(path) if path is not None and path.exists() else manifest_data
    if not isinstance(given, str) or not given:
        raise DataSetNotFound("The bundle does not say what it was trained on.", hint=hint)
    try:
        held_out, has_test = _open(given, signature, label, places)
    except DataSetNotFound as error:
        raise DataSetNotFound(
            f"The version was trained on {given!r}, which is not on this machine.", hint=hint
        ) from error
    if not has_test:
        raise DataSetNotFound(
            f"The version was trained on {given!r}, which has no test split.", hint=hint
        )
    return held_out


def open_corrections(path: Path, model: str, fields: tuple[Field, ...]) -> HeldOut:
    """The half of a model's corrections that no version is trained on. Raises `StoreError`."""
    store = FeedbackStore(path)
    entries = [one for one in store.entries(model) if choose_part(one.id) == HELD_OUT]

    def read() -> Iterator[Values]:
        for entry in entries:
            yield restore_values(fields, store.find(entry.id)[1])

    return HeldOut("corrections", tuple(entry.label for entry in entries), read)


def _open(
    given: str, signature: Signature, label: Label, places: DataPlaces
) -> tuple[HeldOut, bool]:
    """The items, and whether they are a test split."""
    fields = signature.inputs
    if all(each.kind in (*CELL_KINDS, "text") for each in fields) and (
        len(fields) > 1 or fields[0].kind != "text"
    ):
        return open_table(Path(given), signature, label), False
    if len(fields) != 1 or fields[0].kind not in (*PICTURE_KINDS, "text"):
        raise DataSetInvalid(
            "There are no data sets for the inputs of this model.",
            hint="Evaluate it on corrections: --feedback DIR with correction_accuracy.",
        )
    from modelpad.datasets import LoadOptions, load_data

    options = LoadOptions(memory_bytes=0)  # files are sent as they are
    data = load_data(given, roots=places.roots, cache=places.cache, options=options)
    return choose_split(data, fields[0], label), data.test is not None


def choose_split(data: DataSet, field: Field, label: Label) -> HeldOut:
    """The test split, else all items. Raises `DataSetInvalid` unless field and label fit."""
    from modelpad.datasets import TextInput

    split = data.train if data.test is None else data.test
    if isinstance(split.kind, TextInput) != (field.kind == "text"):
        raise DataSetInvalid(
            f"{data.name} does not hold the inputs of this model.",
            hint=f"Its input is: {field.kind}.",
        )
    check_classes(data.name, set(data.classes), label)
    truth = tuple(data.classes[index] for index in split.labels.tolist())
    name = data.name if data.test is None else f"{data.name}, test split"
    return HeldOut(name, truth, lambda: list_values(split, field), tuple(split.names))


def check_classes(name: str, classes: set[str], label: Label) -> None:
    """Raises `DataSetInvalid` for classes that the model does not have."""
    unknown = sorted(classes - set(label.classes))
    if unknown:
        raise DataSetInvalid(
            f"{name} has classes that the model does not have: {', '.join(unknown[:MAX_NAMED])}.",
            hint=f"The model's classes are: {', '.join(label.classes[:MAX_NAMED])}.",
            classes=unknown,
        )


def list_values(split: Split, field: Field) -> Iterator[Values]:
    """The items of a split as a client would send them: files as they are, pixels as PNG.

    Drawings of exactly the model's size are prepared already, and sent as numbers.
    """
    from modelpad.datasets import ImageFiles, Texts
    from modelpad.fields import Image, Sketch

    inputs = split.inputs
    if isinstance(inputs, Texts):
        yield from ({field.name: text} for text in inputs.items)
    elif isinstance(inputs, ImageFiles):
        yield from ({field.name: path.read_bytes()} for path in inputs.files)
    else:
        is_prepared = isinstance(field, Sketch) and inputs.shape[1:] == (field.size, field.size)
        for pixels in inputs:
            if is_prepared:
                yield {field.name: pixels.tolist()}
            else:
                channels = pixels.shape[2] if pixels.ndim == 3 else 1
                item = pixels.reshape(*pixels.shape[:2], channels)
                yield {field.name: Image(height=None, width=None).encode_png(item)}


def open_table(path: Path, signature: Signature, label: Label) -> HeldOut:
    """The rows of a CSV file with a column for each input, and one of labels.

    That is the column of the label's name, or `label`. Raises `DataSetInvalid`, `DataSetNotFound`.
    """
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            rows = [parse_row(row) for row in split_rows(file)]
    except OSError as error:
        raise DataSetNotFound(
            f"{path} cannot be read: {error.strerror}.", hint="Give a CSV file: --data FILE.csv"
        ) from error
    except (InvalidInput, UnicodeDecodeError) as error:
        raise DataSetInvalid(f"{path} is not CSV in UTF-8: {error}") from error
    header = [name.strip() for name in rows[0]] if rows else []
    names = [each.name for each in signature.inputs]
    target = next((name for name in (label.name, "label") if name in header), None)
    missing = [name for name in names if name not in header]
    if target is None or missing or len(rows) < 2:
        wanted = ", ".join([*names, label.name])
        raise DataSetInvalid(
            f"{path} does not have the columns of the model, and rows below them.",
            hint=f"Its first row must name: {wanted}.",
        )
    if any(len(row) != len(header) for row in rows):
        raise DataSetInvalid(f"{path} has rows of different lengths.", hint="Quote its commas.")
    records = [dict(zip(header, row, strict=True)) for row in rows[1:]]
    check_classes(path.name, {record[target] for record in records}, label)
    truth = tuple(record[target] for record in records)
    return HeldOut(
        path.name, truth, lambda: ({name: one[name] for name in names} for one in records)
    )
