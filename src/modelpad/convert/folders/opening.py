"""Opens a model of a folder, and gives it the names and axes that the folder's files declare."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from modelpad.convert.detect import open_source
from modelpad.convert.folders.found import Contract, FolderModel
from modelpad.convert.source import ImportRequest, SourceModel, TensorSpec
from modelpad.errors import ConversionFailed
from modelpad.fields.arrays import Arrays
from modelpad.foreign_json import Json

if TYPE_CHECKING:
    from onnx import ModelProto


def open_model(model: FolderModel, request: ImportRequest) -> SourceModel:
    """Opens a model with its framework's converter. `request` is that of `build_request`.

    Raises as `open_source`, and `ConversionFailed` if it does not fit its configuration.
    """
    source = open_source(model.path, request)
    contract = model.contract
    if contract == Contract():
        return source
    check_contract(source, model)
    return ConfiguredSource(source, contract)


def build_request(model: FolderModel, request: ImportRequest, folder: Path) -> ImportRequest:
    """The user's request, completed with what the model's folder says.

    `folder` receives files with class names; it must exist until the model is converted.
    """
    outputs = request.outputs
    if not outputs and model.labels:
        outputs = tuple(write_labels(model.labels, folder))
    return replace(
        request,
        inputs=request.inputs or model.inputs,
        outputs=outputs,
        weights=request.weights or model.weights,
    )


def write_labels(labels: Mapping[str, Sequence[str]], folder: Path) -> list[str]:
    """Writes class names to files; returns texts of `--output` that refer to them."""
    texts = []
    for number, (name, names) in enumerate(labels.items()):
        path = folder / f"labels-{number}.txt"
        path.write_text("\n".join(names), "utf-8")
        is_plain = not set(name) & set("=:,[]")
        texts.append(f"{name}=labels:@{path}" if is_plain else f"labels:@{path}")
    return texts


def describe_settings(model: FolderModel) -> str:
    """What the folder says about a model, as a text that differs whenever that differs."""
    settings = [model.inputs, {name: list(each) for name, each in model.labels.items()}]
    return json.dumps([*settings, asdict(model.contract)], sort_keys=True)


def check_contract(source: SourceModel, model: FolderModel) -> None:
    """Raises `ConversionFailed` if a model has other tensors than its configuration says."""
    contract = model.contract
    for side, names, specs in (
        ("input", contract.inputs, source.inputs),
        ("output", contract.outputs, source.outputs),
    ):
        if names and len(names) != len(specs):
            raise ConversionFailed(
                f"The configuration of {model.foreign_name!r} has {len(names)} {side}s, but the"
                f" model has {len(specs)}.",
                hint=f"List every {side} in the model's order.",
            )
    for size, spec in zip(contract.sizes, source.outputs, strict=False):
        own = 1
        for each in spec.item_shape:
            own *= each or 0
        if size is not None and own and size != own:
            raise ConversionFailed(
                f"The configuration of {model.foreign_name!r} says that {contract.outputs[0]} has"
                f" {size} values; the model gives {own}.",
                hint=f"Set dims to [ {own} ]; clients must expect that many.",
            )


class ConfiguredSource:
    """A source model whose tensors have the names and axes of a `Contract`."""

    def __init__(self, source: SourceModel, contract: Contract) -> None:
        """The contract has as many names as the source has tensors, or none."""
        self._source = source
        self._own_inputs = [spec.name for spec in source.inputs]
        self._own_outputs = [spec.name for spec in source.outputs]
        self.inputs = _configure(source.inputs, contract.inputs, contract)
        self.outputs = _configure(source.outputs, contract.outputs, contract)
        if len(self.inputs) == 1:
            self.inputs = (_name_columns(self.inputs[0], contract.columns),)

    @property
    def framework(self) -> str:
        """The framework's name."""
        return self._source.framework

    @property
    def facts(self) -> Mapping[str, Json]:
        """Versions, kind and size of the model."""
        return self._source.facts

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, if the model contains them."""
        return self._source.classes

    def run(self, batch: Arrays) -> Arrays:
        """The model's outputs, by the configured names."""
        own = zip(self._own_inputs, self.inputs, strict=True)
        results = self._source.run({name: batch[spec.name] for name, spec in own})
        pairs = zip(self._own_outputs, self.outputs, strict=True)
        return {spec.name: results[name] for name, spec in pairs}

    def hard_samples(self) -> Sequence[Arrays]:
        """The source's hard samples, by the configured names."""
        names = {name: spec.name for name, spec in zip(self._own_inputs, self.inputs, strict=True)}
        return [
            {names[name]: value for name, value in sample.items()}
            for sample in self._source.hard_samples()
        ]

    def export(self) -> ModelProto:
        """The graph, with the configured names."""
        model = self._source.export()
        from modelpad.convert.graph import rename_io

        return rename_io(model, self.inputs, self.outputs)

    def files(self) -> Mapping[str, bytes | Path]:
        """The framework's own files."""
        return self._source.files()


def _configure(
    specs: Sequence[TensorSpec], names: Sequence[str], contract: Contract
) -> tuple[TensorSpec, ...]:
    renamed = [
        spec.renamed(name)
        for spec, name in zip(specs, names or [s.name for s in specs], strict=True)
    ]
    if not contract.unbatched:
        return tuple(renamed)
    return tuple(replace(spec, batch_axis=None) for spec in renamed)


def _name_columns(spec: TensorSpec, columns: tuple[str, ...]) -> TensorSpec:
    """A table with the columns of a signature, unless the model has names of its own."""
    sides = spec.item_shape
    fits = len(sides) == 1 and sides[0] == len(columns)
    return replace(spec, columns=columns) if fits and columns and not spec.columns else spec
