"""Hard inputs for scikit-learn estimators, drawn from what they have learnt."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from modelpad.convert.sklearn_inputs import (
    TEXT,
    VECTORIZERS,
    Inputs,
    find_front,
    steps_of,
    walk,
)
from modelpad.convert.source import TensorSpec
from modelpad.errors import ConversionFailed, ModelpadError, first_line
from modelpad.fields.arrays import Array, Arrays

MAX_THRESHOLDS = 16
MAX_CHOICES = 8
# Attributes that describe the data that an estimator was fitted on, one value for each column.
LEARNT = (
    "mean_",
    "statistics_",
    "center_",
    "data_min_",
    "data_max_",
    "cluster_centers_",
    "support_vectors_",
    "_fit_X",
    "theta_",
    "means_",
    "X_train_",
    "location_",
    "quantiles_",
    "xbar_",
    "_x_mean",
)
UNSEEN = "never seen before"
WORDS = ("good", "bad", "model", "data")


def find_samples(
    inputs: Inputs, estimator: Any, call: Callable[[Arrays], Arrays]
) -> Sequence[Arrays]:
    """Raw single items that the estimator accepts, the plainest first.

    Raises `ConversionFailed` if it accepts none.
    """
    candidates = list(_candidates(inputs, estimator))
    if _accepts(call, candidates) is None:
        return candidates
    reasons = [(one, _accepts(call, [one])) for one in candidates]
    accepted = [one for one, reason in reasons if reason is None]
    if not accepted:
        reason = next((text for _, text in reasons if text), "no sample")
        raise ConversionFailed(
            f"The {type(estimator).__name__} rejects every input tried: {reason}",
            hint="Give inputs that it accepts with --samples.",
        )
    return accepted


def _accepts(call: Callable[[Arrays], Arrays], items: Sequence[Arrays]) -> str | None:
    """Why the estimator does not take the items; None if it does."""
    try:
        results = call(stack(items))
    except ModelpadError:
        raise
    except Exception as error:
        return first_line(error, 200)
    numbers = [value for value in results.values() if value.dtype.kind == "f"]
    return None if all(np.isfinite(value).all() for value in numbers) else "it gives no number"


def stack(items: Sequence[Arrays]) -> Arrays:
    """Items as a batch."""
    return {name: np.stack([item[name] for item in items]) for name in items[0]}


def _candidates(inputs: Inputs, estimator: Any) -> Iterator[Arrays]:
    if inputs.form == "text":
        for text in hard_texts(estimator):
            yield {TEXT: np.array(text, dtype=object)}
    elif inputs.form == "matrix":
        spec = inputs.specs[0]
        for row in _rows(spec, estimator):
            yield {spec.name: row}
    else:
        yield from _frames(inputs, estimator)


def hard_texts(estimator: Any) -> list[str]:
    """Texts that are hard for the vectorizers: stop words between words, accents, upper case."""
    vectorizers = [one for one in walk(estimator) if type(one).__name__ in VECTORIZERS]
    texts: list[str] = []
    for vectorizer in vectorizers:
        known = sorted(getattr(vectorizer, "vocabulary_", {})) or list(WORDS)
        chosen = known[:: max(1, len(known) // 6)][:6]
        stops = sorted(map(str, vectorizer.get_stop_words() or ("a", "the")))[::50]
        texts.append(" ".join(chosen))
        texts += chosen[:3]
        texts += [_between(chosen, f" {stop} ") for stop in stops[:4]]
        texts += [_between(chosen, between) for between in (", ", "-", "\n\n", "_", "' ", "  \t")]
        texts += [text.upper() for text in chosen[:2]] + [" ".join(chosen).title()]
        texts += [f"{chosen[0]}\u0301 {chosen[-1]}s", "".join(chosen), chosen[0][:1]]
        texts.append(" ".join(chosen * 100))
    texts += [
        "",
        "   ",
        "?!",
        "a I x",
        "3.14 1,000 42",
        "Déjà-vu à l'ÉTÉ",
        "ΟΔΥΣΣΕΥΣ ΣΟΦΟΣ.",
        "Straße",
    ]
    texts += ["İstanbul ﬁne ½", "你好 世界", "unseen wordlike zzzz", " leading and trailing "]
    return list(dict.fromkeys(texts))


def _between(words: Sequence[str], between: str) -> str:
    """The words' parts, so that n-grams too are torn apart."""
    return between.join(" ".join(words).split())


def _rows(spec: TensorSpec, estimator: Any) -> Iterator[Array]:
    width = spec.shape[1] or 1
    if spec.dtype == "string":
        yield from _string_rows(find_front(estimator), width)
        return
    front = find_front(estimator)
    bases: list[Any] = [*_learnt_rows(estimator, width), np.zeros(width), np.linspace(-1, 1, width)]
    rows = [bases[0], *(bases[:6]), np.ones(width), -np.abs(bases[0]) - 1, bases[0] * 10]
    rows += [bases[0] + 0.5, np.full(width, 1000.0), np.linspace(0, 3, width)]
    for row in rows:
        yield row.astype(spec.dtype)
    if hasattr(front, "predict"):
        for at, value in _edges(estimator, np.dtype(spec.dtype), width):
            row = bases[0].astype(spec.dtype)
            row[at] = value
            yield row
    if np.dtype(spec.dtype).kind == "f":
        for missing in ([0], [width - 1], range(width)):
            row = bases[0].astype(spec.dtype)
            row[list(missing)] = np.nan
            yield row
    categories = getattr(front, "categories_", ())
    for at, values in enumerate(categories):
        for value in (*values[:MAX_CHOICES], max(values) + 1):
            row = np.array([one[0] for one in categories], spec.dtype)
            row[at] = value
            yield row


def _string_rows(front: Any, width: int) -> Iterator[Array]:
    categories = getattr(front, "categories_", [[UNSEEN]] * width)
    base = [str(values[0]) for values in categories]
    yield np.array(base, dtype=object)
    for at, values in enumerate(categories):
        for value in (*values[:MAX_CHOICES], UNSEEN, ""):
            row = [*base]
            row[at] = str(value)
            yield np.array(row, dtype=object)


def _learnt_rows(estimator: Any, width: int) -> list[Array]:
    """Rows like those that the estimator was fitted on."""
    rows: list[Array] = []
    for one in walk(estimator):
        for name in LEARNT:
            value = vars(one).get(name)
            if not isinstance(value, np.ndarray) or value.dtype.kind != "f" or not value.size:
                continue
            if value.shape[-1] == width and value.ndim in (1, 2):
                rows += list(value.reshape(-1, width)[:6])
        if width == 1 and "X_thresholds_" in vars(one):
            rows += [np.array([value]) for value in one.X_thresholds_[:6]]
    return [row for row in rows if np.isfinite(row).all()]


def thresholds(estimator: Any) -> list[tuple[int, float]]:
    """The features and thresholds of all trees."""
    found: list[tuple[int, float]] = []
    for one in walk(estimator):
        tree: Any = getattr(one, "tree_", None)
        if hasattr(tree, "threshold"):
            inner = tree.feature >= 0
            pairs = zip(tree.feature[inner], tree.threshold[inner], strict=True)
            found += [(int(at), float(value)) for at, value in pairs]
        for predictors in getattr(one, "_predictors", ()):
            for predictor in predictors:
                nodes = predictor.nodes
                nodes = nodes[(nodes["is_leaf"] == 0) & (nodes["is_categorical"] == 0)]
                pairs = zip(nodes["feature_idx"], nodes["num_threshold"], strict=True)
                found += [(int(at), float(value)) for at, value in pairs]
        if one is estimator and "X_thresholds_" in vars(one):
            found += [(0, float(value)) for value in one.X_thresholds_]
    return found


def _edges(estimator: Any, dtype: np.dtype[Any], width: int) -> Iterator[tuple[int, Any]]:
    """Features with values on the thresholds of trees, and one step beside them."""
    pairs = sorted({pair for pair in thresholds(estimator) if pair[0] < width})
    for at, value in pairs[:: max(1, len(pairs) // MAX_THRESHOLDS)][:MAX_THRESHOLDS]:
        exact = np.array(value).astype(dtype)
        if np.isfinite(exact):
            yield at, exact
            yield at, np.nextafter(exact, dtype.type(np.inf))
            yield at, np.nextafter(exact, dtype.type(-np.inf))


def _frames(inputs: Inputs, estimator: Any) -> Iterator[Arrays]:
    front = find_front(estimator)
    numbers = _typical_numbers(front, inputs)
    base = {spec.name: _cell(spec, _plain(spec, numbers)) for spec in inputs.specs}
    yield base
    for spec in inputs.specs:
        for value in _values(spec, numbers.get(spec.name, 0.0), estimator):
            yield {**base, spec.name: _cell(spec, value)}
    for turn in range(1, 6):
        yield {
            spec.name: _cell(
                spec,
                spec.choices[turn % len(spec.choices)]
                if spec.choices
                else _plain(spec, numbers)
                if spec.dtype == "string"
                else numbers.get(spec.name, 0.0) * (1 + turn / 4) + turn,
            )
            for spec in inputs.specs
        }


def _plain(spec: TensorSpec, numbers: Mapping[str, float]) -> Any:
    if spec.choices:
        return spec.choices[0]
    return UNSEEN if spec.dtype == "string" else numbers.get(spec.name, 0.0)


def _cell(spec: TensorSpec, value: Any) -> Array:
    return np.array([value], dtype=object if spec.dtype == "string" else spec.dtype)


def _values(spec: TensorSpec, typical: float, estimator: Any) -> Iterator[Any]:
    yield from spec.choices[:MAX_CHOICES]
    if spec.dtype == "string":
        yield from (UNSEEN, "") if spec.choices else hard_texts(estimator)[:20]
        return
    if spec.dtype == "int64":
        yield from (max(spec.choices, default=0), 10**6, -1)
        return
    yield from (0.0, -1.0, typical * 10, typical + 0.5, 1000.0, float("nan"))
    found = sorted({value for _, value in thresholds(estimator)})
    for value in found[:: max(1, len(found) // 4)][:4]:
        yield from (value, np.nextafter(value, np.inf), np.nextafter(value, -np.inf))


def _typical_numbers(front: Any, inputs: Inputs) -> dict[str, float]:
    """A typical value of each column, from the steps that it passes."""
    names = [str(name) for name in getattr(front, "feature_names_in_", ())]
    labels = names or [f"x{at}" for at in range(getattr(front, "n_features_in_", 0))]
    known = {spec.name for spec in inputs.specs}
    typical: dict[str, float] = {}
    for name, transformer, _ in getattr(front, "transformers_", ()):
        for inside, at in enumerate(front._transformer_to_input_indices.get(name, ())):
            for step in steps_of(transformer):
                value = _learnt_value(step, inside)
                if value is not None and labels[at] in known:
                    typical.setdefault(labels[at], value)
    return typical


def _learnt_value(step: Any, at: int) -> float | None:
    for name in ("mean_", "statistics_", "center_", "data_min_"):
        values = vars(step).get(name)
        if isinstance(values, np.ndarray) and values.ndim == 1 and at < len(values):
            value = values[at]
            if isinstance(value, float | np.floating) and np.isfinite(value):
                return float(value)
    return None
