"""What a training is asked for: by the command line and by Python alike."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelpad.recipes.naming import choose_name
from modelpad.training.run import TrainRequest

if TYPE_CHECKING:
    from modelpad.store import Store
    from modelpad.training.recipe import Recipe


def build_request(
    recipe: Recipe[Any],
    options: object,
    data: str | None,
    store: Store,
    *,
    name: str | None,
    runs: Path,
    **common: Any,
) -> TrainRequest:
    """The request for a version in `store`, with its run folder in `runs`.

    `options` are the recipe's own, `data` its default data set if None, and `common` the other
    fields of the request. Raises `UsageError` for a name, a number or a store that is not suitable,
    before anything is computed.
    """
    source = recipe.data_sets[0] if data is None else data
    model = choose_name(recipe, name, source, store)
    store.check_writable()
    return TrainRequest(
        name=model,
        data=source,
        folder=runs / recipe.folder_name(model, options),
        store=store.location,
        **common,
    )
