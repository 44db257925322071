"""A model with several signatures: all are served, and `signature_name` chooses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

pytest.importorskip("onnx")

from modelpad.api.saving import push_conversion
from modelpad.convert import ImportRequest, SourceModel, convert_model
from modelpad.convert.onnx import OnnxSource
from modelpad.store import LocalStore
from tests.convert.raw_graphs import F, graph, node


class Several(OnnxSource):
    """A source with two signatures, one of them by two names, as a SavedModel may have."""

    signature_name = "double"

    def other_signatures(self) -> Mapping[str, SourceModel]:
        model = graph(
            [node("Add", "rows one", "more")],
            [("rows", F, ["n", 2])],
            [("more", F, ["n", 2])],
            one=np.float32(1),
        )
        return {"increment": OnnxSource(model), "twice": self}


@pytest.fixture
def url(serve: Any, tmp_path: Path) -> str:
    nodes = [node("Mul", "x two", "y")]
    model = graph(nodes, [("x", F, ["n", 3])], [("y", F, ["n", 3])], two=np.float32(2))
    conversion = convert_model(Several(model), "pair", ImportRequest())
    assert [name for name in conversion.files if name.endswith(".onnx")] == [
        "model.onnx",
        "signatures/0.onnx",
    ]
    push_conversion(LocalStore(tmp_path / "store"), conversion)
    started = serve("pair", "--workers", "1", store=tmp_path / "store").url
    return f"{started}/v1/models/pair"


def test_each_signature_is_served(url: str) -> None:
    def ask(**body: Any) -> Any:
        return httpx.post(f"{url}:predict", json=body).json()

    assert ask(instances=[[1, 2, 3]]) == {"predictions": [[2, 4, 6]]}
    assert ask(signature_name="double", instances=[[1, 2, 3]]) == {"predictions": [[2, 4, 6]]}
    assert ask(signature_name="twice", instances=[[1, 2, 3]]) == {"predictions": [[2, 4, 6]]}
    assert ask(signature_name="increment", inputs={"rows": [[1, 2]]}) == {"outputs": [[2, 3]]}
    rows = [{"rows": [1, 2]}, {"rows": [3, 4]}]
    assert ask(signature_name="increment", instances=rows) == {"predictions": [[2, 3], [4, 5]]}
    wrong = httpx.post(f"{url}:predict", json={"signature_name": "serving", "instances": [[1]]})
    assert wrong.status_code == 400
    assert '"serving" not found in signature def' in wrong.json()["error"]
    assert "double, increment, twice" in wrong.json()["error"]


def test_metadata_has_all_signatures(url: str) -> None:
    told = httpx.get(f"{url}/metadata").json()["metadata"]["signature_def"]["signature_def"]
    assert [*told] == ["double", "increment", "twice"]
    assert [*told["increment"]["inputs"]] == ["rows"]
    assert [*told["double"]["outputs"]] == ["y"]
