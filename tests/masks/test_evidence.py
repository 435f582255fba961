"""The smallest set whose predicted cost is within a threshold, against a search by hand."""

import math

import pytest
import torch

from hf_diffmask import DiffMaskModel
from hf_diffmask.errors import DiffMaskError
from hf_diffmask.masks.gates import hard_mask
from hf_diffmask.masks.scored import Scored
from hf_diffmask.masks.thresholds import COST_LEVELS, KEPT_SHARES

LEVELS = (0.01, 0.1, 0.3, 0.6)


@pytest.fixture
def masks(classifier, tokenizer):
    explainer = DiffMaskModel.from_base_model(classifier, tokenizer, objective="ablation", target="prediction")
    return explainer.masks


def sigmoid(value):
    return 1 / (1 + math.exp(-value))


def smallest(evidence, whole, level):
    """Number of kept units: units leave in the order of their evidence, from the lowest."""
    ordered = sorted(evidence, reverse=True)
    for kept in range(len(ordered) + 1):
        if sigmoid(whole) - sigmoid(whole - sum(ordered[kept:])) <= level:
            return kept
    return len(ordered)


def scored(evidence, whole, choice=None):
    """One input with a unit that cannot be masked in the middle, in two columns."""
    values = torch.tensor(evidence)
    values = torch.cat([values[:2], torch.tensor([5.0]), values[2:]])
    maskable = torch.tensor([[True] * 2 + [False] + [True] * (len(values) - 3)])
    logs = torch.tensor([[sigmoid(-whole), sigmoid(whole)]]).log()
    both = torch.stack([values, values.flip(0)], -1)[None]
    return Scored(both, maskable, logs, torch.stack([-both, both], -1), choice)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("whole", [0.4, 3.0])
def test_the_smallest_set_within_a_predicted_drop(masks, level, whole):
    for seed in range(20):
        evidence = torch.randn(7, generator=torch.Generator().manual_seed(seed)).tolist()
        given = scored(evidence, whole)
        kept = (masks.compared(given)[0, :, 0] > level)[given.maskable[0]]
        assert int(kept.sum()) == smallest(evidence, whole, level)
        ranked = torch.tensor(evidence).argsort(descending=True)
        assert kept[ranked[: int(kept.sum())]].all(), "the units with the most evidence are kept"


def test_masks_for_a_margin_keep_the_set_at_the_calibrated_threshold(masks):
    evidence = [0.3, 2.0, -0.4, 0.9, 0.1]
    masks.store.thresholds.copy_(torch.tensor([[-1.0, *torch.linspace(-0.1, 0.8, len(KEPT_SHARES) - 1)]]))
    costs = torch.linspace(0, 0.9, len(KEPT_SHARES))
    masks.store.costs.copy_(costs[None, :, None].expand(1, -1, 1 + len(COST_LEVELS)))
    for margin in (0.1, 0.35, 0.7):
        level, coverage = masks.threshold_at(margin)
        keep = masks.keep(scored(evidence, 3.0), margin)
        kept = hard_mask(keep[0, :, 0])
        assert int(kept[[0, 1, 3, 4, 5]].sum()) == smallest(evidence, 3.0, level.item())
        assert keep[0, 2].tolist() == [1, 1] and coverage.tolist() == [1.0]
    assert len(masks.store.thresholds) == 1, "all columns use the threshold of the explanation head"
    assert list(masks.cost_by_share()) == ["explanation"]


def test_the_choice_to_explain_decides(masks):
    evidence = [1.0, -2.0, 0.5, 0.2]
    given = scored(evidence, 2.0, torch.tensor([0]))
    other = given._replace(logits=-given.logits)  # evidence for class 0
    kept = (masks.compared(other)[0, :, 0] > 0.05)[given.maskable[0]]
    assert int(kept.sum()) == smallest([-one for one in evidence], -2.0, 0.05)


def test_the_whole_output_is_predicted_from_all_choices(classifier, tokenizer):
    masks = DiffMaskModel.from_base_model(classifier, tokenizer, objective="ablation", target="distribution").masks
    evidence, whole = [1.0, -2.0, 0.5, 0.2], 2.0
    given = scored(evidence, whole)
    given = given._replace(logits=given.logits.abs())
    sizes = sorted(evidence, key=abs, reverse=True)
    for level in (0.01, 0.2, 0.5):
        for count in range(5):
            before, after = sigmoid(whole), sigmoid(whole - sum(sizes[count:]))
            if before * math.log(before / after) + (1 - before) * math.log((1 - before) / (1 - after)) <= level:
                break
        assert int((masks.compared(given)[0, :, 0] > level)[given.maskable[0]].sum()) == count


def test_refining_is_refused(masks):
    masks.check("search", margin=0.2)
    with pytest.raises(DiffMaskError, match="trained with --recipe ablation"):
        masks.check("keep", refine_steps=2)
