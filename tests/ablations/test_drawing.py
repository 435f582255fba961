"""Masks are pairs of complements with uniform sizes, and depend on seed, input, number and unit alone."""

import pytest
import torch
from scipy import stats

from hf_diffmask.ablations.drawing import LONG, NEAR, draw_masks, half_masks


def all_units(inputs, units):
    return torch.arange(inputs), torch.ones(inputs, units, dtype=torch.bool)


def is_run(row):
    """Whether the units left out are neighbours, where the last one is beside the first."""
    changes = sum(row[k] != row[k - 1] for k in range(len(row)))
    return changes == 2


@pytest.mark.parametrize("units", [2, 7, 64])
def test_sizes_and_subsets_are_uniform(units):
    masks = draw_masks(5, *all_units(3000, units), 2)
    sizes = masks[:, 0].sum(-1)
    counts = torch.bincount(sizes, minlength=units + 1)
    assert counts[0] == counts[units] == 0
    assert stats.chisquare(counts[1:units]).pvalue > 0.001 if units > 2 else counts[1] == 3000
    # Each unit is kept in half of the masks, and all subsets of two of seven are equally frequent.
    kept = masks[:, 0].float().mean(0)
    assert (kept - 0.5).abs().max() < 0.06
    if units == 7:
        pairs = masks[:, 0][sizes == 2]
        codes = (pairs * 2 ** torch.arange(7)).sum(-1).bincount()
        assert (codes > 0).sum() == 21 and stats.chisquare(codes[codes > 0]).pvalue > 0.001


@pytest.mark.parametrize("units", [1, 2, 9, 100])
def test_masks_are_pairs_of_complements(units):
    ids, maskable = all_units(20, units)
    maskable[:, ::5] = units == 1
    masks = draw_masks(0, ids, maskable, 12)
    assert masks.shape == (20, 12, units)
    for one, other in zip(masks[:, ::2].unbind(1), masks[:, 1::2].unbind(1), strict=True):
        assert torch.equal(one ^ other, maskable) and not (one & other).any()
        assert (one.any(-1) & (other.any(-1) | (units < 3))).all()
    assert torch.equal(draw_masks(0, ids, maskable, 5), masks[:, :5])


def test_one_unit_is_kept_and_left_out_and_no_unit_has_no_mask():
    maskable = torch.tensor([[False, True, False], [False, False, False]])
    masks = draw_masks(1, torch.tensor([4, 5]), maskable, 4)
    assert masks[0].tolist() == [[False, True, False], [False] * 3] * 2
    assert not masks[1].any() and not half_masks(1, torch.tensor([4, 5]), maskable, 4)[1].any()


@pytest.mark.parametrize("draw", [draw_masks, half_masks])
@pytest.mark.parametrize("units", [11, 90])
def test_a_mask_depends_on_seed_input_number_and_unit_alone(draw, units):
    ids, maskable = all_units(6, units)
    maskable[:, 0] = maskable[:, 4] = False
    masks = draw(3, ids, maskable, 8)
    # Another order, a part of the batch, padding on both sides, and further special tokens.
    order = torch.tensor([4, 1])
    padded = torch.cat([torch.zeros(2, 3, dtype=torch.bool), maskable[order], torch.zeros(2, 2, dtype=torch.bool)], 1)
    found = draw(3, ids[order], padded, 8)
    assert torch.equal(found[..., 3:-2], masks[order]) and not found[..., :3].any() and not found[..., -2:].any()
    moved = torch.zeros(6, units + 1, dtype=torch.bool)
    moved[:, 3:] = maskable.sum(-1)[0] == units - 2
    assert torch.equal(
        draw(3, ids, moved, 8)[moved[:, None].expand(-1, 8, -1)], masks[maskable[:, None].expand_as(masks)]
    )
    for other in (draw(4, ids, maskable, 8), draw(3, ids + 1, maskable, 8)):
        assert not torch.equal(other, masks)
        assert (other == masks)[maskable[:, None].expand_as(masks)].float().mean() < 0.65


def test_long_inputs_are_also_masked_near_the_whole_and_in_runs():
    units = 2 * LONG
    masks = draw_masks(2, *all_units(500, units), 12)
    left = units - masks.sum(-1)
    for pair in range(6):
        first = left[:, 2 * pair]
        if pair % 3 == 1:
            counts = torch.bincount(first, minlength=units // NEAR + 1)
            assert len(counts) == units // NEAR + 1 and stats.chisquare(counts[1:]).pvalue > 0.001
        else:
            assert stats.kstest((first - 0.5).numpy() / (units - 1), "uniform").pvalue > 0.001
        runs = sum(is_run(row) for row in masks[:, 2 * pair].tolist())
        assert runs == 500 if pair % 3 == 2 else runs < 100
    apart = masks[:, 4].float().mean(0)
    assert (apart - 0.5).abs().max() < 0.1, "runs go over the end, so each unit is left out as often"
    shorter = draw_masks(2, *all_units(50, LONG), 12)
    assert ((LONG - shorter[:, 2].sum(-1)) > LONG // NEAR).float().mean() > 0.7


def test_an_input_is_masked_alike_beside_longer_ones():
    ids, maskable = all_units(2, LONG + 20)
    maskable[0, 20:] = False
    assert torch.equal(draw_masks(0, ids, maskable, 6)[0, :, :20], draw_masks(0, ids[:1], maskable[:1, :20], 6)[0])


def test_masks_that_score_keep_half_and_are_not_masks_that_fit():
    ids, maskable = all_units(400, 30)
    masks = half_masks(7, ids, maskable, 8)
    assert stats.binomtest(int(masks.sum()), masks.numel(), 0.5).pvalue > 0.001
    counts = masks.sum(-1).flatten().bincount(minlength=31)
    expected = torch.tensor(stats.binom.pmf(range(31), 30, 0.5)) * counts.sum()
    assert stats.chisquare(counts[8:23], expected[8:23] / expected[8:23].sum() * counts[8:23].sum()).pvalue > 0.001
    fitted = draw_masks(7, ids, maskable, 8)
    alike = (masks[:, :, None] == fitted[:, None]).float().mean(-1)
    assert abs(alike.mean() - 0.5) < 0.01 and alike.max() < 1
