"""Masks from evidence are those of a path, with one threshold for all columns."""

import pytest
import torch

from hf_diffmask import DiffMaskModel
from hf_diffmask.errors import DiffMaskError
from hf_diffmask.masks.thresholds import COST_LEVELS, KEPT_SHARES


@pytest.fixture
def masks(classifier, tokenizer):
    explainer = DiffMaskModel.from_base_model(classifier, tokenizer, objective="ablation", target="prediction")
    return explainer.masks


def test_all_columns_are_cut_at_the_threshold_of_the_explanation(masks):
    assert not masks.is_calibrated and list(masks.store.thresholds.shape) == [1, len(KEPT_SHARES)]
    masks.store.thresholds.copy_(torch.linspace(-2, 3, len(KEPT_SHARES))[None])
    costs = torch.linspace(0, 1, len(KEPT_SHARES))
    masks.store.costs.copy_(costs[None, :, None].expand(1, -1, 1 + len(COST_LEVELS)))
    logits, maskable = torch.randn(2, 5, 6), torch.tensor([[True] * 5, [True, True, False, False, False]])
    for margin, cut in ((0.2, -1.0), (0.5, 0.5), (1.0, 3.0)):
        keep = masks.keep(logits, maskable, margin)
        assert torch.equal(keep > 0.5, (logits > cut) | ~maskable[..., None])
        torch.testing.assert_close(keep[0], torch.sigmoid((logits[0] - cut) / 0.5))
    assert list(masks.cost_by_share()) == ["explanation"]
    assert torch.equal(masks.attribution(logits, keep), logits[..., -1])


def test_refining_is_refused(masks):
    masks.check("search", margin=0.2)
    with pytest.raises(DiffMaskError, match="needs no refining"):
        masks.check("refine")
