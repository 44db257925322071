"""The recipes, and the registry that maps their names to modules.

A recipe is a module or package with a `RECIPE`; add new ones to `RECIPES`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from modelpad.errors import UsageError, suggest_name

if TYPE_CHECKING:  # the names alone are also read by commands that train nothing
    from modelpad.training.recipe import Recipe

# Modules are imported on demand. They define a recipe, and import no framework.
RECIPES: dict[str, str] = {
    "digits": "modelpad.recipes.digits",
    "images": "modelpad.recipes.images",
    "reviews": "modelpad.recipes.reviews",
    "style": "modelpad.recipes.style",
    "writer": "modelpad.recipes.writer",
    "xray": "modelpad.recipes.xray",
}


def load_recipe(name: str) -> Recipe[Any]:
    """The recipe of that name. Raises `UsageError` if there is none."""
    if name not in RECIPES:
        raise UsageError(
            f"There is no recipe {name!r}.", hint=suggest_name(name, RECIPES, kind="recipe")
        )
    recipe: Recipe[Any] = import_module(RECIPES[name]).RECIPE
    return recipe
