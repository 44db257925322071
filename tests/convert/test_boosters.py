"""Boosters of every kind predict in ONNX Runtime what their own framework predicts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelpad.convert import ImportRequest, open_source
from modelpad.convert.objects import open_object
from modelpad.errors import ConversionFailed
from modelpad.runtime import load_onnxruntime

Made = tuple[Any, Callable[[Any], Any]]
"""A trained model, and the framework's own prediction of raw rows."""

RANDOM = np.random.default_rng(0)
ROWS = RANDOM.normal(size=(300, 5)).astype(np.float32)
ROWS[:, 4] = RANDOM.integers(0, 40, 300)  # categories, where they are declared so
ROWS[::7, 1] = np.nan
AMOUNTS = ROWS[:, 0] * 2 - np.nan_to_num(ROWS[:, 1]) + (ROWS[:, 4] % 3)
COUNTS = RANDOM.poisson(np.exp(ROWS[:, 0]))
TWO = (AMOUNTS > 1).astype(int)
THREE = np.digitize(AMOUNTS, [0, 2])
SEVERAL = np.stack([AMOUNTS, ROWS[:, 2], -ROWS[:, 0]], axis=1)
LABELS = (SEVERAL > 0).astype(int)
GROUPS = [30] * 10
KINDS = ["q"] * 4 + ["c"]


def xgb(target: Any, rounds: int = 12, **options: Any) -> Made:
    import xgboost

    types = options.pop("feature_types", None)
    made = {"feature_types": types, "enable_categorical": types is not None}
    data = xgboost.DMatrix(ROWS, target, **made)
    if options.get("objective", "").startswith("rank:"):
        data.set_group(GROUPS)
    if options.get("objective") == "survival:aft":
        data.set_float_info("label_lower_bound", target)
        data.set_float_info("label_upper_bound", target)
    model = xgboost.train({"max_depth": 4, "seed": 1} | options, data, rounds)
    return model, lambda rows: model.predict(xgboost.DMatrix(rows, **made))


def xgb_estimator(name: str, target: Any, **options: Any) -> Made:
    import xgboost

    fit: dict[str, Any] = {"qid": np.repeat(np.arange(10), 30)} if name == "XGBRanker" else {}
    if "early_stopping_rounds" in options:
        fit = {"eval_set": [(ROWS[::3], target[::-3])], "verbose": False}
    model = getattr(xgboost, name)(n_estimators=12, max_depth=3, **options)
    model.fit(ROWS, target, **fit)
    return model, getattr(model, "predict_proba", model.predict)


def lgb(target: Any, rounds: int = 12, **options: Any) -> Made:
    import lightgbm

    options = {"verbose": -1, "num_leaves": 12, "min_data_in_leaf": 5, "seed": 1} | options
    fixed = {key: options.pop(key) for key in ("categorical_feature", "group") if key in options}
    rows = ROWS.astype(np.float64)
    model = lightgbm.train(options, lightgbm.Dataset(rows, target, params=options, **fixed), rounds)
    return model, model.predict


def lgb_estimator(name: str, target: Any, **options: Any) -> Made:
    import lightgbm

    fit: dict[str, Any] = {"group": GROUPS} if name == "LGBMRanker" else {}
    if "early_stopping_round" in options:
        fit = {"eval_set": [(ROWS[::3], target[::-3])]}
    model = getattr(lightgbm, name)(n_estimators=12, verbose=-1, **options).fit(ROWS, target, **fit)
    return model, getattr(model, "predict_proba", model.predict)


def cat(name: str, target: Any, **options: Any) -> Made:
    import catboost

    fit = {"group_id": np.repeat(np.arange(10), 30)} if options.pop("ranks", False) else {}
    quiet = {"verbose": 0, "allow_writing_files": False, "thread_count": 1}
    model = getattr(catboost, name)(iterations=12, depth=4, **quiet, **options)
    model.fit(catboost.Pool(ROWS, target, **fit))
    return model, getattr(model, "predict_proba", model.predict)


def hinge_loss(margins: Any, data: Any) -> tuple[Any, Any]:
    return margins - data.get_label(), np.ones_like(margins)


XGBOOST: dict[str, Callable[[], Made]] = {
    "regression": lambda: xgb(AMOUNTS),
    "absolute error": lambda: xgb(AMOUNTS, objective="reg:absoluteerror"),
    "pseudo-Huber": lambda: xgb(AMOUNTS, objective="reg:pseudohubererror"),
    "squared log error": lambda: xgb(COUNTS, objective="reg:squaredlogerror"),
    "logistic": lambda: xgb(TWO, objective="binary:logistic"),
    "logistic regression": lambda: xgb(TWO, objective="reg:logistic"),
    "logitraw": lambda: xgb(TWO, objective="binary:logitraw"),
    "hinge": lambda: xgb(TWO, objective="binary:hinge"),
    "base score": lambda: xgb(TWO, objective="binary:logistic", base_score=0.2),
    "softprob": lambda: xgb(THREE, objective="multi:softprob", num_class=3),
    "softmax": lambda: xgb(THREE, objective="multi:softmax", num_class=3),
    "Poisson": lambda: xgb(COUNTS, objective="count:poisson"),
    "gamma": lambda: xgb(COUNTS + 1, objective="reg:gamma"),
    "Tweedie": lambda: xgb(COUNTS, objective="reg:tweedie"),
    "survival": lambda: xgb(COUNTS + 1, objective="survival:aft"),
    "Cox": lambda: xgb(COUNTS + 1, objective="survival:cox"),
    "rank": lambda: xgb(THREE, objective="rank:ndcg"),
    "rank pairwise": lambda: xgb(THREE, objective="rank:pairwise"),
    "dart": lambda: xgb(AMOUNTS, booster="dart", rate_drop=0.4),
    "dart softprob": lambda: xgb(
        THREE, booster="dart", rate_drop=0.4, objective="multi:softprob", num_class=3
    ),
    "gblinear": lambda: xgb(AMOUNTS, booster="gblinear"),
    "gblinear softprob": lambda: xgb(
        THREE, booster="gblinear", objective="multi:softprob", num_class=3
    ),
    "quantile": lambda: xgb(AMOUNTS, objective="reg:quantileerror", quantile_alpha=0.8),
    "quantiles": lambda: xgb(AMOUNTS, objective="reg:quantileerror", quantile_alpha=[0.1, 0.5]),
    "several outputs": lambda: xgb(SEVERAL),
    "several outputs in a leaf": lambda: xgb(SEVERAL, multi_strategy="multi_output_tree"),
    "forest": lambda: xgb(AMOUNTS, 2, num_parallel_tree=6, subsample=0.7, learning_rate=1),
    "categories": lambda: xgb(AMOUNTS, feature_types=KINDS, max_cat_to_onehot=1),
    "one-hot categories": lambda: xgb(AMOUNTS, feature_types=KINDS, max_cat_to_onehot=99),
    "no split": lambda: xgb(AMOUNTS, gamma=1e9),
    "classifier": lambda: xgb_estimator("XGBClassifier", TWO),
    "classifier of three": lambda: xgb_estimator("XGBClassifier", THREE),
    "classifier with softmax": lambda: xgb_estimator(
        "XGBClassifier", THREE, objective="multi:softmax"
    ),
    "classifier of several labels": lambda: xgb_estimator("XGBClassifier", LABELS),
    "classifier stopped early": lambda: xgb_estimator(
        "XGBClassifier", THREE, early_stopping_rounds=2, learning_rate=0.9
    ),
    "regressor with a missing value": lambda: xgb_estimator(
        "XGBRegressor", AMOUNTS, missing=float(ROWS[0, 4])
    ),
    "forest classifier": lambda: xgb_estimator("XGBRFClassifier", THREE),
    "ranker": lambda: xgb_estimator("XGBRanker", THREE),
}
LIGHTGBM: dict[str, Callable[[], Made]] = {
    "regression": lambda: lgb(AMOUNTS),
    "regression of the root": lambda: lgb(AMOUNTS, reg_sqrt=True),
    "absolute error": lambda: lgb(AMOUNTS, objective="regression_l1"),
    "Huber": lambda: lgb(AMOUNTS, objective="huber"),
    "fair": lambda: lgb(AMOUNTS, objective="fair"),
    "MAPE": lambda: lgb(AMOUNTS + 10, objective="mape"),
    "quantile": lambda: lgb(AMOUNTS, objective="quantile", alpha=0.8),
    "Poisson": lambda: lgb(COUNTS, objective="poisson"),
    "gamma": lambda: lgb(COUNTS + 1, objective="gamma"),
    "Tweedie": lambda: lgb(COUNTS, objective="tweedie"),
    "binary": lambda: lgb(TWO, objective="binary", sigmoid=0.7),
    "multiclass": lambda: lgb(THREE, objective="multiclass", num_class=3),
    "one against all": lambda: lgb(THREE, objective="multiclassova", num_class=3, sigmoid=0.7),
    "cross entropy": lambda: lgb(TWO * 0.8, objective="cross_entropy"),
    "cross entropy lambda": lambda: lgb(TWO * 0.8, objective="cross_entropy_lambda"),
    "rank": lambda: lgb(THREE, objective="lambdarank", group=GROUPS),
    "rank xendcg": lambda: lgb(THREE, objective="rank_xendcg", group=GROUPS),
    "forest": lambda: lgb(AMOUNTS, boosting="rf", bagging_freq=1, bagging_fraction=0.5),
    "forest binary": lambda: lgb(
        TWO, objective="binary", boosting="rf", bagging_freq=1, bagging_fraction=0.5
    ),
    "forest multiclass": lambda: lgb(
        THREE,
        objective="multiclass",
        num_class=3,
        boosting="rf",
        bagging_freq=1,
        bagging_fraction=0.5,
    ),
    "dart": lambda: lgb(AMOUNTS, boosting="dart", drop_rate=0.4),
    "linear trees": lambda: lgb(AMOUNTS, linear_tree=True),
    "linear trees binary": lambda: lgb(TWO, objective="binary", linear_tree=True),
    "linear trees multiclass": lambda: lgb(
        THREE, objective="multiclass", num_class=3, linear_tree=True
    ),
    "categories": lambda: lgb(AMOUNTS, categorical_feature=[4], min_data_per_group=5),
    "one-hot categories": lambda: lgb(AMOUNTS, categorical_feature=[4], max_cat_to_onehot=99),
    "zero is missing": lambda: lgb(AMOUNTS, zero_as_missing=True),
    "missing is zero": lambda: lgb(AMOUNTS, use_missing=False),
    "no split": lambda: lgb(AMOUNTS, min_gain_to_split=1e9),
    "own objective": lambda: lgb(AMOUNTS, objective=hinge_loss),
    "classifier": lambda: lgb_estimator("LGBMClassifier", np.array(["no", "yes"])[TWO]),
    "classifier of three": lambda: lgb_estimator("LGBMClassifier", THREE),
    "classifier stopped early": lambda: lgb_estimator(
        "LGBMClassifier", THREE, early_stopping_round=2, learning_rate=0.9
    ),
    "ranker": lambda: lgb_estimator("LGBMRanker", THREE),
}
CATBOOST: dict[str, Callable[[], Made]] = {
    "regression": lambda: cat("CatBoostRegressor", AMOUNTS),
    "quantile": lambda: cat("CatBoostRegressor", AMOUNTS, loss_function="Quantile:alpha=0.8"),
    "quantiles": lambda: cat(
        "CatBoostRegressor", AMOUNTS, loss_function="MultiQuantile:alpha=0.1,0.5"
    ),
    "Poisson": lambda: cat("CatBoostRegressor", COUNTS, loss_function="Poisson"),
    "Tweedie": lambda: cat("CatBoostRegressor", COUNTS, loss_function="Tweedie:variance_power=1.5"),
    "several outputs": lambda: cat("CatBoostRegressor", SEVERAL, loss_function="MultiRMSE"),
    "uncertainty": lambda: cat("CatBoostRegressor", AMOUNTS, loss_function="RMSEWithUncertainty"),
    "classifier": lambda: cat("CatBoostClassifier", np.array(["no", "yes"])[TWO]),
    "classifier of three": lambda: cat("CatBoostClassifier", THREE),
    "one against all": lambda: cat("CatBoostClassifier", THREE, loss_function="MultiClassOneVsAll"),
    "several labels": lambda: cat("CatBoostClassifier", LABELS, loss_function="MultiLogloss"),
    "lossguide": lambda: cat("CatBoostRegressor", AMOUNTS, grow_policy="Lossguide"),
    "depthwise": lambda: cat("CatBoostClassifier", THREE, grow_policy="Depthwise"),
    "rank": lambda: cat("CatBoostRanker", THREE, loss_function="YetiRank", ranks=True),
    "missing is largest": lambda: cat("CatBoostRegressor", AMOUNTS, nan_mode="Max"),
}
FRAMEWORKS = {"xgboost": XGBOOST, "lightgbm": LIGHTGBM, "catboost": CATBOOST}
ALL = [(framework, kind) for framework, kinds in FRAMEWORKS.items() for kind in kinds]


def run_graph(model: Any, feeds: dict[str, Any]) -> dict[str, Any]:
    import onnx

    onnx.checker.check_model(model)
    session = load_onnxruntime().InferenceSession(model.SerializeToString())
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def hard_rows(source: Any) -> Any:
    rows = np.stack([sample["X"] for sample in source.hard_samples()])
    return np.concatenate([ROWS[:60].astype(rows.dtype), rows])


@pytest.mark.parametrize(("framework", "kind"), ALL)
def test_every_kind(framework: str, kind: str) -> None:
    pytest.importorskip(framework)
    model, predict = FRAMEWORKS[framework][kind]()
    source = open_object(model, ImportRequest())
    rows = hard_rows(source)
    (output,) = source.outputs
    got = run_graph(source.export(), {"X": rows})[output.name]
    expected = np.asarray(predict(rows))
    own = source.run({"X": rows})[output.name]
    assert got.shape == expected.shape == own.shape
    assert got.dtype == own.dtype == np.dtype(output.dtype)
    assert got.shape[1:] == output.shape[1:]
    np.testing.assert_array_equal(own, expected)
    exact: Any = (
        {"rtol": 1e-5, "atol": 2e-6} if framework == "xgboost" else {"rtol": 1e-9, "atol": 1e-12}
    )
    np.testing.assert_allclose(got, expected, **exact)
    alone = run_graph(source.export(), {"X": rows[9:10]})[output.name]
    np.testing.assert_allclose(alone, got[9:10], **exact)


FILES = [
    ("xgboost", "softprob", "trees.json"),
    ("xgboost", "softmax", "trees.ubj"),
    ("xgboost", "classifier", "trees.json"),
    ("xgboost", "classifier stopped early", "trees.ubj"),
    ("lightgbm", "one against all", "trees.txt"),
    ("lightgbm", "linear trees", "trees.txt"),
    ("catboost", "classifier of three", "trees.cbm"),
    ("catboost", "lossguide", "trees.json"),
]


def save(model: Any, path: Path) -> Path:
    form = {"format": path.suffix[1:]} if "catboost" in type(model).__module__ else {}
    model.save_model(str(path), **form)
    return path


@pytest.mark.parametrize(("framework", "kind", "name"), FILES)
def test_files_predict_as_what_wrote_them(
    framework: str, kind: str, name: str, tmp_path: Path
) -> None:
    pytest.importorskip(framework)
    model, predict = FRAMEWORKS[framework][kind]()
    source = open_source(save(model, tmp_path / name), ImportRequest())
    assert source.framework == framework
    assert source.facts[framework]
    rows = hard_rows(source)
    (output,) = source.outputs
    expected = predict(rows)
    # CatBoost's JSON rounds the values of leaves.
    own: Any = source.run({"X": rows})[output.name]
    np.testing.assert_allclose(own, expected, rtol=1e-12)
    got = run_graph(source.export(), {"X": rows})[output.name]
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=2e-6)
    assert source.files()


SERVED = [
    ("xgboost", "categories", "trees.ubj"),
    *(
        pytest.param(*each, marks=(pytest.mark.slow, pytest.mark.long))
        for each in (
            ("lightgbm", "linear trees multiclass", "trees.txt"),
            ("catboost", "classifier of three", "trees.cbm"),
        )
    ),
]


@pytest.mark.parametrize(("framework", "kind", "name"), SERVED)
def test_served_boosters_answer_raw_rows(
    run_import: Any, start_serving: Any, tmp_path: Path, framework: str, kind: str, name: str
) -> None:
    pytest.importorskip(framework)
    model, predict = FRAMEWORKS[framework][kind]()
    path = save(model, tmp_path / name)
    done = run_import(str(path), "--name", "model")
    assert done.returncode == 0, done.stderr
    source = open_source(path, ImportRequest())
    rows = hard_rows(source)[:80]
    finite = np.nan_to_num(rows[:20])
    with start_serving("model", store=tmp_path / "store") as (running, address):
        over_http = ask_http(running.url, source, finite)
        over_grpc = ask_grpc(address, source, rows)
    for got, expected in ((over_http, predict(finite)), (over_grpc, predict(rows))):
        assert got.shape == expected.shape
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=2e-6)


def ask_http(url: str, source: Any, rows: Any) -> Any:
    import httpx

    (given,), (output,) = source.inputs, source.outputs
    tensor = {
        "name": given.name,
        "shape": list(rows.shape),
        "datatype": f"FP{given.dtype[-2:]}",
        "data": rows.reshape(-1).tolist(),
    }
    response = httpx.post(f"{url}/v2/models/model/infer", json={"inputs": [tensor]})
    assert response.status_code == 200, response.text
    (answer,) = response.json()["outputs"]
    assert answer["name"] == output.name
    return np.array(answer["data"]).reshape(answer["shape"])


def ask_grpc(address: str, source: Any, rows: Any) -> Any:
    client = pytest.importorskip("tritonclient.grpc")
    (given,), (output,) = source.inputs, source.outputs
    tensor = client.InferInput(given.name, rows.shape, f"FP{given.dtype[-2:]}")
    tensor.set_data_from_numpy(rows)
    answer = client.InferenceServerClient(address).infer("model", [tensor])
    return answer.as_numpy(output.name)


CONTRACTS = [
    ("xgboost", "regression", "prediction", (None,), "float32"),
    ("xgboost", "logistic", "probability", (None,), "float32"),
    ("xgboost", "softprob", "probabilities", (None, 3), "float32"),
    ("xgboost", "softmax", "label", (None,), "float32"),
    ("xgboost", "several outputs", "prediction", (None, 3), "float32"),
    ("xgboost", "classifier", "probabilities", (None, 2), "float32"),
    ("lightgbm", "quantile", "prediction", (None,), "float64"),
    ("lightgbm", "binary", "probability", (None,), "float64"),
    ("lightgbm", "multiclass", "probabilities", (None, 3), "float64"),
    ("lightgbm", "classifier", "probabilities", (None, 2), "float64"),
    ("catboost", "quantiles", "prediction", (None, 2), "float64"),
    ("catboost", "classifier", "probabilities", (None, 2), "float64"),
]


@pytest.mark.parametrize(("framework", "kind", "name", "shape", "dtype"), CONTRACTS)
def test_the_raw_contract(framework: str, kind: str, name: str, shape: Any, dtype: str) -> None:
    pytest.importorskip(framework)
    source = open_object(FRAMEWORKS[framework][kind]()[0], ImportRequest())
    (given,), (output,) = source.inputs, source.outputs
    assert (output.name, output.shape, output.dtype) == (name, shape, dtype)
    assert (given.name, given.shape) == ("X", (None, 5))
    assert given.dtype == ("float64" if framework == "lightgbm" else "float32")
    graph = source.export().graph
    assert [value.name for value in (*graph.input, *graph.output)] == ["X", name]


@pytest.mark.parametrize("framework", ["lightgbm", "catboost"])
def test_estimators_know_their_classes(framework: str) -> None:
    pytest.importorskip(framework)
    model, _ = FRAMEWORKS[framework]["classifier"]()
    assert open_object(model, ImportRequest()).classes == ("no", "yes")


@pytest.mark.parametrize(
    ("framework", "name"),
    [
        ("xgboost", "XGBClassifier"),
        ("lightgbm", "LGBMRegressor"),
        ("catboost", "CatBoostRegressor"),
    ],
)
def test_an_estimator_that_is_not_fitted(framework: str, name: str) -> None:
    module = pytest.importorskip(framework)
    with pytest.raises(ConversionFailed, match="not fitted"):
        open_object(getattr(module, name)(), ImportRequest())


def test_columns_have_the_names_of_the_features() -> None:
    import xgboost

    names = ("height", "width", "depth", "mass", "kind")
    data = xgboost.DMatrix(ROWS, AMOUNTS, feature_names=list(names))
    source = open_object(xgboost.train({}, data, 2), ImportRequest())
    assert source.inputs[0].columns == names
    assert open_object(xgb(AMOUNTS)[0], ImportRequest()).inputs[0].columns == ()


@pytest.mark.parametrize("framework", ["xgboost", "lightgbm"])
def test_categories_of_a_table_are_their_codes(framework: str) -> None:
    pandas = pytest.importorskip("pandas")
    module = pytest.importorskip(framework)
    table = pandas.DataFrame({"size": ROWS[:, 0], "kind": ROWS[:, 4].astype(int).astype(str)})
    table["kind"] = table["kind"].astype("category")
    if framework == "xgboost":
        model = module.XGBRegressor(n_estimators=9, max_cat_to_onehot=1, enable_categorical=True)
    else:
        model = module.LGBMRegressor(n_estimators=9, min_data_per_group=5, verbose=-1)
    model.fit(table, AMOUNTS)
    source = open_object(model, ImportRequest())
    assert source.inputs[0].columns == ("size", "kind")
    rows = np.stack([table["size"], table["kind"].cat.codes], axis=1)
    rows = rows.astype(source.inputs[0].dtype)
    expected = model.predict(table)
    assert source.run({"X": rows})["prediction"] == pytest.approx(expected)
    got = run_graph(source.export(), {"X": rows})["prediction"]
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=2e-6)


def test_catboost_runs_categories_that_onnx_cannot_express(tmp_path: Path) -> None:
    catboost = pytest.importorskip("catboost")
    table = [[float(row[0]), f"kind {row[4]:.0f}"] for row in ROWS]
    model = catboost.CatBoostRegressor(iterations=5, verbose=0, allow_writing_files=False)
    model.fit(catboost.Pool(table, AMOUNTS, cat_features=[1], feature_names=["size", "kind"]))
    source = open_source(save(model, tmp_path / "trees.cbm"), ImportRequest())
    shapes = [(spec.name, spec.dtype, spec.shape) for spec in source.inputs]
    assert shapes == [("size", "float32", (None, 1)), ("kind", "string", (None, 1))]
    feeds = {
        "size": ROWS[:, :1],
        "kind": np.array([row[1] for row in table], dtype=object)[:, None],
    }
    np.testing.assert_array_equal(source.run(feeds)["prediction"], model.predict(table))
    for sample in source.hard_samples():
        source.run({name: value[None] for name, value in sample.items()})
    with pytest.raises(ConversionFailed, match="hashes"):
        source.export()


def test_catboost_without_its_features_of_text(tmp_path: Path) -> None:
    catboost = pytest.importorskip("catboost")
    texts = [["a good film"], ["a bad film"], ["very good"], ["so bad"]] * 25
    model = catboost.CatBoostClassifier(iterations=3, verbose=0, allow_writing_files=False)
    model.fit(catboost.Pool(texts, [1, 0, 1, 0] * 25, text_features=[0]))
    with pytest.raises(ConversionFailed, match="text or embedding features"):
        open_object(model, ImportRequest())


def links_to(number: int) -> Callable[[dict[str, Any]], None]:
    return lambda tree: tree["left_children"].__setitem__(1, number)


TAMPERED: dict[str, Callable[[dict[str, Any]], None]] = {
    "two links lead to the same node": links_to(0),
    "a link leads to a node that does not exist": links_to(999_999),
    "a feature that does not exist": lambda tree: tree.update(
        split_indices=[99] * len(tree["split_indices"])
    ),
    "a threshold is not a number": lambda tree: tree.update(
        split_conditions=[float("nan")] * len(tree["split_conditions"])
    ),
}


@pytest.mark.parametrize("reason", TAMPERED)
def test_damaged_trees_of_xgboost(reason: str, tmp_path: Path) -> None:
    pytest.importorskip("xgboost")
    path = save(xgb(AMOUNTS)[0], tmp_path / "trees.json")
    record = json.loads(path.read_text())
    TAMPERED[reason](record["learner"]["gradient_booster"]["model"]["trees"][0])
    path.write_text(json.dumps(record))
    with pytest.raises(ConversionFailed, match=reason):
        open_source(path, ImportRequest())


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("left_child", "0", "two links lead to the same node"),
        ("left_child", "99999", "a link leads to a node that does not exist"),
        ("split_feature", "99", "a feature that does not exist"),
    ],
)
def test_damaged_trees_of_lightgbm(key: str, value: str, reason: str, tmp_path: Path) -> None:
    pytest.importorskip("lightgbm")
    text = lgb(AMOUNTS)[0].model_to_string()
    text = re.sub(r"^tree_sizes=.*\n", "", text, flags=re.MULTILINE)
    line = re.compile(rf"^{key}=(.*)$", re.MULTILINE)
    count = len(line.findall(text)[0].split())
    path = tmp_path / "trees.txt"
    path.write_text(line.sub(f"{key}={' '.join([value] * count)}", text, count=1))
    with pytest.raises(ConversionFailed, match=reason):
        open_source(path, ImportRequest())


def test_trees_that_are_too_deep() -> None:
    from modelpad.convert.tree_ensembles import MAX_DEPTH, reach_nodes

    below, above = [~n for n in range(MAX_DEPTH)], [n + 1 for n in range(MAX_DEPTH - 1)]
    with pytest.raises(ConversionFailed, match="levels deep"):
        reach_nodes(below, [*above, ~MAX_DEPTH], MAX_DEPTH + 1)


@pytest.mark.parametrize("name", ["trees.cbm", "trees.json"])
def test_damaged_files_of_catboost(name: str, tmp_path: Path) -> None:
    pytest.importorskip("catboost")
    path = save(cat("CatBoostRegressor", AMOUNTS)[0], tmp_path / name)
    body = path.read_bytes()
    if name.endswith("json"):
        path.write_bytes(body.replace(b'"oblivious_trees"', b'"other_trees"'))
    else:
        path.write_bytes(body[: len(body) // 2])
    with pytest.raises(ConversionFailed):
        open_source(path, ImportRequest())
