"""All recipes by name; add a new recipe here."""

from typing import Any

from ...tasks.registry import DEFAULT, TASKS
from .ablation import AblationRecipe
from .fast import FastRecipe
from .paper import PaperRecipe
from .path import PathRecipe
from .recipe import Recipe

RECIPES: dict[str, Recipe] = {one.name: one for one in (PathRecipe(), FastRecipe(), PaperRecipe(), AblationRecipe())}


def recipe_config(
    recipe: str, masking: str = "input", task: str = DEFAULT, target: str | None = None
) -> dict[str, Any]:
    """
    Config fields that a recipe sets. All can be changed except `objective` and `path_gradient`.

    Args:
        recipe (`str`): `"ablation"`, `"path"`, `"fast"` or `"paper"`.
        masking (`str`, *optional*, defaults to `"input"`): Where units are masked.
        task (`str`, *optional*, defaults to `"text-classification"`): What the base model predicts.
        target (`str`, *optional*):
            What a path preserves; by default the predicted choice if the task has choices, else the whole output.

    Returns:
        `dict`: Fields of [`DiffMaskConfig`].

    Raises:
        DiffMaskError: If the recipe has no target, or the task does not have this target.
    """
    return RECIPES[recipe].config(masking, TASKS[task].has_choices, target)
