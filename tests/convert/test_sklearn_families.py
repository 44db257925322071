"""Kinds of scikit-learn estimators, exported and compared on raw inputs that are hard for them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("skl2onnx")
pytest.importorskip("pandas")

import httpx
import joblib
import pandas
from sklearn import (
    calibration,
    cluster,
    compose,
    cross_decomposition,
    decomposition,
    discriminant_analysis,
    ensemble,
    gaussian_process,
    impute,
    isotonic,
    linear_model,
    model_selection,
    multioutput,
    naive_bayes,
    neighbors,
    neural_network,
    preprocessing,
    svm,
)
from sklearn.datasets import load_diabetes, load_iris
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.feature_selection import SelectKBest
from sklearn.pipeline import make_pipeline

from modelpad.convert.sklearn import SklearnSource
from modelpad.convert.sklearn_patterns import translate
from modelpad.convert.sklearn_samples import stack
from modelpad.errors import ConversionFailed
from modelpad.runtime import load_onnxruntime

IRIS, DIABETES = load_iris(), load_diabetes()
X, NAMES = IRIS.data, IRIS.target_names[IRIS.target]
IS_LATER = (IRIS.target > 0).astype(int)
XD, YD = DIABETES.data, DIABETES.target
PAIRS = np.stack([YD, YD**0.5], axis=1)
FLAGS = np.stack([IRIS.target > 0, IRIS.target > 1], axis=1).astype(int)
DOCUMENTS = [
    "The quick brown fox jumps over the lazy dog, isn't it?",
    "A naïve café: the ÉTÉ was in Paris... 3 days & 12 nights",
    "ΟΔΥΣΣΕΥΣ και ΣΟΦΟΣ οδός σ",
    "Straße STRASSE İstanbul ISTANBUL ﬁne ½ Å",
    "你好 世界 hello_world x y z a1 b2",
    "not the good and the bad of it\n\nnew  lines\there",
    "co-op e-mail 3.14 1,000 we’re",
    "good film, the best of the year",
]
LABELS = ["yes", "no"] * 4


def passengers() -> Any:
    generator = np.random.default_rng(0)
    rows = 200
    table = pandas.DataFrame(
        {
            "age": generator.integers(18, 80, rows).astype(float),
            "fare": generator.gamma(2, 20, rows).round(2),
            "sex": generator.choice(["male", "female"], rows),
            "port": generator.choice(["S", "C", "Q"], rows),
            "class": generator.integers(1, 4, rows),
        }
    )
    table.loc[::9, "age"] = np.nan
    return table


TABLE = passengers()
SURVIVED = np.where((TABLE.fare > 40) ^ (TABLE.sex == "male"), "yes", "no")
PRICE = TABLE.fare * 2 + (TABLE.sex == "male") * 10


def columns(**options: Any) -> Any:
    numbers = make_pipeline(impute.SimpleImputer(), preprocessing.StandardScaler())
    encoder = preprocessing.OneHotEncoder(handle_unknown="ignore", **options)
    return compose.ColumnTransformer(
        [("numbers", numbers, ["age", "fare"]), ("names", encoder, ["sex", "port", "class"])]
    )


def table_pipeline() -> Any:
    return make_pipeline(columns(), linear_model.LogisticRegression()).fit(TABLE, SURVIVED)


def ordinal_pipeline() -> Any:
    encoder = preprocessing.OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    parts = [("kept", "passthrough", ["age", "fare"]), ("names", encoder, ["sex", "port"])]
    forest = ensemble.RandomForestRegressor(10, random_state=0)
    return make_pipeline(compose.ColumnTransformer(parts), forest).fit(TABLE, PRICE)


def categorical_boosting() -> Any:
    table = TABLE[["age", "fare", "sex", "port"]].astype({"sex": "category", "port": "category"})
    model = ensemble.HistGradientBoostingClassifier(categorical_features="from_dtype", max_iter=20)
    return model.fit(table, SURVIVED)


def votes(kind: Any, *members: Any, **options: Any) -> Any:
    return kind([(f"m{at}", one) for at, one in enumerate(members)], **options)


LINEAR, FOREST = linear_model.LogisticRegression, ensemble.RandomForestClassifier
BOOSTED = ensemble.HistGradientBoostingRegressor

KINDS: Mapping[str, Callable[[], Any]] = {
    "DataFrame pipeline": table_pipeline,
    "DataFrame pipeline with trees": ordinal_pipeline,
    "KMeans": lambda: cluster.KMeans(3, random_state=0, n_init=1).fit(X),
    "IsolationForest": lambda: ensemble.IsolationForest(n_estimators=20, random_state=0).fit(X),
    "OneClassSVM": lambda: svm.OneClassSVM().fit(X),
    "LocalOutlierFactor": lambda: neighbors.LocalOutlierFactor(novelty=True).fit(XD),
    "LinearSVC": lambda: svm.LinearSVC().fit(X, NAMES),
    "SVC": lambda: svm.SVC().fit(X, IS_LATER),
    "SVC with probability": lambda: svm.SVC(probability=True).fit(X, NAMES),
    "voting": lambda: votes(ensemble.VotingClassifier, LINEAR(), FOREST(5), voting="soft").fit(
        X, NAMES
    ),
    "stacking": lambda: votes(ensemble.StackingClassifier, LINEAR(), FOREST(5)).fit(X, NAMES),
    "multi-output regressor": lambda: multioutput.MultiOutputRegressor(linear_model.Ridge()).fit(
        XD, PAIRS
    ),
    "multi-output classifier": lambda: multioutput.MultiOutputClassifier(LINEAR()).fit(X, FLAGS),
    "CountVectorizer": lambda: CountVectorizer(ngram_range=(1, 2)).fit(DOCUMENTS),
    "TfidfVectorizer": lambda: TfidfVectorizer(stop_words="english").fit(DOCUMENTS),
    "char TF-IDF": lambda: make_pipeline(
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4)), LINEAR()
    ).fit(DOCUMENTS, LABELS),
    "HashingVectorizer": lambda: make_pipeline(
        HashingVectorizer(n_features=256, ngram_range=(1, 2)), linear_model.SGDClassifier()
    ).fit(DOCUMENTS, LABELS),
    "PCA": lambda: decomposition.PCA(2).fit(X),
    "scaler": lambda: preprocessing.StandardScaler().fit(X),
    "k nearest neighbours": lambda: neighbors.KNeighborsClassifier(weights="distance").fit(
        X + np.random.default_rng(0).normal(size=X.shape) / 100, NAMES
    ),
    "naive Bayes": lambda: naive_bayes.GaussianNB().fit(X, NAMES),
    "Gaussian process": lambda: gaussian_process.GaussianProcessRegressor(alpha=0.01).fit(
        XD[:50], YD[:50]
    ),
    "gradient boosting with categories": categorical_boosting,
    "multi-layer perceptron": lambda: neural_network.MLPClassifier((8,), max_iter=30).fit(X, NAMES),
    "linear model": lambda: linear_model.Ridge().fit(XD, YD),
    "calibrated": lambda: calibration.CalibratedClassifierCV(svm.LinearSVC()).fit(X, NAMES),
    "isotonic": lambda: isotonic.IsotonicRegression(out_of_bounds="clip").fit(XD[:, 2], YD),
    "GridSearchCV": lambda: model_selection.GridSearchCV(LINEAR(), {"C": [1, 2]}, cv=2).fit(
        X, NAMES
    ),
    "pipeline with SelectKBest": lambda: make_pipeline(
        preprocessing.StandardScaler(), SelectKBest(k=2), LINEAR()
    ).fit(X, NAMES),
    "transformed target": lambda: compose.TransformedTargetRegressor(
        make_pipeline(columns(), linear_model.Ridge()), func=np.log1p, inverse_func=np.expm1
    ).fit(TABLE, PRICE),
    "partial least squares": lambda: cross_decomposition.PLSRegression(2).fit(XD, YD),
    "quantile regression": lambda: linear_model.QuantileRegressor(alpha=0.01).fit(XD, YD),
    "bagging": lambda: ensemble.BaggingRegressor(n_estimators=5, random_state=0).fit(XD, YD),
    "AdaBoost": lambda: ensemble.AdaBoostClassifier(n_estimators=5).fit(X, NAMES),
    "extra trees": lambda: ensemble.ExtraTreesClassifier(5).fit(X, FLAGS),
    "discriminant analysis": lambda: discriminant_analysis.QuadraticDiscriminantAnalysis().fit(
        X, NAMES
    ),
    "gradient boosting": lambda: BOOSTED(max_iter=20).fit(XD, YD),
}


def compare(source: SklearnSource, batch: dict[str, Any]) -> None:
    """The graph's raw outputs are the estimator's own, with the specs' names, dtypes, shapes."""
    options = load_onnxruntime().SessionOptions()
    options.intra_op_num_threads = 1
    session = load_onnxruntime().InferenceSession(source.export().SerializeToString(), options)
    assert [one.name for one in session.get_inputs()] == [one.name for one in source.inputs]
    found = dict(
        zip([one.name for one in session.get_outputs()], session.run(None, batch), strict=True)
    )
    expected: dict[str, Any] = source.run(batch)
    assert list(found) == [spec.name for spec in source.outputs]
    for spec in source.outputs:
        assert found[spec.name].shape == expected[spec.name].shape
        if spec.dtype in ("string", "int64"):
            np.testing.assert_array_equal(found[spec.name], expected[spec.name])
        else:
            assert found[spec.name].dtype == spec.dtype
            np.testing.assert_allclose(found[spec.name], expected[spec.name], 2e-5, 2e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_agree_on_hard_samples(kind: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source = SklearnSource(KINDS[kind]())
    samples = source.hard_samples()
    assert len(samples) > 5
    compare(source, stack(samples))
    compare(source, stack(samples[:1]))


def test_columns_of_a_data_frame_are_inputs() -> None:
    source = SklearnSource(table_pipeline())
    assert [(spec.name, spec.dtype) for spec in source.inputs] == [
        ("age", "float32"),
        ("fare", "float32"),
        ("sex", "string"),
        ("port", "string"),
        ("class", "int64"),
    ]
    assert all(spec.shape == (None, 1) for spec in source.inputs)
    assert source.inputs[3].choices == ("C", "Q", "S")
    assert source.inputs[4].choices == (1, 2, 3)
    assert source.classes == ("no", "yes")
    samples = source.hard_samples()
    assert any(np.isnan(sample["age"][0]) for sample in samples)
    assert any(sample["port"][0] == "never seen before" for sample in samples)


def test_a_plain_estimator_names_its_columns() -> None:
    source = SklearnSource(FOREST(3).fit(TABLE[["age", "fare"]], SURVIVED))
    (spec,) = source.inputs
    assert (spec.name, spec.dtype, spec.shape) == ("X", "float32", (None, 2))
    assert spec.columns == ("age", "fare")


def test_text_is_a_list_of_strings() -> None:
    source = SklearnSource(TfidfVectorizer().fit(DOCUMENTS))
    (spec,) = source.inputs
    assert (spec.name, spec.dtype, spec.shape) == ("text", "string", (None,))


def test_scores_have_the_rank_of_decision_function() -> None:
    source = SklearnSource(svm.SVC().fit(X, IS_LATER))
    assert [(spec.name, spec.shape) for spec in source.outputs] == [
        ("predict", (None,)),
        ("decision_function", (None,)),
    ]


VECTORIZERS: Mapping[str, Any] = {
    "stop words and bigrams": TfidfVectorizer(stop_words="english", ngram_range=(1, 2)),
    "trigrams": TfidfVectorizer(ngram_range=(2, 3), sublinear_tf=True, norm="l1"),
    "own stop words": CountVectorizer(lowercase=False, ngram_range=(1, 2), stop_words=["the"]),
    "accents": TfidfVectorizer(strip_accents="unicode"),
    "accents to ASCII": TfidfVectorizer(strip_accents="ascii", ngram_range=(1, 2)),
    "one-letter words": CountVectorizer(token_pattern=r"(?u)\b\w+\b", binary=True),
    "anything but space": CountVectorizer(token_pattern=r"\S+", ngram_range=(1, 2)),
    "ASCII words": CountVectorizer(token_pattern=r"\b[a-z]{3,}\b", ngram_range=(1, 2)),
    "apostrophes": CountVectorizer(token_pattern=r"(?u)\b\w\w+(?:['’]\w+)?\b"),
    "numbers": CountVectorizer(token_pattern=r"\d+(?:[.,]\d+)?"),
    "characters": TfidfVectorizer(analyzer="char", ngram_range=(1, 3)),
    "characters in words": CountVectorizer(analyzer="char_wb", ngram_range=(1, 5)),
    "few words": TfidfVectorizer(min_df=2, max_features=5, use_idf=False),
    "hashed": HashingVectorizer(
        n_features=128, stop_words="english", ngram_range=(1, 2), alternate_sign=False
    ),
    "hashed characters": HashingVectorizer(n_features=128, analyzer="char", ngram_range=(2, 3)),
}


@pytest.mark.parametrize("name", VECTORIZERS)
def test_vectorizers_are_exact(name: str) -> None:
    generator = np.random.default_rng(0)
    letters = list("aAbBσςΣ .'’-\u0301éÉİßΩ\n\t世1_ ")
    made = ["".join(generator.choice(letters, 30)) for _ in range(30)]
    words = " ".join(DOCUMENTS).split()
    made += [" ".join(generator.choice(words, 12)).upper() for _ in range(20)]
    made += ["", " ", "\u3000", "Σ", "ΑΣ ΑΣ.Α", "x" * 2000]
    source = SklearnSource(VECTORIZERS[name].fit(DOCUMENTS))
    hard = [str(sample["text"]) for sample in source.hard_samples()]
    compare(source, {"text": np.array([*made, *hard], dtype=object)})
    compare(source, {"text": np.array([""], dtype=object)})


@pytest.mark.parametrize(
    "pattern", [r"(\w+)-?", r"ab|abc", r"\w+?", r"\w*", r"\b[a-z]+", r"(?i)[a-z]+", r"\w+(?=x)"]
)
def test_patterns_without_an_exact_counterpart_are_refused(pattern: str) -> None:
    with pytest.raises(ConversionFailed, match="no exact counterpart"):
        translate(pattern)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: CountVectorizer(tokenizer=str.split).fit(DOCUMENTS), "Python function"),
        (lambda: isotonic.IsotonicRegression(out_of_bounds="raise").fit(X[:, 0], X[:, 1]), "raise"),
        (
            lambda: gaussian_process.GaussianProcessClassifier().fit(X[:60], NAMES[:60]),
            "GaussianProcessClassifier",
        ),
        (lambda: cluster.DBSCAN().fit(X), "predict"),
        (lambda: neighbors.LocalOutlierFactor().fit(X), "novelty=True"),
    ],
)
def test_refusals_state_the_true_reason(make: Callable[[], Any], reason: str) -> None:
    model = make()
    with pytest.raises(ConversionFailed) as caught:
        SklearnSource(model).export()
    assert reason in f"{caught.value} {caught.value.hint}"


DATATYPES = {"string": "BYTES", "int64": "INT64", "float32": "FP32", "float64": "FP64"}


@pytest.mark.parametrize(
    "kind", ["table", pytest.param("text", marks=(pytest.mark.slow, pytest.mark.long))]
)
def test_raw_tensors_are_served(run_import: Any, serve: Any, tmp_path: Path, kind: str) -> None:
    """Imported in a process, served in another, asked for raw tensors over HTTP."""
    if kind == "table":
        model = ordinal_pipeline()
    else:
        words = TfidfVectorizer(stop_words="english", ngram_range=(1, 2))
        model = make_pipeline(words, LINEAR()).fit(DOCUMENTS, LABELS)
    joblib.dump(model, tmp_path / "model.joblib")
    done = run_import(str(tmp_path / "model.joblib"), "--trust", "--name", "model")
    assert done.returncode == 0, done.stderr
    source = SklearnSource(model)
    batch = stack(source.hard_samples()[:5])
    inputs = [
        {
            "name": spec.name,
            "shape": list(batch[spec.name].shape),
            "datatype": DATATYPES[spec.dtype],
            "data": batch[spec.name].reshape(-1).tolist(),
        }
        for spec in source.inputs
    ]
    url = f"{serve('model', store=tmp_path / 'store').url}/v2/models/model/infer"
    outputs = [{"name": spec.name} for spec in source.outputs]
    response = httpx.post(url, json={"inputs": inputs, "outputs": outputs}, timeout=30)
    assert response.status_code == 200, response.text
    found = {one["name"]: one for one in response.json()["outputs"]}
    expected: dict[str, Any] = source.run(batch)
    assert set(found) == set(expected)
    for spec in source.outputs:
        got = np.array(found[spec.name]["data"]).reshape(found[spec.name]["shape"])
        if spec.dtype == "string":
            assert got.tolist() == expected[spec.name].tolist()
        else:
            np.testing.assert_allclose(got, expected[spec.name], 2e-5, 2e-5)
