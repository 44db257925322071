"""Models to start from: the weights and the tokenizer of a language model or a classifier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from modelpad.bundle import Bundle
from modelpad.convert.graph import load_onnx
from modelpad.errors import BundleInvalid, UsageError
from modelpad.fields import Label
from modelpad.foreign_json import Json, integer_at, text_at
from modelpad.locations import StoreLocation
from modelpad.recipes.text.graph import restore
from modelpad.recipes.text.graph_builder import Floats, read_weights
from modelpad.recipes.text.network import ArchitectureName, Classifier, LanguageModel, Shape
from modelpad.training.starting import find_start

ARCHITECTURES = ("mingru", "lstm")


@dataclass(frozen=True, slots=True)
class Pretrained:
    """A model that was trained before; `tokenizer` is the content of its file.

    `data` and `licence` say what it was trained on; `classes` are those that a classifier tells
    apart, none for a language model.
    """

    name: str
    shape: Shape
    weights: Mapping[str, Floats]
    tokenizer: str
    data: str
    licence: str
    classes: tuple[str, ...] = ()

    def build(self) -> LanguageModel | Classifier:
        """The network with these weights."""
        net = make_network(self.shape, self.classes)
        net.load_state_dict(
            {name: torch.from_numpy(np.array(each)) for name, each in self.weights.items()}
        )
        return net


def load_pretrained(reference: str, store: StoreLocation | None) -> Pretrained:
    """What `reference` names: a model that these recipes made, or the folder of a bundle or run.

    Raises:
        ModelNotFound: there is none.
        UsageError: it is a model of neither the writer nor the reviews recipe.
        BundleInvalid: its weights do not fit its shape.
    """
    found = find_start(reference, store)
    manifest = found.bundle.manifest
    sequence, facts = manifest.sequence, manifest.source
    if sequence is None or facts.get("arch") not in ARCHITECTURES:
        raise UsageError(
            f"--from {reference}: {found.name} is not a model of the writer or reviews recipe.",
            hint="Train one with: modelpad train writer",
        )
    labels = [each for each in manifest.signature.outputs if isinstance(each, Label)]
    classes = labels[0].classes if labels else ()
    tokenizer = found.bundle.path(sequence.tokenizer).read_text("utf-8")
    try:
        shape = read_shape(facts)
        weights = read_graph(found.bundle, make_network(shape, classes))
        pretrained = Pretrained(
            found.name,
            shape,
            weights,
            tokenizer,
            str(manifest.training.get("data", "")),
            manifest.licence,
            classes,
        )
        pretrained.build()
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise BundleInvalid(
            f"The weights of {found.name} do not fit its shape: {error}.",
            hint="Train it again with modelpad train.",
        ) from error
    return pretrained


def read_shape(facts: Mapping[str, Json]) -> Shape:
    """The shape that a manifest's facts describe."""
    name: ArchitectureName = "lstm" if text_at(facts, "arch") == "lstm" else "mingru"
    sizes = ("vocabulary", "embedding", "width", "blocks")
    return Shape(name, *(integer_at(facts, size) for size in sizes))


def make_network(shape: Shape, classes: tuple[str, ...]) -> LanguageModel | Classifier:
    """A new classifier of these classes; a language model if there are none."""
    return Classifier(shape, len(classes)) if classes else LanguageModel(shape)


def read_graph(bundle: Bundle, net: LanguageModel | Classifier) -> dict[str, Floats]:
    """The weights in a bundle's graph, by the names that `net` has for them."""
    onnx = load_onnx()
    graph = onnx.load(bundle.path(bundle.graph)).graph
    constants = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    weights = read_weights(constants)
    shape = net.encoder.shape
    for number in range(shape.blocks if shape.arch == "lstm" else 0):
        prefix = f"encoder.layers.blocks.{number}."
        for key in ("weight_ih_l0", "weight_hh_l0"):
            weights[prefix + key] = restore(weights[prefix + key])
        both = np.split(weights.pop(f"{prefix}bias")[0], 2)
        for key, bias in zip(("bias_ih_l0", "bias_hh_l0"), both, strict=True):
            weights[prefix + key] = restore(bias)
    return {name: weights[name] for name in net.state_dict()}
