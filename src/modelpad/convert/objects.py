"""Opens model objects of any framework that are already in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

from modelpad.convert.source import ImportRequest, SourceModel
from modelpad.errors import ConversionFailed, UsageError

if TYPE_CHECKING:
    import keras
    import lightgbm
    import onnx
    import torch
    import xgboost
    from sklearn.base import BaseEstimator

    from modelpad.convert.pytorch import TorchSource


class Learner(Protocol):
    """A fastai learner."""

    model: torch.nn.Module


def open_object(model: object, request: ImportRequest, example: object = None) -> SourceModel:
    """Opens a model object: Keras, PyTorch, scikit-learn, XGBoost, LightGBM, fastai or ONNX.

    A PyTorch module needs an `example` of its arguments, or `request.inputs`.

    Raises:
        UsageError: a PyTorch module has neither.
        ConversionFailed: the object is not a supported model.
    """
    roots = {kind.__module__.partition(".")[0] for kind in type(model).__mro__}
    names = {kind.__name__ for kind in type(model).__mro__}
    if "keras" in roots and "Model" in names:
        from modelpad.convert.keras_source import KerasSource

        return KerasSource(cast("keras.Model", model), request)
    if "fastai" in roots and "Learner" in names:
        learner = cast("Learner", model)
        source = _open_torch(learner.model.cpu(), request, example, "fastai")
        source.classes = read_vocabulary(learner)
        return source
    if "torch" in roots and "Module" in names:
        return _open_torch(cast("torch.nn.Module", model), request, example, "pytorch")
    if "xgboost" in roots:
        return _open_xgboost(cast("xgboost.Booster | xgboost.XGBModel", model))
    if "lightgbm" in roots:
        return _open_lightgbm(cast("lightgbm.Booster | lightgbm.LGBMModel", model))
    if "BaseEstimator" in names and hasattr(model, "fit"):
        from modelpad.convert.sklearn import SklearnSource

        return SklearnSource(cast("BaseEstimator", model))
    if "ModelProto" in names:
        from modelpad.convert.onnx import OnnxSource, check_domains

        graph = cast("onnx.ModelProto", model)
        check_domains(graph, "the graph")
        return OnnxSource(graph)
    raise ConversionFailed(
        f"A {type(model).__module__}.{type(model).__name__} is not a supported model.",
        hint="Supported: Keras, PyTorch, scikit-learn, XGBoost, LightGBM, fastai and ONNX models.",
    )


def read_vocabulary(learner: object) -> tuple[str, ...]:
    """A fastai learner's class names; empty if it has none, or several lists of them."""
    names = getattr(getattr(learner, "dls", None), "vocab", None)
    if names is None or not all(isinstance(name, str | int) for name in names):
        return ()
    return tuple(str(name) for name in names)


def _open_torch(
    module: torch.nn.Module, request: ImportRequest, example: object, framework: str
) -> TorchSource:
    from modelpad.convert.pytorch import TorchSource, open_module, read_specs

    if example is not None:
        return open_module(module, example, framework=framework)
    if not request.inputs:
        raise UsageError(
            "A PyTorch module does not declare its input shapes.",
            hint="Give an example, or describe them: image:224x224x3, or tensor:float32[4].",
        )
    return TorchSource(
        module, read_specs(request, "The module"), "Module", framework=framework, request=request
    )


def _open_xgboost(model: xgboost.Booster | xgboost.XGBModel) -> SourceModel:
    from modelpad.convert.xgboost import XGBoostSource

    booster = model.get_booster() if hasattr(model, "get_booster") else model
    return XGBoostSource(cast("xgboost.Booster", booster), _class_names(model))


def _open_lightgbm(model: lightgbm.Booster | lightgbm.LGBMModel) -> SourceModel:
    from modelpad.convert.lightgbm import LightGBMSource

    booster = getattr(model, "booster_", model)
    return LightGBMSource(cast("lightgbm.Booster", booster), _class_names(model))


def _class_names(model: object) -> tuple[str, ...]:
    """An estimator's class names; empty for a booster."""
    classes = getattr(model, "classes_", None)
    return () if classes is None else tuple(str(name) for name in classes)
