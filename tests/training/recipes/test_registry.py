"""Each recipe makes its kind of explainer, for every masking and task."""

import pytest

from hf_diffmask import DiffMaskConfig, DiffMaskError
from hf_diffmask.tasks.registry import TASKS
from hf_diffmask.training.recipes.registry import RECIPES, recipe_config

FAST = {
    "objective": "lagrangian", "mask_special_tokens": False, "normalize_states": True, "class_conditional": True,
    "read_context": True, "path_gradient": True, "initial_logit": 3.0, "masking": "input",
}  # fmt: skip
PAPER = {
    **FAST, "normalize_states": False, "class_conditional": False, "read_context": False, "path_gradient": False,
    "initial_logit": 5.0,
}  # fmt: skip
PATH = {
    **FAST, "objective": "path", "share_mean": True, "path_gradient": False, "initial_logit": 0.0,
    "target": "prediction",
}  # fmt: skip
HIDDEN = {"masking": "hidden", "read_context": False}
ABLATION = {
    "objective": "ablation", "mask_special_tokens": False, "class_conditional": True, "read_context": False,
    "target": "prediction", "masking": "input",
}  # fmt: skip
NEVER = ("ablation", "hidden")
WHOLE = {"target": "distribution", "class_conditional": False}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (("fast",), FAST),
        (("fast", "hidden"), {**FAST, **HIDDEN, "class_conditional": False}),
        (("fast", "input", "question-answering"), FAST),
        (("paper",), PAPER),
        (("paper", "hidden", "regression"), {**PAPER, **HIDDEN}),
        (("path",), PATH),
        (("path", "input", "regression"), PATH),
        (("path", "hidden"), {**PATH, **HIDDEN}),
        (("path", "input", "text-classification", "distribution"), {**PATH, **WHOLE}),
        (("path", "input", "question-answering"), {**PATH, **WHOLE}),
        (("path", "hidden", "question-answering", "distribution"), {**PATH, **HIDDEN, **WHOLE}),
        (("ablation",), ABLATION),
        (("ablation", "input", "question-answering"), {**ABLATION, **WHOLE}),
        (("ablation", "input", "regression", "distribution"), {**ABLATION, **WHOLE}),
    ],
)
def test_exactly_these_fields(asked, expected):
    assert recipe_config(*asked) == expected


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
    assert list(RECIPES) == ["path", "fast", "paper", "ablation"] == [recipe.name for recipe in RECIPES.values()]
    first, *others = [recipe.settings.keys() for recipe in RECIPES.values()]
    assert all(other == first for other in others)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            ("fast", "input", "text-classification", "prediction"),
            "'fast' has no target but the distribution",
        ),
        (("paper", "hidden", "regression", "distribution"), "'paper' has no target but the distribution"),
        (("path", "input", "question-answering", "prediction"), "Only a classifier predicts a class"),
        (("ablation", "input", "question-answering", "prediction"), "Only a classifier predicts a class"),
        (("ablation", "hidden"), "train an explainer with hidden masking by --recipe paper"),
    ],
)
def test_targets_that_there_are_not(asked, message):
    with pytest.raises(DiffMaskError, match=message):
        recipe_config(*asked)
