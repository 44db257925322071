"""Custom losses, metrics and callbacks for Keras recipes: by Keras name, or from user code."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType

import keras
import numpy as np
from numpy.typing import NDArray

from modelpad.errors import UsageError, first_line, suggest_name
from modelpad.training.findings import Findings
from modelpad.training.options import KerasOptions
from modelpad.training.user_objects import is_reference, load_object

ALWAYS_MEASURED = ("accuracy", "acc")


@dataclass(frozen=True, slots=True)
class Custom:
    """The loss, metrics and callbacks of a training: the recipe's own and those the user requested.

    `metrics` maps names to the requested metrics; `classes` is the number of classes.
    """

    classes: int
    loss: keras.losses.Loss
    metrics: Mapping[str, object]
    callbacks: Sequence[keras.callbacks.Callback]

    @property
    def one_hot(self) -> bool:
        """Whether the loss takes one-hot labels; one whose name begins with `sparse` does not."""
        return not _name_of(self.loss).lower().startswith("sparse")

    def encode(self, labels: NDArray[np.int64]) -> NDArray[np.generic]:
        """Labels (N,) as the loss expects them: one-hot float32 (N, classes), or unchanged."""
        return np.eye(self.classes, dtype=np.float32)[labels] if self.one_hot else labels

    def compile(self, model: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
        """Compiles a model with this loss and these metrics."""
        metrics = ["accuracy", *self.metrics.values()]
        model.compile(optimizer, self.loss, metrics=metrics)

    def measure(self, labels: NDArray[np.int64], scores: NDArray[np.float32]) -> Findings:
        """The requested metrics over a test split, as `test_NAME`."""
        return _measure_all(self.metrics, self.encode(labels), scores, "test")


@dataclass(frozen=True, slots=True)
class UserMetrics:
    """Metrics that the user requested, by name, for a model of any framework."""

    metrics: Mapping[str, object]

    def measure(
        self, targets: NDArray[np.generic], scores: NDArray[np.float32], prefix: str
    ) -> Findings:
        """Each over all items, as `PREFIX_NAME`. `targets` have the shape of `scores` (N, K)."""
        return _measure_all(self.metrics, targets, scores, prefix)


def resolve_metrics(
    texts: Sequence[str], targets: NDArray[np.generic], scores: NDArray[np.float32]
) -> UserMetrics:
    """Resolves `--metric`, and tries each on a few `targets` and `scores`, both (N, K).

    Raises:
        UsageError: one is unknown, has the wrong type, or fails when it is tried.
    """
    metrics = _find_metrics(texts)
    for name, metric in metrics.items():
        _try(metric, "--metric", name, (targets, scores))
    return UserMetrics(metrics)


def resolve_custom(options: KerasOptions, loss: keras.losses.Loss, classes: int) -> Custom:
    """Resolves `--loss`, `--metric` and `--callback`; `loss` is the recipe's default.

    Losses and metrics are tried on two dummy items of `classes` classes.

    Raises:
        UsageError: one is unknown, has the wrong type, or fails when it is tried.
    """
    if options.loss is not None:
        loss = _find(options.loss, "--loss", keras.losses, keras.losses.Loss)
    metrics = _find_metrics(options.metric)
    callbacks = [
        _find(text, "--callback", keras.callbacks, keras.callbacks.Callback)
        for text in options.callback
    ]
    custom = Custom(classes, loss, metrics, callbacks)
    _try_out(custom, options)
    return custom


def _find_metrics(texts: Sequence[str]) -> dict[str, object]:
    """The metrics that `texts` name, but for those that are always measured."""
    found = [
        _find(text, "--metric", keras.metrics, keras.metrics.Metric)
        for text in texts
        if text not in ALWAYS_MEASURED
    ]
    return {_name_of(metric): metric for metric in found}


def _find(text: str, option: str, module: ModuleType, kind: type) -> object:
    """The object that `text` names: an instance of `kind`, or a function where Keras allows it."""
    word = kind.__name__.lower()
    if is_reference(text):
        found = load_object(text, option)
    else:
        found = _find_by_name(text, option, module, word)
    if isinstance(found, kind):
        return found
    if inspect.isclass(found) and not issubclass(found, kind):
        raise _wrong_kind(text, option, word, f"a class that is not a keras {kind.__name__}")
    if inspect.isclass(found) or (word == "callback" and callable(found)):
        found = _make(found, text, option)
        if not isinstance(found, kind):
            raise _wrong_kind(text, option, word, f"a factory that returns {type(found).__name__}")
        return found
    if not callable(found) or word == "callback":
        raise _wrong_kind(text, option, word, f"of type {type(found).__name__}")
    return found


def _find_by_name(text: str, option: str, module: ModuleType, word: str) -> object:
    """A built-in of Keras, as `CategoricalHinge` or `categorical_hinge`."""
    known = {name: value for name, value in vars(module).items() if callable(value)}
    for hidden in ("get", "serialize", "deserialize", "Loss", "Metric", "Callback"):
        known.pop(hidden, None)
    found = known.get(text)
    if found is None and word != "callback":
        try:
            found = module.get(text)
        except (ValueError, TypeError):
            found = None
    if found is None:
        raise UsageError(
            f"{option} {text}: Keras has no {word} of that name.",
            hint=suggest_name(text, known, kind=word) + " For your own, give FILE.py:OBJECT.",
        )
    return found


def _make(factory: Callable[[], object], text: str, option: str) -> object:
    try:
        return factory()
    except Exception as error:
        raise UsageError(
            f"{option} {text} cannot be created without arguments: {first_line(error, 200)}",
            hint="Create it with its arguments in a Python file,"
            f" and pass that object: {option} FILE.py:OBJECT",
        ) from error


def _wrong_kind(text: str, option: str, word: str, what: str) -> UsageError:
    return UsageError(
        f"{option} {text} is {what}, not a {word}.",
        hint="docs/training.md has examples of custom objects.",
    )


def _try_out(custom: Custom, options: KerasOptions) -> None:
    """Evaluates losses and metrics on two items, so that a broken one fails early and by name."""
    targets = custom.encode(np.array([0, custom.classes - 1]))
    scores = np.full((2, custom.classes), 1 / custom.classes, dtype=np.float32)
    tried = [("--metric", name, metric) for name, metric in custom.metrics.items()]
    if options.loss is not None:
        tried.append(("--loss", options.loss, custom.loss))
    for option, text, found in tried:
        _try(found, option, text, (targets, scores))


def _try(
    found: object,
    option: str,
    text: str,
    example: tuple[NDArray[np.generic], NDArray[np.float32]],
) -> None:
    targets, scores = example
    try:
        _measure(found, targets, scores)
    except Exception as error:
        raise UsageError(
            f"{option} {text} fails on labels of shape {targets.shape} and predictions of"
            f" shape {scores.shape}: {type(error).__name__}: {first_line(error, 200)}",
            hint="Labels are one-hot unless the loss's name begins with 'sparse'.",
        ) from error


def _measure_all(
    metrics: Mapping[str, object],
    targets: NDArray[np.generic],
    scores: NDArray[np.float32],
    prefix: str,
) -> Findings:
    """Each metric as `PREFIX_NAME`; a warning in place of one that is not finite."""
    found = {f"{prefix}_{name}": _measure(each, targets, scores) for name, each in metrics.items()}
    return Findings(
        metrics={name: value for name, value in found.items() if np.isfinite(value)},
        warnings=[
            f"The metric {name} was left out: its value is {value}."
            for name, value in found.items()
            if not np.isfinite(value)
        ],
    )


def _measure(found: object, targets: NDArray[np.generic], scores: NDArray[np.float32]) -> float:
    """A metric, loss or function over all items."""
    truth = keras.ops.convert_to_tensor(targets)
    predictions = keras.ops.convert_to_tensor(scores)
    if isinstance(found, keras.metrics.Metric):
        found.reset_state()
        found.update_state(truth, predictions)
        value = found.result()
        found.reset_state()
    else:
        assert callable(found)
        value = keras.ops.mean(found(truth, predictions))
    return float(keras.ops.convert_to_numpy(value))


def _name_of(found: object) -> str:
    """`focal` for the function, the name of a loss or metric object otherwise."""
    name = getattr(found, "__name__", None) or getattr(found, "name", None)
    return str(name or type(found).__name__)
