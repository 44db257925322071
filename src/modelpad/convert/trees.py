"""Writes tree ensembles as ONNX graphs whose predictions are the framework's own.

ONNX Runtime's trees compare in the features' precision but add leaves in single precision. So a
graph's trees only answer the number of the leaf that a row reaches, and the leaves' values are
looked up and added in double precision. That also holds for leaves with several values, and for
leaves with linear models.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from modelpad.convert.graph import load_onnx
from modelpad.convert.source import TensorSpec
from modelpad.convert.tree_ensembles import (
    Ensemble,
    Integers,
    Numbers,
    Terms,
    Tree,
    region_tree,
)

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET, TREE_OPSET, IR_VERSION = 17, 3, 8

AnyNumbers = TypeVar("AnyNumbers", Integers, Numbers)


class GraphWriter:
    """Collects nodes and constants of a graph; values are referred to by their names."""

    def __init__(self) -> None:
        """Raises `MissingExtra` if onnx is not installed."""
        self.onnx = load_onnx()
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def add(self, op: str, *inputs: str, domain: str = "", **attributes: object) -> str:
        """Adds a node and returns the name of its output."""
        name = f"{op}_{len(self._nodes)}"
        made = self.onnx.helper.make_node(
            op, inputs, [name], name=name, domain=domain, **attributes
        )
        self._nodes.append(made)
        return name

    def constant(self, value: npt.ArrayLike, dtype: str = "float64") -> str:
        """Adds an array."""
        name = f"constant_{len(self._constants)}"
        array = np.asarray(value, dtype)
        self._constants.append(self.onnx.numpy_helper.from_array(array, name))
        return name

    def cast(self, value: str, dtype: str) -> str:
        """Converts to NumPy's `dtype`."""
        return self.add("Cast", value, to=self._type(dtype))

    def finish(
        self, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], values: Sequence[str]
    ) -> ModelProto:
        """The graph, whose outputs are `values`."""
        helper = self.onnx.helper
        for spec, value in zip(outputs, values, strict=True):
            self._nodes.append(helper.make_node("Identity", [value], [spec.name]))
        ends = [
            [
                helper.make_tensor_value_info(
                    spec.name,
                    self._type(spec.dtype),
                    ["batch" if side is None else side for side in spec.shape],
                )
                for spec in specs
            ]
            for specs in (inputs, outputs)
        ]
        graph = helper.make_graph(self._nodes, "trees", *ends, self._constants)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", TREE_OPSET)]
        model: ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
        return model

    def _type(self, dtype: str) -> int:
        code: int = self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return code


def add_ensemble(graph: GraphWriter, ensemble: Ensemble, rows: str) -> str:
    """Adds the ensemble's result for `rows`, (batch, outputs) in double precision."""
    total = _add_sum(graph, ensemble, rows) if ensemble.trees else _add_zeros(graph, ensemble, rows)
    if ensemble.factor != 1:
        total = graph.add("Mul", total, graph.constant(ensemble.factor))
    return graph.add("Add", total, graph.constant(np.atleast_1d(ensemble.offset)))


def add_linear(graph: GraphWriter, rows: str, weights: Numbers, offset: Numbers) -> str:
    """Adds a linear model with `weights` (features, outputs), to which NaN counts as 0."""
    wide = graph.cast(rows, "float64")
    known = graph.add("Where", graph.add("IsNaN", wide), graph.constant(0.0), wide)
    product = graph.add("MatMul", known, graph.constant(weights))
    return graph.add("Add", product, graph.constant(offset))


def _add_sum(graph: GraphWriter, ensemble: Ensemble, rows: str) -> str:
    """The sums of the leaves that each row reaches."""
    trees, wide = ensemble.trees, rows
    if ensemble.regions:
        derived = [region_tree(region) for region in ensemble.regions]
        inside = _add_trees(graph, ensemble, rows, derived, [tree.leaves[:, 0] for tree in derived])
        wide = graph.add("Concat", rows, graph.cast(inside, ensemble.dtype), axis=1)
    sizes = [len(tree.leaves) for tree in trees]
    numbers = _add_trees(
        graph, ensemble, wide, trees, [np.arange(size, dtype=np.float64) for size in sizes]
    )
    starts = graph.constant(np.cumsum([0, *sizes[:-1]]), "int64")
    leaves = graph.add("Add", graph.cast(numbers, "int64"), starts)
    width = trees[0].leaves.shape[1]
    table = np.concatenate([tree.leaves for tree in trees])
    table = table if width > 1 else table[:, 0]
    values = graph.add("Gather", graph.constant(table), leaves)
    if ensemble.terms:
        values = _add_terms(graph, ensemble, ensemble.terms, rows, leaves, values)
    if width > 1 or ensemble.outputs == 1:
        axis = graph.constant([1], "int64")
        return graph.add("ReduceSum", values, axis, keepdims=int(width == 1))
    owner = np.zeros((len(trees), ensemble.outputs))
    owner[np.arange(len(trees)), [tree.output for tree in trees]] = 1
    return graph.add("MatMul", values, graph.constant(owner))


def _add_zeros(graph: GraphWriter, ensemble: Ensemble, rows: str) -> str:
    """The sums of no trees."""
    size = graph.add("Shape", rows, start=0, end=1)
    shape = graph.add("Concat", size, graph.constant([ensemble.outputs], "int64"), axis=0)
    return graph.add("Expand", graph.constant(0.0), shape)


def _add_terms(
    graph: GraphWriter, ensemble: Ensemble, terms: Terms, rows: str, leaves: str, values: str
) -> str:
    """The leaves' linear models, or `values` where one of their features is missing."""
    count, width = len(ensemble.trees), terms.features.shape[1]
    last = graph.constant([-1], "int64")
    # Unused terms take their value from a column of zeros after the features.
    padded = graph.add("Pad", rows, graph.constant([0, 0, 0, 1], "int64"))
    used = np.where(terms.features < 0, ensemble.columns, terms.features)
    places = graph.add("Gather", graph.constant(used, "int64"), leaves)
    flat = graph.add("Reshape", places, graph.constant([0, count * width], "int64"))
    chosen = graph.add("GatherElements", padded, flat, axis=1)
    given = graph.add("Reshape", chosen, graph.constant([0, count, width], "int64"))
    weights = graph.add("Gather", graph.constant(terms.weights), leaves)
    products = graph.add("Mul", graph.cast(given, "float64"), weights)
    total = graph.add("ReduceSum", products, last, keepdims=0)
    line = graph.add("Add", graph.add("Gather", graph.constant(terms.constants), leaves), total)
    missing = graph.cast(graph.add("IsNaN", given), "float64")
    any_missing = graph.add("ReduceSum", missing, last, keepdims=0)
    is_missing = graph.add("Greater", any_missing, graph.constant(0.0))
    return graph.add("Where", is_missing, values, line)


def _add_trees(
    graph: GraphWriter,
    ensemble: Ensemble,
    rows: str,
    trees: Sequence[Tree],
    answers: Sequence[Numbers],
) -> str:
    """The answer of the leaf that each row reaches in each tree, (batch, trees) of float32."""
    mode = "BRANCH_LT" if ensemble.strict else "BRANCH_LEQ"
    numbers = {
        "nodes_values": _join([tree.thresholds for tree in trees], answers),
        "target_weights": np.concatenate(answers),
    }
    attributes: dict[str, object] = {
        name: values.tolist() for name, values in _number_nodes(trees, answers).items()
    }
    for name, values in numbers.items():
        typed = values.astype(ensemble.dtype)
        if ensemble.dtype == "float64":
            attributes[f"{name}_as_tensor"] = graph.onnx.numpy_helper.from_array(typed, name)
        else:
            attributes[name] = typed.tolist()
    modes: list[str] = []
    for tree, answer in zip(trees, answers, strict=True):
        modes += [mode] * len(tree.features) + ["LEAF"] * len(answer)
    return graph.add(
        "TreeEnsembleRegressor",
        rows,
        domain="ai.onnx.ml",
        n_targets=len(trees),
        nodes_modes=modes,
        **attributes,
    )


def _number_nodes(trees: Sequence[Tree], answers: Sequence[Numbers]) -> dict[str, Integers]:
    """The integer attributes of the trees, whose leaves are numbered after their nodes."""
    nodes = np.array([len(tree.features) for tree in trees])
    leaves = np.array([len(answer) for answer in answers])
    order = np.arange(len(trees))
    places = [np.arange(count) for count in nodes + leaves]
    missing = [tree.nan_below.astype(np.int64) for tree in trees]
    return {
        "nodes_treeids": np.repeat(order, nodes + leaves),
        "nodes_nodeids": np.concatenate(places),
        "nodes_featureids": _join([tree.features for tree in trees], answers),
        "nodes_truenodeids": _join([_follow(tree.below) for tree in trees], answers),
        "nodes_falsenodeids": _join([_follow(tree.above) for tree in trees], answers),
        "nodes_missing_value_tracks_true": _join(missing, answers),
        "target_treeids": np.repeat(order, leaves),
        "target_ids": np.repeat(order, leaves),
        "target_nodeids": np.concatenate(
            [place[count:] for place, count in zip(places, nodes, strict=True)]
        ),
    }


def _follow(links: Integers) -> Integers:
    """Links to leaves that are numbered after the nodes."""
    return np.where(links >= 0, links, len(links) + ~links)


def _join(arrays: Sequence[AnyNumbers], answers: Sequence[Numbers]) -> AnyNumbers:
    """The trees' arrays of nodes, each followed by zeros for the leaves."""
    parts = [np.pad(a, (0, len(b))) for a, b in zip(arrays, answers, strict=True)]
    return np.concatenate(parts)
