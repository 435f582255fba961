"""Search for the smallest mask of a path, checked against every mask of the path."""

import pytest
import torch

from hf_diffmask import DiffMaskModel
from hf_diffmask.masks.paths import top
from hf_diffmask.methods.budget_search import smallest_budget
from tests.helpers import path_config, recorded_of

TEXTS = [
    "a warm film",
    "the plot is dull and the cast looks tired of it , from the first minute to the last one",
    "fine",
    "not bad at all , and a good deal better than the title would have anyone believe it could be",
]


@pytest.fixture
def inputs(tokenizer):
    return dict(tokenizer(TEXTS, padding=True, return_tensors="pt", return_special_tokens_mask=True))


@pytest.mark.parametrize(("masking", "state"), [("input", -1), ("hidden", 1)])
@pytest.mark.parametrize("margin", [0.001, 0.1, 0.5])
def test_what_is_found_is_within_the_margin_and_small(classifier, tokenizer, inputs, masking, state, margin):
    explainer = DiffMaskModel.from_base_model(classifier, tokenizer, **path_config(masking)).eval()
    recorded = recorded_of(explainer, **inputs)
    maskable = recorded.batch.maskable
    scores = torch.randn(maskable.shape, generator=torch.Generator().manual_seed(1))
    found = smallest_budget(explainer, recorded, scores, margin, state)

    def cost(budget):
        masked = explainer.masked(recorded, top(scores, budget, maskable), state)
        return explainer.cost(recorded.target, masked), masked

    costs, masked = cost(found.budget)
    assert (costs <= margin + 1e-6).all()
    torch.testing.assert_close(found.masked, masked, atol=1e-5, rtol=1e-4)
    assert torch.equal(found.kept, top(scores, found.budget, maskable))
    # If costs fall with larger budgets, no smaller budget is within the margin.
    every = torch.stack(
        [cost(torch.full_like(found.budget, size))[0] for size in range(int(maskable.sum(-1).max()) + 1)]
    )
    for row, size in enumerate(maskable.sum(-1).tolist()):
        within = (every[: size + 1, row] <= margin).tolist()
        if sorted(within) == within:
            assert found.budget[row] == within.index(True)
        else:
            assert found.budget[row] == 0 or not within[found.budget[row] - 1]
    assert ((found.forwards >= 8) & (found.forwards <= 24) & (found.forwards % 8 == 0)).all()


def test_where_nothing_may_change_everything_is_kept(classifier, tokenizer, inputs):
    explainer = DiffMaskModel.from_base_model(classifier, tokenizer, **path_config(target="distribution")).eval()
    recorded = recorded_of(explainer, **inputs)
    maskable = recorded.batch.maskable
    found = smallest_budget(explainer, recorded, torch.randn(maskable.shape), 1e-12)
    assert torch.equal(found.budget, maskable.sum(-1)) and found.kept.all()
    torch.testing.assert_close(found.masked, recorded.target)
