"""Pickles and joblib files, which are opened only with trust, whatever model they contain."""

from __future__ import annotations

import pickle
from pathlib import Path

from modelpad.convert.objects import open_object
from modelpad.convert.source import ImportRequest, SourceModel
from modelpad.errors import ConversionFailed, MissingExtra, ModelpadError, NotTrusted

FASTAI_HINT = (
    "Where fastai is installed, save its PyTorch module instead:"
    " torch.save(learn.model.state_dict(), 'weights.pt'), then"
    " modelpad import weights.pt --module my_net:make_net --input image:224x224x3,scale=imagenet"
)


def open_pickle(path: Path, request: ImportRequest) -> SourceModel:
    """The estimator, booster, module or fastai learner in a pickle.

    Raises:
        NotTrusted: without `request.trust`.
        MissingExtra: what it holds needs a package that is not installed.
        ConversionFailed: it cannot be read, or does not contain a supported model.
    """
    if not request.trust:
        raise NotTrusted(
            f"{path.name} is a pickle, which runs any code in it when it is opened.",
            hint="If you made it or trust its author, import it with --trust.",
            found=["pickle"],
        )
    return open_object(_load(path), request)


def _load(path: Path) -> object:
    try:
        import joblib
    except ImportError:
        joblib = None
    try:
        if joblib is None:
            return pickle.loads(path.read_bytes())
        loaded: object = joblib.load(path)
        return loaded
    except ModuleNotFoundError as error:
        raise missing_package(path, error) from error
    except Exception as error:
        raise ConversionFailed(
            f"{path.name} cannot be unpickled: {str(error)[:200]}",
            hint="Load it with the package versions that it was saved with.",
        ) from error


def missing_package(path: Path, error: ModuleNotFoundError) -> ModelpadError:
    """The error for a pickle that needs a package that is not installed, with a workaround."""
    package = (error.name or "").partition(".")[0]
    if package == "fastai":
        return ConversionFailed(
            f"{path.name} is a fastai learner, and fastai is not installed.", hint=FASTAI_HINT
        )
    known = {
        "sklearn": "sklearn",
        "xgboost": "xgboost",
        "lightgbm": "lightgbm",
        "catboost": "catboost",
    }
    if package in known:
        return MissingExtra(package, extra=known[package])
    return ConversionFailed(
        f"{path.name} needs the package {package}, which is not installed.",
        hint="Import it where the model was trained.",
    )
