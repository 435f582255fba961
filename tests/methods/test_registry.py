"""Each name gives the method of its module, with the explainer that the method reads."""

import pytest
import torch

from hf_diffmask import DiffMaskError, DiffMaskModel
from hf_diffmask.methods.attention import attention
from hf_diffmask.methods.gradients import (
    gradient_norm,
    input_x_gradient,
    integrated_gradients,
    sequential_integrated_gradients,
)
from hf_diffmask.methods.kernel_shap import kernel_shap
from hf_diffmask.methods.leave_one_out import leave_one_out
from hf_diffmask.methods.per_example import per_example, refine
from hf_diffmask.methods.registry import COSTLY, METHODS, Explainers, explains_log_odds, refined
from hf_diffmask.training.recipes.registry import recipe_config
from tests.helpers import build, path_config, path_of, recorded_of


@pytest.fixture
def base():
    model = build("bert").eval()
    with torch.no_grad():
        for value in model.parameters():
            value.mul_(8)
    return model


@pytest.fixture
def batch():
    ids = torch.randint(5, 60, (3, 7))
    there = torch.arange(7) < torch.tensor([[7], [4], [6]])
    return {"input_ids": ids * there, "attention_mask": there.long(), "special_tokens_mask": (ids < 10).long()}


@pytest.fixture
def explainers(base):
    """Explainers with different baselines, to show which explainer a method reads."""
    made = [DiffMaskModel.from_base_model(base, masking=kind).eval() for kind in ("input", "hidden")]
    with torch.no_grad():
        for one in made:
            one.baseline.normal_()
            one.probes.out_weight.normal_(std=0.1)
            one.probes.out_bias.fill_(1.0)
    return Explainers(made[0], DiffMaskModel.from_base_model(base).eval(), made[1], 3)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ig", lambda plain, batch: integrated_gradients(plain, batch, steps=32, signed=True)),
        ("ig_50", lambda plain, batch: integrated_gradients(plain, batch, steps=50, signed=True)),
        ("sequential_ig", lambda plain, batch: sequential_integrated_gradients(plain, batch, signed=True)),
        ("loo", lambda plain, batch: leave_one_out(plain, batch, log_odds=True)),
        ("gradient_norm", gradient_norm),
        ("input_x_gradient", lambda plain, batch: input_x_gradient(plain, batch, signed=True)),
        ("attention", attention),
        (
            "kernel_shap",
            lambda plain, batch: kernel_shap(plain, batch, samples=500, seed=3, signed=True, log_odds=True),
        ),
    ],
)
def test_rivals_replace_tokens_by_the_mask_token(explainers, batch, name, expected):
    torch.testing.assert_close(METHODS[name](explainers, batch), expected(explainers.plain, batch))


def test_ours_are_the_scores_of_the_explainers(explainers, batch):
    for name, explainer in (("diffmask", explainers.trained), ("diffmask_hidden", explainers.hidden)):
        found = METHODS[name](explainers, batch)
        torch.testing.assert_close(found, explainer(**batch).keep_probability.mean(-1))
        assert not found.requires_grad
    with pytest.raises(DiffMaskError, match="diffmask_hidden needs a second explainer"):
        METHODS["diffmask_hidden"](explainers._replace(hidden=None), batch)


def test_per_example_masks_are_drawn_by_the_seed(explainers, batch):
    one = {name: value[:1] for name, value in batch.items()}
    found = METHODS["diffmask_per_example"](explainers, one)
    torch.testing.assert_close(found, per_example(explainers.trained, one, seed=3))
    assert found.max() > found.min()


def test_refined_scores_are_of_votes(explainers, base, batch):
    trained = explainers.trained
    with torch.no_grad():
        output = trained(**batch)
    last = refine(trained, recorded_of(trained, **batch), output.keep_probability[..., -1])
    expected = torch.cat([output.keep_probability[..., :-1], last[..., None]], dim=-1).mean(-1)
    torch.testing.assert_close(refined(explainers, batch), expected)
    with pytest.raises(DiffMaskError, match=r"^The method diffmask_refined is gone with .* --recipe ablation"):
        refined(explainers._replace(trained=path_of(base, None)), batch)


def test_random_scores_are_those_of_the_tokens_whatever_is_beside_them(explainers):
    ids = torch.tensor([[5, 6, 7, 0], [8, 5, 6, 7], [5, 6, 7, 8]])
    there = torch.tensor([[1, 1, 1, 0], [0, 1, 1, 1], [1, 1, 1, 1]])
    scores = METHODS["random"](explainers, {"input_ids": ids, "attention_mask": there})
    assert scores[0, 3] == scores[1, 0] == 0 and torch.equal(scores[0, :3], scores[1, 1:])
    assert not torch.equal(scores[0, :3], scores[2, :3]) and ((scores >= 0) & (scores < 1)).all()
    other = METHODS["random"](explainers._replace(seed=4), {"input_ids": ids, "attention_mask": there})
    assert not torch.equal(other, scores)


def test_costly_methods_are_methods():
    assert set(COSTLY) < METHODS.keys()


def test_which_scores_are_log_odds(base, explainers):
    def of(config):
        return explainers._replace(trained=DiffMaskModel.from_base_model(base, **config))

    ablation = recipe_config("ablation")
    assert {name for name in METHODS if explains_log_odds(of(path_config()), name)} == {"loo", "kernel_shap"}
    assert {name for name in METHODS if explains_log_odds(of(ablation), name)} == {"diffmask", "loo", "kernel_shap"}
    assert not explains_log_odds(of(recipe_config("ablation", target="distribution")), "diffmask"), (
        "sizes of evidence, not evidence for a class"
    )
