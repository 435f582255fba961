"""Defaults of a recipe do nothing; a missing required part is an error."""

import pytest

from hf_diffmask import DiffMaskConfig, DiffMaskError, DiffMaskTrainingArguments
from hf_diffmask.training.recipes.recipe import Objective, Recipe
from hf_diffmask.training.recipes.registry import RECIPES


class Own(Recipe):
    """A recipe outside the package."""

    name = "own"
    settings = {"max_steps": 5}  # noqa: RUF012
    fields = {"objective": "lagrangian", "path_gradient": True, "class_conditional": True, "margin": 0.3}  # noqa: RUF012


def test_fields_with_input_and_hidden_masking():
    assert Own().config("input", True, None) == {**Own.fields, "masking": "input"}
    assert Own().config("hidden", False, None) == {**Own.fields, "masking": "hidden"}
    assert "masking" not in Own.fields
    with pytest.raises(DiffMaskError) as error:
        Own().config("input", True, "distribution")
    assert str(error.value) == "The recipe 'own' has no target but the distribution: leave it out."


def test_an_objective_does_nothing_unasked(explainer, batch, tmp_path):
    objective, args = Objective(), DiffMaskTrainingArguments(output_dir=str(tmp_path), use_cpu=True)
    recorded = explainer.record(explainer.batch(**batch))
    before = {name: value.clone() for name, value in explainer.state_dict().items()}
    objective.begin(explainer)
    objective.clamp()
    objective.finish(explainer, None, None)
    assert objective.learns_baseline(args) is False and objective.ranked(explainer, recorded) is None
    assert objective.before_step(lambda value: value) == [] and objective.state_dict() == {}
    assert all(value.equal(before[name]) for name, value in explainer.state_dict().items())
    Own().check(args, has_validation=False)
    for missing in (
        lambda: objective.drawn(0, 0, recorded.batch),
        lambda: objective.step_loss(explainer, None, None),
        lambda: objective.optimizer([], args),
        lambda: objective.selection(None, [], explainer.config),
        lambda: Own().objective(explainer.config, args),
    ):
        with pytest.raises(NotImplementedError):
            missing()


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_has_an_objective_with_an_optimiser(recipe, explainer, tmp_path):
    args = DiffMaskTrainingArguments(output_dir=str(tmp_path), recipe=recipe, use_cpu=True)
    config = DiffMaskConfig(**RECIPES[recipe].config("input", True, None))
    objective = RECIPES[recipe].objective(config, args)
    optimizer = objective.optimizer([{"params": list(explainer.parameters()), "lr": 0.125}], args)
    assert [group["lr"] for group in optimizer.param_groups] == [0.125]
    for own, general in ((type(objective).drawn, Objective.drawn), (type(objective).step_loss, Objective.step_loss)):
        assert own is not general
