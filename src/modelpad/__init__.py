"""modelpad: your trained model, live in one command.

    import modelpad
    model = modelpad.load("digits")
    print(model("seven.png").label)

`save` puts a trained model into the store, `train` trains one, `tune` searches the options of a
training, `load` predicts in this process, `serve` starts a server with a page, and `Client` calls
one. Importing this package loads nothing
else: each name is loaded when it is first used.
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers know the name; importing it takes 20 milliseconds

if TYPE_CHECKING:
    from modelpad.api.models import Model as Model
    from modelpad.api.models import load as load
    from modelpad.api.saving import save as save
    from modelpad.api.serving import Server as Server
    from modelpad.api.serving import serve as serve
    from modelpad.api.training import Training as Training
    from modelpad.api.training import train as train
    from modelpad.api.tuning import Tuning as Tuning
    from modelpad.api.tuning import tune as tune
    from modelpad.client import AsyncClient as AsyncClient
    from modelpad.client import Client as Client
    from modelpad.errors import ModelpadError as ModelpadError
    from modelpad.prediction import Prediction as Prediction

__version__ = "0.1.0"
__all__ = [
    "AsyncClient",
    "Client",
    "Model",
    "ModelpadError",
    "Prediction",
    "Server",
    "Training",
    "Tuning",
    "__version__",
    "load",
    "save",
    "serve",
    "train",
    "tune",
]

_MODULES = {
    "AsyncClient": "client",
    "Client": "client",
    "Model": "api.models",
    "ModelpadError": "errors",
    "Prediction": "prediction",
    "Server": "api.serving",
    "Training": "api.training",
    "Tuning": "api.tuning",
    "load": "api.models",
    "save": "api.saving",
    "serve": "api.serving",
    "train": "api.training",
    "tune": "api.tuning",
}

if not TYPE_CHECKING:  # a type checker would take any name for one of these

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module 'modelpad' has no attribute {name!r}")
        from importlib import import_module

        value = getattr(import_module(f"modelpad.{_MODULES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({name for name in globals() if name.startswith("__")}.union(__all__))
