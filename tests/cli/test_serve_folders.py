"""`modelpad serve DIR`: the models in a folder answer under their own names, over each protocol."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

ROOT = {"authorization": "Bearer secret-of-root"}
ROWS = [[1.0, -2.5], [4.0, 0.25]]
CONFIG = """
name: "Doubler"
platform: "onnxruntime_onnx"
max_batch_size: 8
input [ { name: "row" data_type: TYPE_FP32 dims: [ 2 ] } ]
output [ { name: "result" data_type: TYPE_FP32 dims: [ 2 ] } ]
"""
KINDS = """
backend: "onnxruntime"
output [ { name: "shares" data_type: TYPE_FP32 dims: [ 2 ] label_filename: "names.txt" } ]
"""


@pytest.fixture
def repository(tmp_path: Path, write_onnx: Any) -> Path:
    """`Doubler` with versions 1 and 3, `other` without configuration, and an ensemble."""
    root = tmp_path / "repository"
    write_onnx(root / "Doubler" / "1" / "model.onnx", 2)
    write_onnx(root / "Doubler" / "3" / "model.onnx", 6)
    (root / "Doubler" / "config.pbtxt").write_text(CONFIG)
    write_onnx(root / "other" / "1" / "model.onnx", 5)
    (root / "both").mkdir()
    (root / "both" / "config.pbtxt").write_text('platform: "ensemble"')
    return root


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELPAD_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def start(serve: Any, tmp_path: Path) -> Callable[..., str]:
    """Serves what the arguments name; answers the address."""

    def go(*arguments: str, workers: int = 1) -> str:
        running = serve(*arguments, "--workers", str(workers), store=tmp_path / "store")
        return str(running.url)

    return go


def post(url: str, body: Any) -> Any:
    response = httpx.post(url, json=body, headers=ROOT, timeout=30)
    assert response.status_code == 200, response.text
    return response.json()


def infer(url: str, model: str) -> Any:
    """The first output over Open Inference v2, for the raw rows."""
    data = [number for row in ROWS for number in row]
    tensor = {"name": "row", "datatype": "FP32", "shape": [2, 2], "data": data}
    return post(f"{url}/v2/models/{model}/infer", {"inputs": [tensor]})["outputs"][0]


def expected(factor: float) -> Sequence[float]:
    return [factor * number for row in ROWS for number in row]


def test_a_triton_repository_answers_over_every_protocol(
    start: Any, repository: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    url = start(str(repository))
    printed = capfd.readouterr().err
    assert "Left out both: The model 'both' is an ensemble" in printed
    latest, first = infer(url, "Doubler"), infer(url, "Doubler/versions/1")
    assert (latest["name"], latest["shape"]) == ("result", [2, 2])
    assert latest["data"] == pytest.approx(expected(6))
    assert first["data"] == pytest.approx(expected(2))
    assert infer(url, "other")["data"] == pytest.approx(expected(5))
    for model, factor in (("Doubler/versions/3", 6), ("Doubler", 6), ("other", 5)):
        answer = post(f"{url}/v1/models/{model}:predict", {"instances": ROWS})
        got = np.ravel(answer["predictions"]).tolist()
        assert got == pytest.approx(expected(factor))
    answer = post(f"{url}/predict/other", {"row": ROWS[0]})
    assert answer["outputs"]["result"] == pytest.approx([5.0, -12.5])
    metadata = httpx.get(f"{url}/v2/models/Doubler").json()
    assert metadata["versions"] == ["1", "3"]
    assert httpx.get(f"{url}/v2/models/both").status_code == 404


def test_a_label_file_names_the_classes(start: Any, tmp_path: Path, write_onnx: Any) -> None:
    folder = tmp_path / "kinds"
    write_onnx(folder / "1" / "model.onnx", 0, "shares")
    (folder / "config.pbtxt").write_text(KINDS)
    (folder / "names.txt").write_text("tabby, tabby cat\ncrane\n")
    answer = post(f"{start(str(folder))}/predict/kinds", {"row": [1.0, 1.0]})
    assert answer["scores"] == pytest.approx({"tabby, tabby cat": 0.5, "crane": 0.5})


def test_models_of_a_folder_are_unloaded_and_loaded(
    start: Any, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELPAD_API_KEYS", "root=secret-of-root")
    url = start(str(repository), "--admin", "root", workers=2)
    index = post(f"{url}/v2/repository/index", {})
    served = {(one["name"], one["version"]) for one in index if one["state"] == "READY"}
    assert served == {("Doubler", "1"), ("Doubler", "3"), ("other", "1")}
    post(f"{url}/v2/repository/models/Doubler/unload", {})
    assert httpx.get(f"{url}/v2/models/Doubler/ready", headers=ROOT).status_code == 404
    post(f"{url}/v2/repository/models/Doubler/load", {})
    assert infer(url, "Doubler")["data"] == pytest.approx(expected(6))
    assert infer(url, "Doubler/versions/1")["data"] == pytest.approx(expected(2))


def test_several_files_are_served_under_the_names_given(
    start: Any, tmp_path: Path, write_onnx: Any
) -> None:
    one, two = write_onnx(tmp_path / "net.onnx", 3), write_onnx(tmp_path / "x" / "net.onnx", 4)
    url = start(f"One={one}", f"two={two}@7", "three=digits")
    assert infer(url, "One")["data"] == pytest.approx(expected(3))
    assert infer(url, "two/versions/7")["data"] == pytest.approx(expected(4))
    assert httpx.get(f"{url}/v2/models/three/ready").status_code == 200


def test_a_folder_of_files_serves_each(
    start: Any, tmp_path: Path, write_onnx: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    write_onnx(tmp_path / "nets" / "my model (1).onnx", 3)
    write_onnx(tmp_path / "nets" / "Second" / "model.onnx", 4)
    (tmp_path / "nets" / "pointer.onnx").write_text("version https://git-lfs.github.com/spec/v1\n")
    url = start(f"{tmp_path / 'nets'}")
    assert infer(url, "my-model-1")["data"] == pytest.approx(expected(3))
    assert infer(url, "Second")["data"] == pytest.approx(expected(4))
    printed = capfd.readouterr().err
    assert "Left out pointer.onnx: pointer.onnx is a Git LFS pointer" in printed
    assert "'my model (1)' is served as my-model-1" in printed


@pytest.mark.slow
@pytest.mark.long
def test_models_of_several_frameworks_in_one_folder(start: Any, tmp_path: Path) -> None:
    keras, xgboost = pytest.importorskip("keras"), pytest.importorskip("xgboost")
    folder = tmp_path / "mixed"
    rows = np.random.default_rng(5).normal(size=(50, 3)).astype(np.float32)
    booster = xgboost.train({"base_score": 0.5}, xgboost.DMatrix(rows, rows.sum(axis=1)), 4)
    (folder / "Trees").mkdir(parents=True)
    booster.save_model(folder / "Trees" / "model.ubj")
    flavors = "flavors:\n  xgboost:\n    data: model.ubj\n    model_format: ubj\n"
    (folder / "Trees" / "MLmodel").write_text(flavors)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="total")])
    (folder / "dense.json").write_text(model.to_json())
    model.save_weights(folder / "dense.weights.h5")
    url = start(str(folder))
    for name, wanted in (
        ("Trees", booster.predict(xgboost.DMatrix(rows[:4]))),
        ("dense", np.asarray(model.predict(rows[:4], verbose=0))),
    ):
        answer = post(f"{url}/v1/models/{name}:predict", {"instances": rows[:4].tolist()})
        got = np.asarray(answer["predictions"]).ravel()
        np.testing.assert_allclose(got, wanted.ravel(), rtol=1e-4, atol=1e-5)


def test_a_base_path_of_tensorflow_serving(start: Any, tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow")
    row = tf.TensorSpec([None, 2], tf.float32, name="row")

    def save(folder: Path, factor: float) -> None:
        module = tf.Module()
        scale = tf.function(lambda row: {"result": row * factor}, input_signature=[row])
        signatures = {"serving_default": scale.get_concrete_function()}
        tf.saved_model.save(module, str(folder), signatures=signatures)

    save(tmp_path / "Scale" / "1", 2)
    save(tmp_path / "Scale" / "00000007", 3)
    url = start(str(tmp_path / "Scale"))
    for model, factor in (("Scale", 3), ("Scale/versions/7", 3), ("Scale/versions/1", 2)):
        answer = post(f"{url}/v1/models/{model}:predict", {"instances": ROWS})
        got = np.ravel(
            [
                list(each.values()) if isinstance(each, dict) else each
                for each in answer["predictions"]
            ]
        )
        assert got.tolist() == pytest.approx(expected(factor))


def test_a_folder_is_imported_with_its_names_and_versions(
    run_modelpad: Any, repository: Path
) -> None:
    done = run_modelpad("import", str(repository))
    assert done.returncode == 0, done.stderr
    assert "Saved as Doubler version 3." in done.stdout
    assert "Left out both: The model 'both' is an ensemble" in done.stderr
    listed = run_modelpad("models", "show", "Doubler").stdout
    assert "3" in listed
    refused = run_modelpad("import", str(repository), "--name", "all")
    assert refused.returncode == 2
    assert "contains 2 models: Doubler, other." in refused.stderr


def test_predict_takes_a_model_of_a_folder(run_modelpad: Any, repository: Path) -> None:
    done = run_modelpad("predict", str(repository / "other"), "[1, 2]", "--json")
    assert done.returncode == 0, done.stderr
    assert '"model": "other"' in done.stdout
    done = run_modelpad("predict", f"{repository / 'Doubler'}@1", "[1, 2]", "--json")
    assert '"version": 1' in done.stdout, done.stderr
    several = run_modelpad("predict", str(repository), "[1, 2]")
    assert several.returncode == 2
    assert "contains 2 models: Doubler, other." in several.stderr


def test_the_import_that_is_needed_first_is_told(run_modelpad: Any, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    scripted = torch.jit.trace(torch.nn.Linear(4, 2), torch.ones(1, 4))
    scripted.save(str(tmp_path / "net.pt"))
    done = run_modelpad("serve", "net.pt")
    assert done.returncode == 1
    assert "Import it first: modelpad import net.pt --name net --trust\n" in done.stderr
    assert "Then serve it:   modelpad serve net\n" in done.stderr


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("a b=net.onnx", "'a b' is not a valid model name."),
        ("a=gone.onnx", "There is no file gone.onnx."),
        ("a=repository", "contains 2 models: Doubler, other, but 'a' names one."),
        ("repository/Doubler@2", "repository/Doubler has no version 2."),
    ],
)
def test_a_wrong_name_or_path_is_told(
    run_modelpad: Any, repository: Path, word: str, reason: str
) -> None:
    assert reason in run_modelpad("serve", word).stderr
