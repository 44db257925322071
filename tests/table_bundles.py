"""Models of tables, as graphs written by hand, for tests of CSV, the command line and the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from modelpad.bundle import Bundle, Manifest, Sample, write_bundle
from modelpad.fields import Choice, Field, Label, Number, Score, Signature, Tensor, Text

INCOME = Number("income (k)", "CHF", 0, 1000)
AGE = Number("age", "years", 18, 99, whole=True, nullable=True)
CITY = Choice("city", ("Bern", "Basel", "Zürich"))
GRADE = Choice("grade", (1, 2, 3), allow_other=True)
LOAN = Signature((INCOME, AGE, CITY), (Label("decision", ("reject", "accept")),))
PRICE = Signature((INCOME, GRADE), (Score("price"), Tensor("parts", "float64", (2,)), Text("note")))
ROWS = [(80.5, 30, "Bern"), (20, 45, "Zürich"), (64, None, "Basel")]


def write_tables(folder: Path) -> list[Path]:
    """`loan` accepts incomes above 50; `price` has several outputs."""
    from onnx import TensorProto, helper

    def node(kind: str, inputs: list[str], output: str, **attributes: Any) -> Any:
        return helper.make_node(kind, inputs, [output], **attributes)

    double, text, whole = TensorProto.DOUBLE, TensorProto.STRING, TensorProto.INT64
    loan = write_model(
        folder,
        "loan",
        LOAN,
        [
            constant("fifty", np.array(50.0)),
            constant("last", np.array([-1], np.int64)),
            node("Sub", ["income (k)", "fifty"], "over"),
            node("Neg", ["over"], "under"),
            node("Unsqueeze", ["over", "last"], "accept"),
            node("Unsqueeze", ["under", "last"], "reject"),
            node("Concat", ["reject", "accept"], "both", axis=-1),
            node("Softmax", ["both"], "decision", axis=-1),
        ],
        [("income (k)", double, []), ("age", double, []), ("city", text, [])],
        [("decision", double, [2])],
        [dict(zip(("income (k)", "age", "city"), row, strict=True)) for row in ROWS],
    )
    price = write_model(
        folder,
        "price",
        PRICE,
        [
            constant("note_text", np.array(['say "hi", please'], object)),
            constant("last", np.array([-1], np.int64)),
            node("Cast", ["grade"], "factor", to=double),
            node("Mul", ["income (k)", "factor"], "price"),
            node("Unsqueeze", ["income (k)", "last"], "first"),
            node("Unsqueeze", ["factor", "last"], "second"),
            node("Concat", ["first", "second"], "parts", axis=-1),
            node("Shape", ["grade"], "count"),
            node("Expand", ["note_text", "count"], "note"),
        ],
        [("income (k)", double, []), ("grade", whole, [])],
        [("price", double, []), ("parts", double, [2]), ("note", text, [])],
        [{"income (k)": 10, "grade": 2}],
    )
    return [loan.folder, price.folder]


def constant(name: str, value: np.ndarray[Any, Any]) -> Any:
    from onnx import helper, numpy_helper

    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value, name))


def write_model(
    folder: Path,
    name: str,
    signature: Signature,
    nodes: list[Any],
    inputs: list[Any],
    outputs: list[Any],
    rows: list[dict[str, Any]],
) -> Bundle:
    from onnx import helper

    def describe(values: list[Any]) -> list[Any]:
        return [helper.make_tensor_value_info(n, kind, ["batch", *s]) for n, kind, s in values]

    graph = helper.make_graph(nodes, name, describe(inputs), describe(outputs))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    samples = tuple(Sample({key: {"value": each} for key, each in row.items()}) for row in rows)
    manifest = Manifest(
        name, "tabular", signature, title=f"The {name} model", summary="A table.", samples=samples
    )
    return write_bundle(folder / name, manifest, {"model.onnx": model.SerializeToString()})


def field_names(fields: tuple[Field, ...]) -> list[str]:
    return [field.name for field in fields]
