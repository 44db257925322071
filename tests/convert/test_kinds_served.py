"""Every kind of booster and of scikit-learn estimator, served by one server.

They are imported into a store, and asked for raw tensors over the Open Inference Protocol: as JSON
or binary in turn, and over gRPC. Numbers are compared with those of the framework.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tritonclient.http")
pytest.importorskip("tritonclient.grpc")
pytest.importorskip("sklearn")
pytest.importorskip("skl2onnx")
pytest.importorskip("pandas")
pytest.importorskip("xgboost")
pytest.importorskip("lightgbm")
pytest.importorskip("catboost")

import tritonclient.grpc as grpc_client
import tritonclient.http as http_client

from modelpad.api.saving import push_conversion
from modelpad.convert import ImportRequest, SourceModel, convert_model
from modelpad.convert.objects import open_object
from modelpad.convert.sklearn_samples import stack
from modelpad.errors import ParityFailed
from modelpad.store import LocalStore
from tests.convert import test_boosters, test_sklearn_families

pytestmark = [pytest.mark.slow, pytest.mark.long]

MAX_ROWS = 40
DATATYPES = {"string": "BYTES", "int64": "INT64", "float32": "FP32", "float64": "FP64"}
KINDS = [*test_boosters.ALL, *(("scikit-learn", kind) for kind in test_sklearn_families.KINDS)]
CONSTANT = "no split"  # predicts the same for everything, so that its import is refused


@dataclass(frozen=True)
class Served:
    """A model, its raw inputs, and its framework's own outputs for them."""

    name: str
    source: SourceModel
    batch: dict[str, Any]
    expected: dict[str, Any]


def name_model(framework: str, kind: str) -> str:
    return f"{framework}-{kind}".replace(" ", "-")


def build(framework: str, kind: str) -> Served:
    name = name_model(framework, kind)
    if framework == "scikit-learn":
        source = open_object(test_sklearn_families.KINDS[kind](), ImportRequest())
        batch = stack(source.hard_samples()[:MAX_ROWS])
        return Served(name, source, batch, dict(source.run(batch)))
    model, predict = test_boosters.FRAMEWORKS[framework][kind]()
    source = open_object(model, ImportRequest())
    rows = test_boosters.hard_rows(source)[-MAX_ROWS:]
    (output,) = source.outputs
    return Served(name, source, {"X": rows}, {output.name: np.asarray(predict(rows))})


@dataclass(frozen=True)
class Clients:
    """All models by framework and kind, clients of their server, and why any is not imported."""

    models: dict[tuple[str, str], Served]
    http: Any
    grpc: Any
    refused: dict[tuple[str, str], str]


@pytest.fixture(scope="module")
def clients(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    start_serving: Callable[..., Any],
) -> Iterator[Clients]:
    """One server with the kinds that are asked for in this run of pytest."""
    folder = tmp_path_factory.mktemp("store")
    asked = {
        (item.callspec.params["framework"], item.callspec.params["kind"])
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.path == request.path
    }
    refused = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        models = {key: build(*key) for key in KINDS if key in asked}
        for key, served in models.items():
            try:
                plain = ImportRequest(outputs=("tensor",) * len(served.source.outputs))
                conversion = convert_model(served.source, served.name, plain)
            except ParityFailed as error:
                refused[key] = error.message
            else:
                push_conversion(LocalStore(folder), conversion)
    limits = ("--memory-limit", "1000", "--max-batch-size", str(MAX_ROWS))
    with (
        start_serving(*limits, store=folder) as (server, address),
        http_client.InferenceServerClient(server.address) as over_http,
        grpc_client.InferenceServerClient(address) as over_grpc,
    ):
        yield Clients(models, over_http, over_grpc, refused)


def ask(module: Any, client: Any, served: Served, batch: dict[str, Any], binary: bool) -> Any:
    """All outputs for raw inputs, by name."""
    form = {"binary_data": binary} if module is http_client else {}
    inputs = []
    for spec in served.source.inputs:
        tensor = module.InferInput(spec.name, batch[spec.name].shape, DATATYPES[spec.dtype])
        inputs.append(tensor.set_data_from_numpy(batch[spec.name], **form))
    outputs = [module.InferRequestedOutput(each.name, **form) for each in served.source.outputs]
    answer = client.infer(served.name, inputs, outputs=outputs)
    return {spec.name: answer.as_numpy(spec.name) for spec in served.source.outputs}


def find_finite(batch: dict[str, Any]) -> Any:
    """The indices of rows without NaN and infinities, which JSON does not have."""
    numbers = [each for each in batch.values() if each.dtype.kind == "f"]
    rows = np.arange(len(next(iter(batch.values()))))
    for each in numbers:
        rows = rows[np.isfinite(each[rows]).reshape(len(rows), -1).all(axis=1)]
    return rows


def check(framework: str, found: dict[str, Any], expected: dict[str, Any]) -> None:
    exact: Any = {
        "xgboost": {"rtol": 1e-5, "atol": 2e-6},
        "scikit-learn": {"rtol": 2e-5, "atol": 2e-5},
    }.get(framework, {"rtol": 1e-9, "atol": 1e-12})
    assert set(found) == set(expected)
    for name, own in expected.items():
        assert found[name].shape == own.shape
        if own.dtype.kind in "OU":
            texts = [
                each.decode() if isinstance(each, bytes) else each for each in found[name].flat
            ]
            assert texts == own.reshape(-1).tolist()
        else:
            np.testing.assert_allclose(found[name], own, **exact)


@pytest.mark.parametrize(("framework", "kind"), KINDS)
def test_a_kind_is_served(clients: Clients, framework: str, kind: str) -> None:
    served = clients.models[framework, kind]
    if kind == CONSTANT:
        assert "predicts the same" in clients.refused[framework, kind]
        return
    assert (framework, kind) not in clients.refused
    check(framework, ask(grpc_client, clients.grpc, served, served.batch, True), served.expected)
    binary = KINDS.index((framework, kind)) % 2 == 0
    rows = slice(None) if binary else find_finite(served.batch)
    batch = {name: each[rows] for name, each in served.batch.items()}
    expected = {name: each[rows] for name, each in served.expected.items()}
    check(framework, ask(http_client, clients.http, served, batch, binary), expected)
