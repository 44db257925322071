"""Pickles and joblib files: opened only with trust; what is in them decides the converter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modelpad.convert.detect import refuse_pickle
from modelpad.convert.live import open_live
from modelpad.convert.source import ImportRequest, SourceModel
from modelpad.errors import ConversionFailed, MissingExtra, ModelpadError

FASTAI_WAY = (
    "Where fastai is installed, save its PyTorch module instead:"
    " torch.save(learn.model.state_dict(), 'weights.pt'), then"
    " modelpad import weights.pt --module my_net:make_net --input image:224x224x3,scale=imagenet"
)


def open_pickle(path: Path, request: ImportRequest) -> SourceModel:
    """The estimator, booster, module or fastai learner in a pickle.

    Raises:
        NotTrusted: without `request.trust`.
        MissingExtra: what it holds needs a package that is not installed.
        ConversionFailed: it cannot be read, or holds no model.
    """
    if not request.trust:
        raise refuse_pickle(path)
    return open_live(_load(path), request)


def _load(path: Path) -> Any:
    try:
        import joblib
    except ImportError:
        import pickle

        loader: Any = lambda name: pickle.loads(Path(name).read_bytes())  # noqa: E731
    else:
        loader = joblib.load
    try:
        return loader(path)
    except ModuleNotFoundError as error:
        raise name_missing(path, error) from error
    except Exception as error:
        raise ConversionFailed(
            f"{path.name} cannot be unpickled: {str(error)[:200]}",
            hint="Load it with the package versions that it was saved with.",
        ) from error


def name_missing(path: Path, error: ModuleNotFoundError) -> ModelpadError:
    """The error for a pickle of a package that is not installed, with the way round."""
    package = (error.name or "").partition(".")[0]
    if package == "fastai":
        return ConversionFailed(
            f"{path.name} is a fastai learner, and fastai is not installed.", hint=FASTAI_WAY
        )
    known = {"sklearn": "sklearn", "xgboost": "xgboost", "lightgbm": "lightgbm"}
    if package in known:
        return MissingExtra(package, extra=known[package])
    return ConversionFailed(
        f"{path.name} needs the package {package}, which is not installed.",
        hint="Import it where the model was trained.",
    )
