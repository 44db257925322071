"""From a live object to the converter that knows its framework."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelpad.convert.source import ImportRequest, SourceModel
from modelpad.errors import ConversionFailed, UsageError

if TYPE_CHECKING:
    from modelpad.convert.pytorch import TorchSource


def open_live(model: Any, request: ImportRequest, example: Any = None) -> SourceModel:
    """A live model: Keras, PyTorch (with an example or `--input`), scikit-learn, XGBoost, LightGBM,
    a fastai learner or an `onnx.ModelProto`.

    Raises:
        UsageError: a PyTorch module without an example.
        ConversionFailed: it is none of these.
    """
    roots = {kind.__module__.partition(".")[0] for kind in type(model).__mro__}
    names = {kind.__name__ for kind in type(model).__mro__}
    if "keras" in roots and "Model" in names:
        from modelpad.convert.keras import KerasSource

        return KerasSource(model)
    if "fastai" in roots and "Learner" in names:
        source = _open_torch(model.model.cpu(), request, example, "fastai")
        source.classes = read_vocabulary(model)
        return source
    if "torch" in roots and "Module" in names:
        return _open_torch(model, request, example, "pytorch")
    if "xgboost" in roots:
        return _open_xgboost(model)
    if "lightgbm" in roots:
        return _open_lightgbm(model)
    if "BaseEstimator" in names and hasattr(model, "fit"):
        from modelpad.convert.sklearn import SklearnSource

        return SklearnSource(model)
    if "ModelProto" in names:
        from modelpad.convert.onnx import OnnxSource, check_domains

        check_domains(model, "the graph")
        return OnnxSource(model)
    raise ConversionFailed(
        f"A {type(model).__module__}.{type(model).__name__} is no model that modelpad knows.",
        hint="It knows Keras, PyTorch, scikit-learn, XGBoost, LightGBM, fastai and ONNX models.",
    )


def read_vocabulary(learner: Any) -> tuple[str, ...]:
    """The classes that a fastai learner tells apart; empty where it has none, or several lists."""
    words = getattr(getattr(learner, "dls", None), "vocab", None)
    if words is None or not all(isinstance(word, str | int) for word in words):
        return ()
    return tuple(str(word) for word in words)


def _open_torch(module: Any, request: ImportRequest, example: Any, framework: str) -> TorchSource:
    from modelpad.convert.pytorch import TorchSource, open_module, read_specs

    if example is not None:
        return open_module(module, example, framework=framework)
    if not request.inputs:
        raise UsageError(
            "A PyTorch module does not tell what it takes.",
            hint="Give an example, or describe it: image:224x224x3, or tensor:float32[4].",
        )
    return TorchSource(module, read_specs(request, "The module"), "Module", framework=framework)


def _open_xgboost(model: Any) -> SourceModel:
    from modelpad.convert.xgboost import XGBoostSource

    source = XGBoostSource(model.get_booster() if hasattr(model, "get_booster") else model)
    return _with_classes(source, model)


def _open_lightgbm(model: Any) -> SourceModel:
    from modelpad.convert.lightgbm import LightGBMSource

    source = LightGBMSource(model.booster_ if hasattr(model, "booster_") else model)
    return _with_classes(source, model)


def _with_classes(source: Any, model: Any) -> SourceModel:
    """The source with the estimator's own class names, where it has them."""
    classes = getattr(model, "classes_", None)
    if classes is not None and len(classes) == len(source.classes):
        source.classes = tuple(str(name) for name in classes)
    opened: SourceModel = source
    return opened
