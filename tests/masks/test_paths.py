"""Masks of a path are nested and as large as their budgets."""

import torch

from hf_diffmask.masks.paths import threshold, top

SCORES = torch.tensor([[9.0, 0.5, -1.0, 2.0, 2.0, 0.0], [9.0, 3.0, 1.0, 9.0, 9.0, 9.0]])
MASKABLE = torch.tensor([[0, 1, 1, 1, 1, 0], [0, 1, 1, 0, 0, 0]]).bool()


def test_thresholds_by_hand():
    assert threshold(SCORES, torch.tensor([3, 1]), MASKABLE).tolist() == [-0.25, 2.0]
    assert threshold(SCORES, torch.tensor([1, 2]), MASKABLE).tolist() == [2.0, 0.0], "a tie; 1 below the lowest score"
    full = torch.tensor([[3.0, 1.0]])
    assert threshold(full, torch.tensor([2]), torch.ones(1, 2).bool()).tolist() == [0.0], "no unit is dropped"


def test_masks_of_a_path_are_nested_and_as_large_as_their_budgets():
    assert top(SCORES, torch.tensor([1, 1]), MASKABLE).int().tolist() == [[1, 0, 0, 1, 0, 1], [1, 1, 0, 1, 1, 1]]
    assert top(SCORES, torch.tensor([3, 2]), MASKABLE).int().tolist() == [[1, 1, 0, 1, 1, 1], [1] * 6]
    scores, maskable = torch.randn(5, 12).round(), torch.rand(5, 12) < 0.7
    previous = ~maskable
    for budget in range(13):
        mask = top(scores, torch.full((5,), budget), maskable)
        assert (mask | ~previous).all(), "units of a smaller budget stay"
        assert torch.equal((mask & maskable).sum(-1), maskable.sum(-1).clamp(max=budget))
        dropped, kept = scores.masked_fill(mask | ~maskable, -9), scores.masked_fill(~mask | ~maskable, 9)
        assert (kept.amin(-1) >= dropped.amax(-1)).all()
        previous = mask
