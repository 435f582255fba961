"""All recipes by name. A new recipe is one line here."""

from typing import Any

from ...tasks.registry import DEFAULT, TASKS
from .fast import FastRecipe
from .paper import PaperRecipe
from .path import PathRecipe
from .recipe import Recipe

RECIPES: dict[str, Recipe] = {one.name: one for one in (PathRecipe(), FastRecipe(), PaperRecipe())}


def recipe_config(
    recipe: str, masking: str = "input", task: str = DEFAULT, target: str | None = None
) -> dict[str, Any]:
    """
    What a recipe makes of an explainer; all but `objective` and `path_gradient`, which it relies on, can be changed.

    Args:
        recipe (`str`): `"path"`, `"fast"` or `"paper"`.
        masking (`str`, *optional*, defaults to `"input"`): Where units are masked.
        task (`str`, *optional*, defaults to `"text-classification"`): What the base model predicts.
        target (`str`, *optional*):
            What a path preserves. By default the predicted choice, where the task has choices, and else the whole
            output.

    Returns:
        `dict`: Fields of [`DiffMaskConfig`].

    Raises:
        DiffMaskError: If a target is named for a recipe that has none, or one that the task does not have.
    """
    return RECIPES[recipe].config(masking, TASKS[task].has_choices, target)
