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


def load_searchable(name: str) -> Recipe[Any]:
    """The recipe of that name, whose options can be searched. Raises `UsageError`."""
    recipe = load_recipe(name)
    if recipe.search_space is None:
        others = [each for each in RECIPES if load_recipe(each).search_space is not None]
        raise UsageError(
            f"{name} has no search space: no figure says which of its models is better.",
            hint=f"Recipes that can be searched: {', '.join(others)}.",
        )
    return recipe
