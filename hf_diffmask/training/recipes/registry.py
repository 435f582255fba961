"""All recipes by name; add a new recipe here."""

from typing import Any

from ...errors import RETIRED, DiffMaskError, retired
from ...masks.registry import MASKS
from ...tasks.registry import DEFAULT, TASKS
from .ablation import AblationRecipe
from .paper import PaperRecipe
from .recipe import Recipe

RECIPES: dict[str, Recipe] = {one.name: one for one in (AblationRecipe(), PaperRecipe())}
DEFAULT_RECIPE = AblationRecipe.name


def recipe_of(name: str) -> Recipe:
    """
    A recipe by its name.

    Args:
        name (`str`): `"ablation"` or `"paper"`.

    Returns:
        [`Recipe`]

    Raises:
        DiffMaskError: If there is no such recipe, or it has been retired.
    """
    if name in RETIRED:
        raise retired(name)
    if name not in RECIPES:
        raise DiffMaskError(f"The recipe must be one of {', '.join(RECIPES)}, but is {name!r}.")
    return RECIPES[name]


def recipe_config(
    recipe: str = DEFAULT_RECIPE,
    masking: str = "input",
    task: str = DEFAULT,
    target: str | None = None,
    unit: str = "token",
) -> dict[str, Any]:
    """
    Config fields that a recipe sets. All can be changed except those that the recipe relies on, such as `objective`.

    Args:
        recipe (`str`, *optional*, defaults to `"ablation"`): `"ablation"` or `"paper"`.
        masking (`str`, *optional*, defaults to `"input"`): Where units are masked.
        task (`str`, *optional*, defaults to `"text-classification"`): What the base model predicts.
        target (`str`, *optional*):
            For `ablation`: what explanations preserve. By default the predicted choice if the task has choices, else
            the whole output.
        unit (`str`, *optional*, defaults to `"token"`): For `ablation`: what is masked together.

    Returns:
        `dict`: Fields of [`DiffMaskConfig`].

    Raises:
        DiffMaskError: If there is no such recipe, it has been retired, it has no such masking, target or unit, or the
            task does not have this target.
    """
    fields = recipe_of(recipe).config(masking, TASKS[task].has_choices, target)
    if unit != "token" and not MASKS[fields["objective"]].adds_up:
        raise DiffMaskError(f"The recipe {recipe!r} masks tokens, not units of several: use --recipe ablation.")
    return {**fields, "unit": unit}
