"""scikit-learn, XGBoost and LightGBM models, from the file to an answer over HTTP."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import GradientBoostingClassifier, RandomForestRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

IRIS = load_iris()
ROWS = IRIS.data[[3, 77, 140]]
TEXTS = ["a good film", "a bad film", "a very good one", "bad, bad", "a great thing", "awful"]


@pytest.fixture(scope="module")
def pipeline() -> Any:
    made = make_pipeline(StandardScaler(), GradientBoostingClassifier(n_estimators=15))
    return made.fit(IRIS.data, IRIS.target_names[IRIS.target])


def check_rows(ask: Any, expected: Any, name: str = "input") -> None:
    for row, shares in zip(ROWS, expected, strict=True):
        answer = ask({name: row.tolist()})
        got = [answer["scores"][label] for label in sorted(answer["scores"])]
        np.testing.assert_allclose(got, shares, atol=2e-5)


def field_name(run_modelpad: Any) -> str:
    import json

    shown = json.loads(run_modelpad("models", "show", "model", "--json").stdout)
    record = shown.get("manifest", shown)
    return str(record["signature"]["inputs"][0]["name"])


@pytest.mark.slow
@pytest.mark.long
def test_skops(served: Any, run_modelpad: Any, pipeline: Any, tmp_path: Path) -> None:
    import skops.io

    skops.io.dump(pipeline, tmp_path / "forest.skops")
    ask = served(str(tmp_path / "forest.skops"))
    check_rows(ask, pipeline.predict_proba(ROWS), field_name(run_modelpad))


@pytest.mark.parametrize("form", ["joblib", "pickle"])
def test_pickles_need_trust(
    served: Any,
    run_modelpad: Any,
    run_import: Any,
    pipeline: Any,
    tmp_path: Path,
    form: str,
) -> None:
    import joblib

    path = tmp_path / f"forest.{form}"
    if form == "joblib":
        joblib.dump(pipeline, path)
    else:
        path.write_bytes(pickle.dumps(pipeline))
    done = run_import(str(path))
    assert done.returncode == 1
    assert "--trust" in done.stderr
    ask = served(str(path), "--trust")
    check_rows(ask, pipeline.predict_proba(ROWS), field_name(run_modelpad))


@pytest.mark.slow
def test_text(served: Any, tmp_path: Path) -> None:
    import skops.io

    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression())
    model.fit(TEXTS, ["pos", "neg"] * 3)
    skops.io.dump(model, tmp_path / "text.skops")
    ask = served(str(tmp_path / "text.skops"))
    for text in ("a good thing", "bad"):
        shares = model.predict_proba([text])[0]
        assert ask({"text": text})["scores"]["pos"] == pytest.approx(shares[1], abs=1e-5)


def test_a_live_estimator_and_a_regression(served: Any, run_modelpad: Any, tmp_path: Path) -> None:
    import modelpad

    data = load_diabetes()
    model = RandomForestRegressor(20, max_depth=5, random_state=0).fit(data.data, data.target)
    modelpad.save(model, "model", samples=data.data[:9], store=tmp_path / "store")
    ask = served(saved="model")
    answer = ask({field_name(run_modelpad): data.data[5].tolist()})
    assert answer["outputs"]["score"] == pytest.approx(model.predict(data.data[5:6])[0], rel=1e-4)


@pytest.mark.parametrize("form", ["json", "ubj"])
def test_xgboost(served: Any, run_modelpad: Any, tmp_path: Path, form: str) -> None:
    xgboost = pytest.importorskip("xgboost")
    options = {"objective": "multi:softprob", "num_class": 3, "max_depth": 3}
    model = xgboost.train(options, xgboost.DMatrix(IRIS.data, IRIS.target), 12)
    model.save_model(tmp_path / f"trees.{form}")
    ask = served(str(tmp_path / f"trees.{form}"), "--output", "labels:0,1,2")
    check_rows(ask, model.predict(xgboost.DMatrix(ROWS)), field_name(run_modelpad))


def test_lightgbm(served: Any, run_modelpad: Any, tmp_path: Path) -> None:
    lightgbm = pytest.importorskip("lightgbm")
    options = {"objective": "multiclass", "num_class": 3, "verbose": -1}
    model = lightgbm.train(options, lightgbm.Dataset(IRIS.data, IRIS.target), 12)
    model.save_model(tmp_path / "trees.txt")
    check_rows(served(str(tmp_path / "trees.txt")), model.predict(ROWS), field_name(run_modelpad))


def test_live_boosters_know_their_classes(served: Any, run_modelpad: Any, tmp_path: Path) -> None:
    import modelpad

    lightgbm = pytest.importorskip("lightgbm")
    names = IRIS.target_names[IRIS.target]
    model = lightgbm.LGBMClassifier(n_estimators=9, verbose=-1).fit(IRIS.data, names)
    modelpad.save(model, "model", samples=IRIS.data[::20], store=tmp_path / "store")
    answer = served(saved="model")({field_name(run_modelpad): ROWS[0].tolist()})
    assert answer["label"] == "setosa"
