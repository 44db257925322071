"""Language models to start from: the weights and the tokenizer of a writer's bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from modelpad.bundle import Bundle
from modelpad.convert.graph import load_onnx
from modelpad.errors import BundleInvalid, UsageError
from modelpad.foreign_json import Json, integer_at, text_at
from modelpad.locations import StoreLocation
from modelpad.recipes.text.graph import restore
from modelpad.recipes.text.graph_builder import Floats, read_weights
from modelpad.recipes.text.network import ArchitectureName, LanguageModel, Shape
from modelpad.training.starting import find_start

ARCHITECTURES = ("mingru", "lstm")


@dataclass(frozen=True, slots=True)
class Pretrained:
    """A language model that was trained before; `tokenizer` is the content of its file.

    `data` and `licence` say what it was trained on.
    """

    name: str
    shape: Shape
    weights: Mapping[str, Floats]
    tokenizer: str
    data: str
    licence: str

    def build(self) -> LanguageModel:
        """The network with these weights."""
        net = LanguageModel(self.shape)
        net.load_state_dict(
            {name: torch.from_numpy(np.array(each)) for name, each in self.weights.items()}
        )
        return net


def load_pretrained(reference: str, store: StoreLocation | None) -> Pretrained:
    """The language model that `reference` names: a model, or the folder of a bundle or run.

    Raises:
        ModelNotFound: there is none.
        UsageError: it is another kind of model than `modelpad train writer` makes.
        BundleInvalid: its weights do not fit its shape.
    """
    found = find_start(reference, store)
    manifest = found.bundle.manifest
    sequence, facts = manifest.sequence, manifest.source
    if sequence is None or not sequence.generates or facts.get("arch") not in ARCHITECTURES:
        raise UsageError(
            f"--from {reference}: {found.name} is not a language model of the writer recipe.",
            hint="Train one with: modelpad train writer",
        )
    tokenizer = found.bundle.path(sequence.tokenizer).read_text("utf-8")
    try:
        shape = read_shape(facts)
        weights = read_graph(found.bundle, shape)
        pretrained = Pretrained(
            found.name,
            shape,
            weights,
            tokenizer,
            str(manifest.training.get("data", "")),
            manifest.licence,
        )
        pretrained.build()
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise BundleInvalid(
            f"The weights of {found.name} do not fit its shape: {error}.",
            hint="Train it again: modelpad train writer",
        ) from error
    return pretrained


def read_shape(facts: Mapping[str, Json]) -> Shape:
    """The shape that a manifest's facts describe."""
    name: ArchitectureName = "lstm" if text_at(facts, "arch") == "lstm" else "mingru"
    sizes = ("vocabulary", "embedding", "width", "blocks")
    return Shape(name, *(integer_at(facts, size) for size in sizes))


def read_graph(bundle: Bundle, shape: Shape) -> dict[str, Floats]:
    """The weights in a bundle's graph, by the network's names."""
    onnx = load_onnx()
    graph = onnx.load(bundle.path(bundle.graph)).graph
    constants = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    weights = read_weights(constants)
    names = LanguageModel(shape).state_dict()
    for number in range(shape.blocks if shape.arch == "lstm" else 0):
        prefix = f"encoder.layers.blocks.{number}."
        for key in ("weight_ih_l0", "weight_hh_l0"):
            weights[prefix + key] = restore(weights[prefix + key])
        both = np.split(weights.pop(f"{prefix}bias")[0], 2)
        for key, bias in zip(("bias_ih_l0", "bias_hh_l0"), both, strict=True):
            weights[prefix + key] = restore(bias)
    return {name: weights[name] for name in names}
