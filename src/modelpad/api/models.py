"""`modelpad.load`: a model that predicts in this process, without a server."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from modelpad.api.cards import read_card, write_card
from modelpad.engine import Session, SessionSettings, allotted_cpus, answer_batch, open_session
from modelpad.errors import ModelpadError
from modelpad.fields.field import default_of
from modelpad.locations import RemoteLocation, locate_cache, locate_store
from modelpad.prediction import Prediction, decode_output
from modelpad.python_values import InputKind, read_inputs, split_items
from modelpad.server.sources import ModelFinder

if TYPE_CHECKING:
    from modelpad.api.serving import Server
    from modelpad.engine.text import TextSession
    from modelpad.fields import Field
    from modelpad.foreign_json import Json
    from modelpad.store import ResolvedBundle

BATCH = 32


def load(
    model: str | os.PathLike[str],
    *,
    store: str | os.PathLike[str] | RemoteLocation | None = None,
    device: str = "cpu",
    threads: int | None = None,
) -> Model:
    """Loads a model to predict in this process.

        modelpad.load("digits")("seven.png").label

    `model` is what `modelpad predict` takes: `NAME`, `NAME@VERSION_OR_ALIAS`, a bundle's folder, or
    the file of a trained model, which is imported first. `store` is the folder or the URL of the
    model store; without it, the environment's. `device` is that of `modelpad serve --device`;
    `threads` is how many a prediction uses, by default one for each CPU.

    Raises:
        ModelNotFound, VersionNotFound: there is no such model; the hint suggests the nearest name.
        BundleInvalid: the bundle is damaged.
        ConversionFailed, ParityFailed, NotTrusted, MissingExtra: a file cannot be imported.
    """
    location = locate_store(store, os.environ)
    finder = ModelFinder(location, locate_cache(os.environ), _report)
    found = finder.find(os.fspath(model))
    settings = SessionSettings(threads=threads or allotted_cpus(), device=device)
    return Model(found, open_session(found.bundle, settings))


class Model:
    """A loaded model. Call it with an input; it is thread-safe, and a context manager."""

    def __init__(self, found: ResolvedBundle, session: Session | TextSession) -> None:
        self.name, self.version, self.bundle = found.name, found.version, found.bundle
        self._session = session
        self._inputs = {
            field.name: InputKind(field.kind, default_of(field) is not None)
            for field in session.signature.inputs
        }

    @property
    def folder(self) -> Path:
        """The bundle's folder."""
        return self.bundle.folder

    @property
    def inputs(self) -> tuple[Field, ...]:
        """The input fields, with their names, kinds and limits."""
        return tuple(self.bundle.manifest.signature.inputs)

    @property
    def outputs(self) -> tuple[Field, ...]:
        """The output fields."""
        return tuple(self.bundle.manifest.signature.outputs)

    @property
    def metrics(self) -> Mapping[str, float]:
        """What its test has measured, such as `test_accuracy`."""
        return self.bundle.manifest.metrics

    @property
    def card(self) -> Mapping[str, Json]:
        """The content of its card; empty if it has none."""
        return read_card(self.bundle)

    def __call__(self, value: object = None, /, **inputs: object) -> Prediction:
        """One prediction; the same as `predict`."""
        return self.predict(value, **inputs)

    def predict(self, value: object = None, /, **inputs: object) -> Prediction:
        """One prediction. `value` is the only input, or a dictionary; `inputs` are given by name.

        An image is a path, bytes, a Pillow image or a uint8 array. A tensor is an array or nested
        lists. Text is a string. A missing number is None or NaN. A row of a data frame names the
        inputs. Models that write also take `words`, `temperature` and `seed`.

        Raises:
            InvalidInput, TooLarge: the input is not valid.
            ModelFailed: the prediction failed.
        """
        values = self._read(value, inputs)
        if isinstance(self._session, Session):
            return self._wrap(self._session.answer_small(values))
        return self._wrap(self._session.answer(values))

    def predict_batch(self, values: Iterable[object]) -> list[Prediction]:
        """A prediction for each of `values`, in their order: in batches, which is faster.

        Each is what `predict` takes, a dictionary for several inputs. A data frame of pandas or
        Polars is a batch of its rows. `values` are consumed lazily.

        Raises as `predict`, for the first item that fails: the message has its number, and so have
        the details as `item`, counted from 0.
        """
        predictions: list[Prediction] = []
        items = iter(split_items(values))
        while batch := [*islice(items, BATCH)]:
            for result in self._answer(batch, len(predictions)):
                predictions.append(self._wrap(result))
        return predictions

    def serve(self, **options: Any) -> Server:
        """A server of this model; the options are those of `modelpad.serve`."""
        from modelpad.api.serving import serve

        return serve(self, **options)

    def close(self) -> None:
        """Unloads the model."""
        self._session.close()

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        fields = ", ".join(f"{field.name}: {field.kind}" for field in self.inputs)
        outputs = ", ".join(f"{field.name}: {field.kind}" for field in self.outputs)
        return f"<Model {self.name} version {self.version}: ({fields}) -> ({outputs})>"

    def _repr_html_(self) -> str:
        """What a notebook shows: the card."""
        return write_card(self.name, self.version, self.bundle)

    def _read(self, value: object, named: Mapping[str, object]) -> dict[str, object]:
        return read_inputs(self.name, self._inputs, value, named)

    def _answer(self, batch: list[object], start: int) -> Iterator[Mapping[str, object]]:
        """The outputs of each item. Raises the error of the first that fails, with its number."""
        values: list[dict[str, object]] = []
        for number, item in enumerate(batch):
            try:
                values.append(self._read(item, {}))
            except ModelpadError as error:
                raise _name_item(error, start + number) from error
        if isinstance(self._session, Session):
            results = answer_batch(self._session, values, self._session.typed.encode_small)
        else:
            results = [self._answer_text(self._session, each) for each in values]
        for number, result in enumerate(results):
            if isinstance(result, ModelpadError):
                raise _name_item(result, start + number)
            yield result

    def _answer_text(
        self, session: TextSession, values: Mapping[str, object]
    ) -> dict[str, object] | ModelpadError:
        try:
            return session.answer(values)
        except ModelpadError as error:
            return error

    def _wrap(self, outputs: Mapping[str, object]) -> Prediction:
        fields = {field.name: field for field in self.outputs}
        decoded = {
            name: decode_output(fields[name].kind, getattr(fields[name], "dtype", ""), value)
            for name, value in outputs.items()
        }
        return Prediction(self.name, self.version, decoded)


def _name_item(error: ModelpadError, number: int) -> ModelpadError:
    """The error with the item that it is about in its message."""
    error.message = f"Item {number}: {error.message}"
    error.args = (error.message,)
    error.details["item"] = number
    return error


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
