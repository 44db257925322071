"""Opens model objects of any framework that are already in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

from modelpad.convert.source import ImportRequest, SourceModel
from modelpad.errors import ConversionFailed, UsageError

if TYPE_CHECKING:
    import catboost
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
    """Opens a model object of any supported framework, or an ONNX graph.

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
        from modelpad.convert.xgboost import open_xgboost_object

        return open_xgboost_object(cast("xgboost.Booster | xgboost.XGBModel", model))
    if "lightgbm" in roots:
        from modelpad.convert.lightgbm import open_lightgbm_object

        return open_lightgbm_object(cast("lightgbm.Booster | lightgbm.LGBMModel", model))
    if "catboost" in roots:
        from modelpad.convert.catboost import CatBoostSource

        return CatBoostSource(cast("catboost.CatBoost", model))
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
        hint="Supported: Keras, PyTorch, scikit-learn, XGBoost, LightGBM, CatBoost, fastai and ONNX"
        " models.",
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
