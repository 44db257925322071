"""What a model is called that is trained, and what is said of it afterwards."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelpad.bundle.manifest import check_name
from modelpad.errors import UsageError

if TYPE_CHECKING:
    from modelpad.store import LocalStore
    from modelpad.training.recipe import Recipe

MAX_NAME = 40


def choose_name(recipe: Recipe[Any], given: str | None, data: str, store: LocalStore) -> str:
    """The name that was given, else that of the recipe or of the data.

    Raises `UsageError` for a name that is not valid, and as `name_after`.
    """
    if given:
        check_name(given)
        return given
    return name_after(data, store) if recipe.named_after_data else recipe.name


def title_data(data: str) -> str:
    """The name of the data's folder or file, without suffixes."""
    path = Path(data).expanduser()
    return (path.resolve() if path.exists() else path).name.partition(".")[0]


def name_data(data: str) -> str:
    """A model's name from the data's title."""
    return re.sub(r"[^a-z0-9]+", "-", title_data(data).lower()).strip("-")[:MAX_NAME] or "images"


def name_after(data: str, store: LocalStore) -> str:
    """A model's name from its data: that of the folder or file, as far as names may contain it.

    Raises `UsageError` if a built-in model, or one that was trained on other data, has that name.
    """
    from modelpad.zoo import zoo_bundles

    title, name = title_data(data), name_data(data)
    hint = f"Choose another name, for example --name my-{name}"
    if name in zoo_bundles():
        raise UsageError(f"{name} is the name of a built-in model.", hint=hint)
    if name in store.names():
        trained = store.open(name, verify=False).manifest.training.get("data")
        if trained != title:
            raise UsageError(f"The store already has another model called {name}.", hint=hint)
    return name


def describe_metrics(metrics: Mapping[str, float]) -> str:
    """The metrics on one line: "Test accuracy 99.60 %, drawn accuracy 99.40 %"."""
    from modelpad.training.report_page import format_metric, name_metric

    if not metrics:
        return "No metrics"
    parts = [f"{name_metric(name)} {format_metric(name, n)}" for name, n in metrics.items()]
    return ", ".join([parts[0], *(each[0].lower() + each[1:] for each in parts[1:])])
