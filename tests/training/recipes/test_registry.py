"""Each recipe makes its kind of explainer, for every masking and task."""

import pytest

from hf_diffmask import DiffMaskConfig, DiffMaskError
from hf_diffmask.tasks.registry import TASKS
from hf_diffmask.training.recipes.registry import RECIPES, recipe_config

PAPER = {
    "objective": "lagrangian", "mask_special_tokens": False, "normalize_states": False, "class_conditional": False,
    "read_context": False, "path_gradient": False, "initial_logit": 5.0, "masking": "input",
}  # fmt: skip
ABLATION = {
    "objective": "ablation", "mask_special_tokens": False, "class_conditional": True, "read_context": False,
    "target": "prediction", "masking": "input",
}  # fmt: skip
NEVER = ("ablation", "hidden")
WHOLE = {"target": "distribution", "class_conditional": False}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ((), ABLATION),
        (("paper",), PAPER),
        (("paper", "hidden", "regression"), {**PAPER, "masking": "hidden"}),
        (("ablation",), ABLATION),
        (("ablation", "input", "question-answering"), {**ABLATION, **WHOLE}),
        (("ablation", "input", "regression", "distribution"), {**ABLATION, **WHOLE}),
    ],
)
def test_exactly_these_fields(asked, expected):
    assert recipe_config(*asked) == {**expected, "unit": "token"}
    assert recipe_config(unit="word") == {**recipe_config(), "unit": "word"}


@pytest.mark.parametrize(
    ("recipe", "masking"), [(name, one) for name in RECIPES for one in ("input", "hidden") if (name, one) != NEVER]
)
@pytest.mark.parametrize("task", TASKS)
def test_the_fields_make_a_config_and_the_recipe_relies_on_some(recipe, masking, task):
    fields = recipe_config(recipe, masking, task)
    config = DiffMaskConfig(task=task, **fields)
    assert {name: getattr(config, name) for name in fields} == fields
    for name in RECIPES[recipe].relied_on:
        assert fields[name] == RECIPES[recipe].fields[name]
    fields["masking"] = "elsewhere"
    assert recipe_config(recipe, masking, task)["masking"] == masking, "the recipe returns a copy"


def test_recipes_know_their_names_and_set_the_same_arguments():
    assert list(RECIPES) == ["ablation", "paper"] == [recipe.name for recipe in RECIPES.values()]
    first, *others = [recipe.settings.keys() for recipe in RECIPES.values()]
    assert all(other == first for other in others)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (("paper", "hidden", "regression", "distribution"), "'paper' has no target but the distribution"),
        (("ablation", "input", "question-answering", "prediction"), "Only a classifier predicts a class"),
        (("slow",), "^The recipe must be one of ablation, paper, but is 'slow'.$"),
        (("path",), "^The recipe 'path' trains no explainers any more, only its .*: train with --recipe ablation.$"),
        (("fast", "hidden"), "^The recipe 'fast' trains no explainers any more"),
        (("ablation", "hidden"), "train an explainer with hidden masking by --recipe paper"),
    ],
)
def test_what_recipes_do_not_have(asked, message):
    with pytest.raises(DiffMaskError, match=message):
        recipe_config(*asked)
