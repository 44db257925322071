"""The native backend, from the file to a prediction: a model runs in its own framework."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import modelpad
from modelpad.bundle import Bundle, NativeModel, open_bundle, write_bundle
from modelpad.engine import MemoryBudget, Session, native
from modelpad.errors import BundleInvalid, UsageError
from tests.warm_python import WarmPython

pytest.importorskip("psutil")
pytest.importorskip("skops")

import psutil
from sklearn.datasets import load_iris
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import LabelSpreading

IRIS = load_iris()
ROWS = IRIS.data[::11].astype(np.float32)
TEXTS = ["a good film", "a bad film", "très bien", "bad, bad", "a great thing", "awful", ""]


@dataclass(frozen=True)
class Case:
    """A model's file, raw inputs for it, and its framework's own outputs for them."""

    name: str
    framework: str
    path: Path
    inputs: Any
    outputs: Any


def make_xgboost(folder: Path) -> Case:
    xgboost = pytest.importorskip("xgboost")

    data = xgboost.DMatrix(IRIS.data, IRIS.target)
    parameters = {"objective": "multi:softprob", "num_class": 3}
    booster = xgboost.train(parameters, data, 8)
    booster.save_model(folder / "trees.json")
    outputs = booster.predict(xgboost.DMatrix(ROWS))
    return Case("trees", "xgboost", folder / "trees.json", ROWS, outputs)


def make_lightgbm(folder: Path) -> Case:
    lightgbm = pytest.importorskip("lightgbm")

    parameters = {"objective": "multiclass", "num_class": 3, "linear_tree": True, "verbose": -1}
    data = lightgbm.Dataset(IRIS.data, IRIS.target, params=parameters)
    booster = lightgbm.train(parameters, data, 8)
    booster.save_model(folder / "leaves.txt")
    outputs = np.asarray(booster.predict(ROWS)).astype(np.float32)
    return Case("leaves", "lightgbm", folder / "leaves.txt", ROWS, outputs)


def make_sklearn(folder: Path) -> Case:
    import skops.io

    model = make_pipeline(StandardScaler(), LabelSpreading())
    model.fit(IRIS.data, IRIS.target_names[IRIS.target])
    skops.io.dump(model, folder / "spread.skops")
    outputs = model.predict_proba(ROWS).astype(np.float32)
    return Case("spread", "scikit-learn", folder / "spread.skops", ROWS, outputs)


def make_text(folder: Path) -> Case:
    import skops.io

    model = make_pipeline(HashingVectorizer(n_features=32), LogisticRegression())
    model.fit(TEXTS[:6], ["pos", "neg"] * 3)
    skops.io.dump(model, folder / "words.skops")
    outputs = model.predict_proba(TEXTS).astype(np.float32)
    inputs = np.array(TEXTS, object)[:, None]
    return Case("words", "scikit-learn", folder / "words.skops", inputs, outputs)


def make_keras(folder: Path) -> Case:
    keras = pytest.importorskip("keras")

    keras.utils.set_random_seed(1)
    layers = [keras.Input((4,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(2)]
    model = keras.Sequential(layers)
    model.save(folder / "net.keras")
    return Case("net", "keras", folder / "net.keras", ROWS, model.predict(ROWS, verbose=0))


def make_pt2(folder: Path) -> Case:
    torch = pytest.importorskip("torch")

    torch.manual_seed(1)
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2)).eval()
    shapes = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(net, (torch.rand(2, 4),), dynamic_shapes=shapes)
    torch.export.save(program, folder / "program.pt2")
    with torch.no_grad():
        outputs = net(torch.from_numpy(ROWS)).numpy()
    return Case("program", "pytorch", folder / "program.pt2", ROWS, outputs)


def make_catboost(folder: Path) -> Case:
    catboost = pytest.importorskip("catboost")
    options = {"iterations": 8, "verbose": False, "allow_writing_files": False}
    model = catboost.CatBoostClassifier(**options).fit(IRIS.data, IRIS.target)
    model.save_model(str(folder / "cats.cbm"))
    outputs = model.predict_proba(ROWS)
    return Case("cats", "catboost", folder / "cats.cbm", ROWS, outputs)


MAKERS: dict[str, Callable[[Path], Case]] = {
    "catboost": make_catboost,
    "keras": make_keras,
    "lightgbm": make_lightgbm,
    "pt2": make_pt2,
    "scikit-learn": make_sklearn,
    "text": make_text,
    "xgboost": make_xgboost,
}


def import_case(
    warm: WarmPython, case: Case, store: Path, *arguments: str
) -> subprocess.CompletedProcess[str]:
    samples = case.path.with_suffix(".samples.csv")
    if case.inputs.dtype == object:
        samples = samples.with_suffix(".txt")
        samples.write_text("\n".join(text for text in TEXTS if text) + "\n", encoding="utf-8")
    else:
        np.savetxt(samples, case.inputs, delimiter=",", fmt="%.9g")
    command = ["import", str(case.path), "--name", case.name, "--samples", str(samples)]
    return warm.run(
        [*command, "--store", str(store), *arguments], cwd=case.path.parent, env=os.environ
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def import_native(
    store: Path, tmp_path_factory: pytest.TempPathFactory, warm_python: WarmPython
) -> Callable[[str], Case]:
    """Imports a model natively, once."""
    made: dict[str, Case] = {}

    def get(kind: str) -> Case:
        if kind not in made:
            case = MAKERS[kind](tmp_path_factory.mktemp("files"))
            done = import_case(warm_python, case, store, "--backend", "native", "--json")
            assert done.returncode == 0, done.stderr
            facts = json.loads(done.stdout)
            assert facts["parity"]["relative_difference"] <= 1e-5
            made[kind] = case
        return made[kind]

    return get


@pytest.fixture
def trees(import_native: Callable[[str], Case], store: Path) -> Bundle:
    return open_bundle(store / import_native("xgboost").name / "1")


def children(pid: int) -> list[Any]:
    """The processes that run models for a server."""
    found = psutil.Process(pid).children(recursive=True)
    return [each for each in found if "modelpad.convert.native_worker" in each.cmdline()]


def is_gone(process: Any) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    return True


LONG = (pytest.mark.slow, pytest.mark.long)


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=() if kind == "scikit-learn" else LONG) for kind in sorted(MAKERS)],
)
def test_a_served_model_predicts_as_its_framework(
    kind: str, import_native: Callable[[str], Case], store: Path, start_serving: Any
) -> None:
    case = import_native(kind)
    with start_serving(case.name, store=store) as (server, grpc_address):
        described = httpx.get(f"{server.url}/v2/models/{case.name}").json()
        assert described["platform"] == "modelpad_native"
        wide = [each for each in described["outputs"] if len(each["shape"]) == 2]
        check_open_inference(case, server.url, described["inputs"][0], wide[-1]["name"])
        if len(described["outputs"]) == 1:
            check_tensorflow_serving(case, server.url)
        check_grpc(case, grpc_address, wide[-1]["name"])
        (shown,) = httpx.get(f"{server.url}/models").json()["models"]
        assert (shown["backend"], shown["runs_in"].partition(",")[0]) == ("native", case.framework)
        config = httpx.get(f"{server.url}/v2/models/{case.name}/config").json()
        assert (config["platform"], config["backend"]) == ("modelpad_native", case.framework)
        processes = children(server.process.pid)
        assert len(processes) == 1
    assert all(is_gone(each) for each in processes)


def check_open_inference(case: Case, url: str, declared: Any, wanted: str) -> None:
    shape = list(case.inputs.shape)[: len(declared["shape"])]
    given = declared | {"shape": shape, "data": case.inputs.reshape(-1).tolist()}
    body = {"inputs": [given], "outputs": [{"name": wanted}]}
    response = httpx.post(f"{url}/v2/models/{case.name}/infer", json=body, timeout=30)
    assert response.status_code == 200, response.text
    (output,) = response.json()["outputs"]
    assert_same(case, np.array(output["data"]).reshape(output["shape"]))


def check_tensorflow_serving(case: Case, url: str) -> None:
    body = {"instances": case.inputs.tolist()}
    response = httpx.post(f"{url}/v1/models/{case.name}:predict", json=body, timeout=30)
    assert response.status_code == 200, response.text
    assert_same(case, np.array(response.json()["predictions"]))


def check_grpc(case: Case, address: str, wanted: str) -> None:
    triton = pytest.importorskip("tritonclient.grpc")
    with triton.InferenceServerClient(address) as client:
        described = client.get_model_metadata(case.name)
        assert described.platform == "modelpad_native"
        declared = described.inputs[0]
        inputs = case.inputs.reshape(case.inputs.shape[: len(declared.shape)])
        if declared.datatype == "FP64":
            inputs = inputs.astype(np.float64)
        given = triton.InferInput(declared.name, inputs.shape, declared.datatype)
        given.set_data_from_numpy(inputs)
        result = client.infer(case.name, [given], outputs=[triton.InferRequestedOutput(wanted)])
        assert_same(case, result.as_numpy(wanted))


def assert_same(case: Case, got: Any) -> None:
    """Equal to the last bit of float32, but for a neural network's order of additions."""
    got, expected = np.asarray(got).astype(np.float32), case.outputs.astype(np.float32)
    if case.framework in ("keras", "pytorch"):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    else:
        np.testing.assert_array_equal(got, expected)


def test_a_killed_process_is_replaced_under_load(
    import_native: Callable[[str], Case], store: Path, serve: Any
) -> None:
    case = import_native("xgboost")
    server = serve(case.name, store=store)
    url = f"{server.url}/v1/models/{case.name}:predict"
    body = {"instances": case.inputs.tolist()}
    statuses: list[int] = []
    stop = threading.Event()

    def ask() -> None:
        with httpx.Client(timeout=60) as client:
            while not stop.is_set():
                statuses.append(client.post(url, json=body).status_code)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for each in threads:
        each.start()
    (process,) = children(server.process.pid)
    process.send_signal(signal.SIGKILL)
    after = httpx.post(url, json=body, timeout=60)
    if after.status_code == 500:  # it was in the batch that was running
        after = httpx.post(url, json=body, timeout=60)
    stop.set()
    for each in threads:
        each.join()
    assert after.status_code == 200, after.text
    assert_same(case, np.array(after.json()["predictions"]))
    assert set(statuses) <= {200, 500}
    assert statuses[-4:] == [200] * 4
    assert children(server.process.pid) != [process]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_server_that_is_killed_leaves_no_process(
    workers: str, import_native: Callable[[str], Case], store: Path, wait_for: Any
) -> None:
    from tests.conftest import start_server

    case = import_native("xgboost")
    server = start_server(case.name, "--workers", workers, store=store)
    processes: list[Any] = []

    def all_started() -> bool:
        processes[:] = children(server.process.pid)
        return len(processes) == int(workers)

    wait_for(all_started)
    server.process.kill()
    server.process.wait()
    wait_for(lambda: all(is_gone(each) for each in processes))


def test_a_server_without_the_framework_says_so(
    import_native: Callable[[str], Case], store: Path, tmp_path: Path
) -> None:
    case = import_native("xgboost")
    (tmp_path / "xgboost.py").write_text("raise ImportError('No module named xgboost')\n")
    paths = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-m", "modelpad", "serve", case.name, "--store", str(store), "--port=0"],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"PYTHONPATH": paths},
    )
    assert done.returncode == 1
    assert "xgboost is not installed." in done.stderr
    assert "[xgboost]" in done.stderr


def test_a_failed_conversion_offers_the_native_backend(
    tmp_path: Path, warm_python: WarmPython
) -> None:
    done = import_case(warm_python, make_sklearn(tmp_path), tmp_path / "store")
    assert done.returncode == 1
    assert "Or keep it in scikit-learn itself: --backend native" in done.stderr


def test_the_commands_say_how_a_model_runs(
    import_native: Callable[[str], Case], store: Path, tmp_path: Path
) -> None:
    case = import_native("xgboost")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "modelpad", *arguments, "--store", str(store)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    (line,) = (each for each in run("models").stdout.splitlines() if each.startswith("trees"))
    assert line.split()[-1] == "xgboost"
    assert "runs in  xgboost, in its own process" in run("models", "show", case.name).stdout
    assert "All files are intact." in run("models", "verify").stdout
    assert f"{case.name} version 1 runs in xgboost" in run("doctor").stdout
    exported = run("export", case.name, "--to", "onnx", str(tmp_path / "out"))
    assert exported.returncode == 1
    assert "runs in xgboost itself and has no ONNX graph" in exported.stderr
    predicted = run("predict", case.name, "[5.1, 3.5, 1.4, 0.2]", "--json")
    assert predicted.returncode == 0, predicted.stderr


def test_save_keeps_a_model_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    start = native.Worker

    def count(*given: Any) -> Any:
        started.append(start(*given))
        return started[-1]

    monkeypatch.setattr(native, "Worker", count)
    model = make_pipeline(StandardScaler(), LabelSpreading()).fit(IRIS.data, IRIS.target)
    entry = modelpad.save(model, "spread", samples=ROWS, backend="native", store=tmp_path)
    bundle = open_bundle(entry.folder)
    assert bundle.manifest.native == NativeModel("scikit-learn", "skops", "native/model.skops")
    assert bundle.manifest.parity is not None
    assert bundle.manifest.parity["backend"] == "native"
    assert bundle.manifest.parity["largest_difference"] == 0
    assert len(started) == 1, "one process checks the raw and the typed side"
    assert [*bundle.manifest.files] == ["native/model.skops"]
    assert bundle.graph_bytes == bundle.path("native/model.skops").stat().st_size


def test_save_refuses_what_does_not_apply(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    example = torch.rand(2, 4)
    with pytest.raises(UsageError, match="cannot keep this pytorch model"):
        modelpad.save(
            torch.nn.Linear(4, 2), "net", example=example, backend="native", store=tmp_path
        )
    model = make_pipeline(StandardScaler(), LabelSpreading()).fit(IRIS.data, IRIS.target)
    with pytest.raises(UsageError, match="--quantize applies to ONNX graphs only"):
        modelpad.save(model, "m", samples=ROWS, backend="native", quantize="int8", store=tmp_path)


@pytest.mark.slow
@pytest.mark.long
def test_a_memory_limit_ends_the_process_of_an_unused_model(trees: Bundle) -> None:
    budget = MemoryBudget(1)
    first, second = Session(trees, memory=budget), Session(trees, memory=budget)
    sample = {"input": ROWS[0].tolist()}
    assert not first.is_open
    first.answer(sample)
    assert first.process_bytes > 1 << 20
    second.answer(sample)
    assert not first.is_open
    assert first.process_bytes == 0
    assert first.answer(sample) == second.answer(sample)
    first.close()
    second.close()


HOSTILE = {
    "a pickle": (b"\x80\x04N.", "pickle", "native/model.skops"),
    "a pickle said to be a safe format": (pickle.dumps(print), "skops", "native/model.skops"),
    "an ONNX graph": (b"\x08\x07", "onnx", "native/model.onnx"),
}


@pytest.mark.parametrize("case", sorted(HOSTILE))
def test_only_safe_formats_are_opened(trees: Bundle, tmp_path: Path, case: str) -> None:
    body, form, name = HOSTILE[case]
    manifest = replace(trees.manifest, native=NativeModel("scikit-learn", form, name))
    bundle = write_bundle(tmp_path / "bundle", manifest, {name: body})
    with pytest.raises(BundleInvalid, match="format") as raised:
        Session(bundle)
    assert "trust its author" in raised.value.hint


def test_foreign_types_are_not_loaded(trees: Bundle, tmp_path: Path) -> None:
    import skops.io
    from sklearn.preprocessing import FunctionTransformer

    model = make_pipeline(FunctionTransformer(os.path.basename), LogisticRegression())
    name = "native/model.skops"
    skops.io.dump(model, tmp_path / "model.skops")
    manifest = replace(trees.manifest, native=NativeModel("scikit-learn", "skops", name))
    bundle = write_bundle(tmp_path / "bundle", manifest, {name: tmp_path / "model.skops"})
    with pytest.raises(BundleInvalid, match="not part of scikit-learn"):
        Session(bundle)


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    yield
    assert not children(os.getpid())
