"""Thresholds for a margin, checked by hand."""

import pytest
import torch

from hf_diffmask import DiffMaskModel
from hf_diffmask.masks.thresholds import COST_LEVELS, KEPT_SHARES
from hf_diffmask.training.recipes.calibration import calibrate
from tests.helpers import batches_of, masked_output, path_config, path_of


@pytest.mark.parametrize("masking", ["input", "hidden"])
@pytest.mark.parametrize("target", ["prediction", "distribution"])
def test_thresholds_are_what_their_margin_says(classifier, tokenizer, masking, target):
    explainer = path_of(classifier, tokenizer, **path_config(masking, target))
    batches = batches_of(tokenizer)
    everything = explainer(**batches[0])
    assert (everything.keep_probability == 1).all(), "not calibrated yet"
    units = torch.cat([(output := explainer(**features)).logits[output.maskable] for features in batches])
    with torch.no_grad():  # scores of trained paths have a standard deviation of 1
        explainer.probes.out_weight.div_(units.std(0)[:, None])
    before = explainer(**batches[0]).logits
    calibrate(explainer, [explainer.batch(**one) for one in batches])
    assert torch.equal(explainer(**batches[0]).logits, before), "only the thresholds change"
    means = explainer.costs[..., 0]
    assert (means[:, 0] == 0).all() and (means[:-1, -1] > 0.01).all()
    torch.testing.assert_close(explainer.costs[:, 3, 1:].mean(-1), means[:, 3], atol=0.05, rtol=0.2)

    def under(cuts):
        """For each state: mean cost, share within the margin and kept share, by hand."""
        costs, kept, units = [], 0, 0
        for features in batches:
            output = explainer(**features)
            inputs = {name: value for name, value in features.items() if name != "special_tokens_mask"}
            of_states = []
            for state in range(explainer.config.num_states):
                mask = (output.logits[..., state] > cuts[state]) | ~output.maskable
                of_states.append(explainer.cost(output.target, masked_output(explainer, mask, state, None, **inputs)))
            costs.append(torch.stack(of_states))
            last = (output.logits[..., -1] > cuts[-1]) & output.maskable
            kept, units = kept + last.sum(), units + output.maskable.sum()
        return torch.cat(costs, dim=-1), (kept / units).item()

    for number in (2, 5, 9):
        costs, share = under(explainer.thresholds[:, number])
        torch.testing.assert_close(costs.mean(-1), means[:, number], atol=1e-5, rtol=1e-4)
        assert share == pytest.approx(KEPT_SHARES[number], abs=0.02)
    margin = float(means[0, 4])
    cuts, coverage = explainer.masks.threshold_at(margin)
    costs, _ = under(cuts)
    of_grid = [under(explainer.thresholds[:, number])[0] for number in range(len(KEPT_SHARES))]
    both = torch.stack([torch.maximum(one.mean(-1), one.quantile(0.8, dim=-1)) for one in of_grid], dim=-1)
    first = (both <= margin + 1e-6).long().cummin(-1).values.sum(-1) - 1
    assert (costs.mean(-1) <= margin + 0.02).all() and ((costs <= margin).double().mean(-1) >= 0.7).all()
    for state, number in enumerate(first.tolist()):
        assert explainer.thresholds[state, number] <= cuts[state]
        if number + 1 < len(KEPT_SHARES):
            assert cuts[state] <= explainer.thresholds[state, number + 1]
    assert coverage[0].item() == pytest.approx((costs[0] <= margin).double().mean().item(), abs=0.15)
    looser, _ = explainer.masks.threshold_at(4 * margin)
    assert (looser >= cuts).all()
    output = explainer(**batches[0], margin=margin)
    assert torch.equal(output.keep_probability > 0.5, (output.logits > cuts) | ~output.maskable[..., None])
    assert len(COST_LEVELS) == explainer.costs.shape[-1] - 1


def test_cuts_lie_between_scores_that_differ(classifier, tokenizer):
    # With hidden masking, the embedding state scores a token equally at every position: many scores are equal.
    explainer = path_of(classifier, tokenizer, **path_config("hidden"))
    batches = batches_of(tokenizer)
    calibrate(explainer, [explainer.batch(**one) for one in batches])
    units = torch.cat([(output := explainer(**features)).logits[output.maskable] for features in batches])
    assert len(units[:, 0].unique()) < len(units) / 2
    for state, cuts in enumerate(explainer.thresholds):
        assert (units[:, state, None] - cuts).abs().min() > 1e-6
        kept = (units[:, state, None] > cuts).double().mean(0)
        wanted = torch.tensor(KEPT_SHARES, dtype=torch.float64)
        assert (kept >= wanted - 1 / len(units)).all() and (cuts.diff() >= 0).all()


def test_calibration_is_saved_and_read_back(classifier, tokenizer, tmp_path, batch):
    explainer = path_of(classifier, tokenizer)
    calibrate(explainer, [explainer.batch(**one) for one in batches_of(tokenizer, 8, 8)])
    explainer.save_pretrained(tmp_path)
    again = DiffMaskModel.from_pretrained(tmp_path, base_model=classifier).eval()
    assert torch.equal(again.thresholds, explainer.thresholds) and torch.equal(again.costs, explainer.costs)
    torch.testing.assert_close(again(**batch).keep_probability, explainer(**batch).keep_probability)


def test_validation_texts_that_say_nothing_of_the_scale_leave_it(classifier, tokenizer):
    explainer = path_of(classifier, tokenizer)
    before = explainer.probes.out_weight.clone()
    for texts in ([""], ["film"] * 4):
        batch = dict(tokenizer(texts, return_tensors="pt", return_special_tokens_mask=True))
        calibrate(explainer, [explainer.batch(**batch)])
        torch.testing.assert_close(explainer.probes.out_weight, before)
