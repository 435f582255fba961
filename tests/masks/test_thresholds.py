"""Thresholds and coverage for a margin, checked on tables with known answers."""

import pytest
import torch

from hf_diffmask.masks.thresholds import COST_LEVELS, COVERAGE, KEPT_SHARES, threshold_at
from tests.helpers import path_of


def table(*rows):
    """Costs of one state at each threshold: the mean, then quantiles from 0 to twice a number."""
    levels = torch.tensor(COST_LEVELS)
    return torch.stack([torch.cat([torch.tensor([mean]), 2 * half * levels]) for mean, half in rows])[None]


def test_a_tiny_table_by_hand():
    thresholds = torch.tensor([[-2.0, 0.0, 4.0]])
    # The means never bind: 0.8 of the inputs cost at most 0, 0.16 and 0.32.
    costs = table((0.0, 0.0), (0.1, 0.1), (0.2, 0.2))
    for margin, cut, coverage in ((0.16, 0.0, 0.8), (0.24, 2.0, 0.8), (0.32, 4.0, 0.8), (0.36, 4.0, 0.9), (1, 4.0, 1)):
        found = threshold_at(thresholds, costs, margin)
        assert [one.item() for one in found] == pytest.approx([cut, coverage], abs=1e-5), margin
    # Half-way to the second threshold, 0.8 of the inputs cost at most 0.08.
    cut, coverage = threshold_at(thresholds, costs, 0.08)
    assert (cut.item(), coverage.item()) == (pytest.approx(-1.0), pytest.approx(0.8))


def test_the_mean_binds_where_it_is_larger():
    cut, coverage = threshold_at(torch.tensor([[0.0, 1.0]]), table((0.0, 0.0), (0.4, 0.1)), 0.1)
    assert cut.item() == pytest.approx(0.25), "a quarter of the way to a mean of 0.4"
    assert coverage.item() == 1.0, "all inputs cost at most 0.05"


def test_costs_that_leave_the_margin_and_come_back_count_up_to_where_they_leave():
    costs = table((0.0, 0.0), (0.3, 0.0), (0.1, 0.0), (0.5, 0.0))
    cut, _ = threshold_at(torch.tensor([[0.0, 1.0, 2.0, 3.0]]), costs, 0.15)
    assert cut.item() == pytest.approx(0.5)


def test_a_margin_below_every_cost_takes_the_lowest_threshold():
    cut, coverage = threshold_at(torch.tensor([[-3.0, 1.0]]), table((0.2, 0.25), (0.3, 0.5)), 0.05)
    assert cut.item() == -3.0 and coverage.item() == pytest.approx(0.1)


def test_states_are_read_each_by_itself():
    thresholds = torch.tensor([[0.0, 1.0], [5.0, 7.0]])
    costs = torch.cat([table((0.0, 0.0), (0.4, 0.0)), table((0.0, 0.0), (0.1, 0.0))])
    cut, _ = threshold_at(thresholds, costs, 0.1)
    assert cut.tolist() == [pytest.approx(0.25), 7.0]
    for state in range(2):
        alone, _ = threshold_at(thresholds[state : state + 1], costs[state : state + 1], 0.1)
        assert alone.item() == cut[state].item()


def test_a_wider_margin_never_keeps_more():
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        thresholds = torch.rand(3, len(KEPT_SHARES), generator=generator).cumsum(-1)
        quantiles = torch.rand(3, len(KEPT_SHARES), len(COST_LEVELS), generator=generator).cumsum(-1).cumsum(1)
        costs = torch.cat([quantiles.mean(-1, keepdim=True), quantiles], dim=-1)
        cuts = torch.stack(
            [threshold_at(thresholds, costs, margin)[0] for margin in torch.linspace(0.1, 90, 50).tolist()]
        )
        assert (cuts.diff(dim=0) >= 0).all() and COVERAGE == 0.8


def test_coverage_is_read_off_the_quantiles(classifier, tokenizer):
    explainer = path_of(classifier, tokenizer)
    explainer.thresholds.copy_(torch.arange(float(len(KEPT_SHARES))).expand_as(explainer.thresholds))
    # The q-quantile of the costs at threshold g is g q / 10. At threshold 5, 0.8 of the costs are at most 0.4.
    levels = torch.tensor(COST_LEVELS)
    spread = torch.arange(len(KEPT_SHARES))[:, None] / 10 * levels
    explainer.costs.copy_(torch.cat([spread.mean(-1, keepdim=True), spread], dim=-1).expand_as(explainer.costs))
    for margin, cut in ((0.4, 5.0), (0.44, 5.5), (0.72, 9.0)):
        cuts, coverage = explainer.masks.threshold_at(margin)
        torch.testing.assert_close(cuts, torch.full_like(cuts, cut))
        torch.testing.assert_close(coverage, torch.full_like(coverage, 0.8))
    assert (explainer.masks.threshold_at(2.0)[1] == 1).all(), "every cost is below this margin"
    # If the mean binds, fewer inputs are outside the margin.
    explainer.costs[..., 0] *= 2
    cuts, coverage = explainer.masks.threshold_at(0.4)
    torch.testing.assert_close(cuts, torch.full_like(cuts, 4.0))
    torch.testing.assert_close(coverage, torch.full_like(coverage, 1.0))
    # What is known is not used for other values, wherever they were written.
    explainer.thresholds += 1
    torch.testing.assert_close(explainer.masks.threshold_at(0.4)[0], torch.full_like(cuts, 5.0))
    explainer.costs.mul_(0.5)
    assert not torch.equal(explainer.masks.threshold_at(0.4)[0], torch.full_like(cuts, 5.0))
    explainer.to(torch.float64)
    assert explainer.masks.threshold_at(0.4)[0].dtype == torch.float64
