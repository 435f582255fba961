"""The path of masks: by hand, against brute force, and trained."""

import math

import pytest
import torch
from huggingface_hub.errors import StrictDataclassClassValidationError
from torch.nn import functional as F
from transformers import TrainerCallback

from hf_diffmask import DiffMaskConfig, DiffMaskModel, DiffMaskTrainer, DiffMaskTrainingArguments
from hf_diffmask.calibration import calibrate
from hf_diffmask.comparison import METHODS, Explainers, attribute
from hf_diffmask.data import TextFeatures, collate
from hf_diffmask.demo import sentences
from hf_diffmask.errors import DiffMaskError
from hf_diffmask.explainers.path_refinement import forwards_of, refine_scores
from hf_diffmask.faithfulness import curves, mean_measures, measures
from hf_diffmask.modeling_diffmask import COST_LEVELS, KEPT_SHARES
from hf_diffmask.objective import PathObjective
from hf_diffmask.outputs import DiffMaskOutput
from hf_diffmask.paths import budgets, draw, scores_at, threshold, top
from hf_diffmask.training_args import recipe_config
from hf_diffmask.validation import measure, measure_ranking

SCORES = torch.tensor([[9.0, 0.5, -1.0, 2.0, 2.0, 0.0], [9.0, 3.0, 1.0, 9.0, 9.0, 9.0]])
MASKABLE = torch.tensor([[0, 1, 1, 1, 1, 0], [0, 1, 1, 0, 0, 0]]).bool()


def path_of(classifier, tokenizer, **config):
    torch.manual_seed(0)
    return DiffMaskModel.from_base_model(classifier, tokenizer, **{**recipe_config("path"), **config}).eval()


def batches_of(tokenizer, count=40, size=16):
    features = TextFeatures(tokenizer, sentences(count, seed=1), 64)
    made = []
    for start in range(0, count, size):
        batch = collate(tokenizer, [features[k] for k in range(start, min(count, start + size))])
        made.append({name: value for name, value in batch.items() if name != "example_ids"})
    return made


def test_budgets_by_hand():
    assert budgets(torch.tensor([0.5, 0.01]), MASKABLE).tolist() == [2, 1]
    assert budgets(torch.tensor([0.75, 1.0]), MASKABLE).tolist() == [3, 2]
    assert budgets(torch.tensor([0.3]), torch.ones(1, 10).bool()).tolist() == [3], "0.3 * 10 is a hair below 3"


def test_thresholds_by_hand():
    assert threshold(SCORES, torch.tensor([3, 1]), MASKABLE).tolist() == [-0.25, 2.0]
    assert threshold(SCORES, torch.tensor([1, 2]), MASKABLE).tolist() == [2.0, 0.0], "a tie; and 1 below the lowest"
    full = torch.tensor([[3.0, 1.0]])
    assert threshold(full, torch.tensor([2]), torch.ones(1, 2).bool()).tolist() == [0.0], "no unit is left over"


def test_masks_of_a_path_are_nested_and_as_large_as_their_budgets():
    assert top(SCORES, torch.tensor([1, 1]), MASKABLE).int().tolist() == [[1, 0, 0, 1, 0, 1], [1, 1, 0, 1, 1, 1]]
    assert top(SCORES, torch.tensor([3, 2]), MASKABLE).int().tolist() == [[1, 1, 0, 1, 1, 1], [1] * 6]
    scores, maskable = torch.randn(5, 12).round(), torch.rand(5, 12) < 0.7
    previous = ~maskable
    for budget in range(13):
        mask = top(scores, torch.full((5,), budget), maskable)
        assert (mask | ~previous).all(), "what a smaller budget keeps stays"
        assert torch.equal((mask & maskable).sum(-1), maskable.sum(-1).clamp(max=budget))
        dropped, kept = scores.masked_fill(mask | ~maskable, -9), scores.masked_fill(~mask | ~maskable, 9)
        assert (kept.amin(-1) >= dropped.amax(-1)).all()
        previous = mask


def test_draws_follow_the_logits_and_so_does_their_gradient():
    logits = torch.tensor([[-0.7, 0.0, 0.4, 3.0]])
    maskable = torch.ones(1, 4).bool()
    noise = torch.rand(40_000, 4, 3, generator=torch.Generator().manual_seed(0))
    variable = logits.clone().requires_grad_()
    masks = draw(variable.expand(len(noise), 4), noise, maskable.expand(len(noise), 4))
    still = noise[..., 1] >= 0.5  # not on their way
    assert set(masks[still].unique().tolist()) <= {0.0, 1.0}
    shares = torch.stack([masks[still[:, k], k].mean() for k in range(4)])
    torch.testing.assert_close(shares, torch.sigmoid(2 * logits[0]), atol=0.01, rtol=0)
    masks.mean(0).sum().backward()
    softly = torch.sigmoid(logits)
    torch.testing.assert_close(variable.grad, softly * (1 - softly), atol=0.01, rtol=0)


def test_objective_by_hand():
    logs = [torch.tensor([[0.9, 0.1], [0.2, 0.8]]).log(), torch.tensor([[0.45, 0.55], [0.2, 0.8]]).log(),
            torch.tensor([[0.3, 0.7], [0.6, 0.4]]).log()]  # fmt: skip
    scores = torch.tensor([[[1.0, 3.0], [2.0, 0.0]], [[0.0, 0.0], [5.0, 1.0]]])
    maskable = torch.tensor([[True, True], [True, False]])
    output = DiffMaskOutput(None, logs[0], maskable, scores, logs[1], logs[2])
    states = torch.tensor([0, 1])  # with hidden masking
    assert scores_at(scores, states).tolist() == [[1.0, 2.0], [0.0, 1.0]]
    penalty = 1e-3 * (1 + 4) / 2
    found = PathObjective(2, "prediction", masks_inputs=False).loss(output, states)
    assert found.item() == pytest.approx((math.log(2) + 0.3 + penalty + 0.0 + 0.4) / 2)
    kept = 0.9 * math.log(0.9 / 0.45) + 0.1 * math.log(0.1 / 0.55)
    left_out = 0.9 * math.log(0.9 / 0.3) + 0.1 * math.log(0.1 / 0.7), 0.2 * math.log(0.2 / 0.6) + 0.8 * math.log(2.0)
    expected = (kept + math.exp(-left_out[0]) + penalty + math.exp(-left_out[1])) / 2
    found = PathObjective(2, "distribution", masks_inputs=False).loss(output, states)
    assert found.item() == pytest.approx(expected)
    # With input masking the last state's scores count, and the others learn from them, and not the other way round.
    states, variable = torch.tensor([1, 1]), scores.clone().requires_grad_()
    output["logits"] = variable
    found = PathObjective(2, "prediction").loss(output, states)
    squares = 1e-3 * (((9 + 0) + (4 + 4)) / 2 + (0 + 0))
    assert found.item() == pytest.approx((math.log(2) + 0.3 + 0.0 + 0.4 + squares) / 2)
    found.backward()
    expected = [[[2 * (1 - 3), 2 * 3], [2 * (2 - 0), 0.0]], [[0.0, 0.0], [0.0, 0.0]]]  # the last unit is none
    torch.testing.assert_close(variable.grad, 1e-3 * torch.tensor(expected) / 2 / 2)


def test_draws_of_states_and_budgets():
    states, shares = PathObjective(5, "prediction").draw(0, 3, torch.arange(20_000))
    assert states.unique().tolist() == [4]
    states, shares = PathObjective(5, "prediction", masks_inputs=False).draw(0, 3, torch.arange(20_000))
    assert states.bincount().tolist() == pytest.approx([4000] * 5, abs=250)
    assert shares.min() >= 0.03 and shares.max() <= 0.63 and shares.mean().item() == pytest.approx(0.33, abs=0.01)
    assert abs(torch.corrcoef(torch.stack([states.double(), shares.double()]))[0, 1]) < 0.03


@pytest.mark.parametrize("masking", ["input", "hidden"])
def test_forward_runs_what_a_mask_keeps_and_what_it_leaves_out(classifier, tokenizer, batch, masking):
    explainer = path_of(classifier, tokenizer, masking=masking)
    with torch.no_grad():
        explainer.probes.out_weight.mul_(100)  # far from the thresholds: nothing is left to chance
    states = torch.tensor([1, 2, 1])
    shares = torch.tensor([0.4, 0.3, 0.6])
    # 0.5 in all: no unit is on its way.
    noise = torch.full((*batch["input_ids"].shape, 3), 0.5)
    output = explainer(**batch, states=states, noise=noise, shares=shares)
    scores = scores_at(output.logits, states)
    kept = top(scores, budgets(shares, output.maskable), output.maskable)
    inputs = {name: value for name, value in batch.items() if name != "special_tokens_mask"}
    for found, mask in ((output.masked, kept), (output.left_out, ~kept | ~output.maskable)):
        torch.testing.assert_close(found, explainer.masked_forward(mask, states, None, **inputs))
    noise[..., 1] = 0.1  # on its way, each
    with torch.no_grad():
        explainer.probes.out_weight.mul_(0.01)
    output = explainer(**batch, states=states, noise=noise, shares=shares)
    (output.masked.sum() - output.left_out[:, 0].sum()).backward()
    assert explainer.probes.out_weight.grad[..., 1:3, :].abs().sum() > 0
    assert explainer.probes.out_weight.grad[..., 0, :].abs().sum() == 0, "no example drew the first state"


def test_cost_is_the_drop_of_the_class_or_the_divergence(classifier, tokenizer):
    target, masked = torch.tensor([[0.9, 0.1], [0.2, 0.8]]).log(), torch.tensor([[0.5, 0.5], [0.1, 0.9]]).log()
    explainer = path_of(classifier, tokenizer)
    torch.testing.assert_close(explainer.cost(target, masked), torch.tensor([0.4, -0.1]))
    torch.testing.assert_close(explainer.cost(target, masked, torch.tensor([1, 0])), torch.tensor([-0.4, 0.1]))
    whole = path_of(classifier, tokenizer, target="distribution", class_conditional=False)
    expected = F.kl_div(masked, target, reduction="none", log_target=True).sum(-1)
    torch.testing.assert_close(whole.cost(target, masked), expected)


def test_scores_of_another_class(classifier, tokenizer, batch):
    explainer = path_of(classifier, tokenizer)
    predicted = explainer(**batch)
    classes = predicted.target.argmax(-1)
    torch.testing.assert_close(explainer(**batch, classes=classes).logits, predicted.logits)
    assert not torch.allclose(explainer(**batch, classes=1 - classes).logits, predicted.logits)
    agnostic = path_of(classifier, tokenizer, target="distribution", class_conditional=False)
    torch.testing.assert_close(agnostic(**batch, classes=classes).logits, agnostic(**batch).logits)


@pytest.mark.parametrize("masking", ["input", "hidden"])
@pytest.mark.parametrize("target", ["prediction", "distribution"])
def test_thresholds_are_what_their_margin_says(classifier, tokenizer, masking, target):
    explainer = path_of(classifier, tokenizer, **recipe_config("path", masking, target=target))
    batches = batches_of(tokenizer)
    everything = explainer(**batches[0])
    assert (everything.keep_probability == 1).all(), "not calibrated yet"
    calibrate(explainer, batches)
    scaled = explainer(**batches[0])
    ratio = everything.logits[everything.maskable] / scaled.logits[scaled.maskable]
    torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio), atol=0, rtol=1e-3)
    assert (ratio > 0).all(), "no ranking changes"
    units = torch.cat([(output := explainer(**features)).logits[output.maskable] for features in batches])
    torch.testing.assert_close(units.std(0), torch.ones(len(units[0])), atol=1e-2, rtol=0)
    means = explainer.costs[..., 0]
    assert (means[:, 0] == 0).all() and (means[:-1, -1] > 0.01).all()
    torch.testing.assert_close(explainer.costs[:, 3, 1:].mean(-1), means[:, 3], atol=0.05, rtol=0.2)

    def under(cuts):
        """Mean cost, share within the margin and share kept, of each state, by hand."""
        costs, kept, units = [], 0, 0
        for features in batches:
            output = explainer(**features)
            inputs = {name: value for name, value in features.items() if name != "special_tokens_mask"}
            of_states = []
            for state in range(explainer.config.num_states):
                mask = (output.logits[..., state] > cuts[state]) | ~output.maskable
                of_states.append(explainer.cost(output.target, explainer.masked_forward(mask, state, None, **inputs)))
            costs.append(torch.stack(of_states))
            last = (output.logits[..., -1] > cuts[-1]) & output.maskable
            kept, units = kept + last.sum(), units + output.maskable.sum()
        return torch.cat(costs, dim=-1), (kept / units).item()

    for number in (2, 5, 9):
        costs, share = under(explainer.thresholds[:, number])
        torch.testing.assert_close(costs.mean(-1), means[:, number], atol=1e-5, rtol=1e-4)
        assert share == pytest.approx(KEPT_SHARES[number], abs=0.02)
    margin = float(means[0, 4])
    cuts, coverage = explainer.threshold_at(margin)
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
    looser, _ = explainer.threshold_at(4 * margin)
    assert (looser >= cuts).all()
    output = explainer(**batches[0], margin=margin)
    assert torch.equal(output.keep_probability > 0.5, (output.logits > cuts) | ~output.maskable[..., None])
    assert len(COST_LEVELS) == explainer.costs.shape[-1] - 1


def test_cuts_lie_between_scores_that_differ(classifier, tokenizer):
    # With hidden masking the embedding state says the same of a token wherever it stands: many scores are equal.
    explainer = path_of(classifier, tokenizer, **recipe_config("path", "hidden"))
    batches = batches_of(tokenizer)
    calibrate(explainer, batches)
    units = torch.cat([(output := explainer(**features)).logits[output.maskable] for features in batches])
    assert len(units[:, 0].unique()) < len(units) / 2
    for state, cuts in enumerate(explainer.thresholds):
        assert (units[:, state, None] - cuts).abs().min() > 1e-6
        kept = (units[:, state, None] > cuts).double().mean(0)
        wanted = torch.tensor(KEPT_SHARES, dtype=torch.float64)
        assert (kept >= wanted - 1 / len(units)).all() and (cuts.diff() >= 0).all()


def test_calibration_is_saved_and_read_back(classifier, tokenizer, tmp_path, batch):
    explainer = path_of(classifier, tokenizer)
    calibrate(explainer, batches_of(tokenizer, 8, 8))
    explainer.save_pretrained(tmp_path)
    again = DiffMaskModel.from_pretrained(tmp_path, base_model=classifier).eval()
    assert torch.equal(again.thresholds, explainer.thresholds) and torch.equal(again.costs, explainer.costs)
    torch.testing.assert_close(again(**batch).keep_probability, explainer(**batch).keep_probability)


def test_what_does_not_go_together_is_refused():
    with pytest.raises(DiffMaskError, match="has no target but the distribution"):
        recipe_config("fast", target="prediction")
    with pytest.raises(DiffMaskError, match="Only a classifier predicts a class"):
        recipe_config("path", task="question-answering", target="prediction")
    assert recipe_config("path", task="question-answering")["target"] == "distribution"
    for fields, message in (
        ({"objective": "walk"}, "must be 'lagrangian' or 'path'"),
        ({"objective": "path", "target": "label"}, "must be 'prediction' or 'distribution'"),
        ({"target": "prediction"}, "is for paths and classifiers"),
        ({"temperature": 0.0}, "temperature must be greater than 0"),
    ):
        with pytest.raises(StrictDataclassClassValidationError, match=message):
            DiffMaskConfig(**fields)


class _Watch(TrainerCallback):
    def __init__(self, look):
        self.look = look

    def on_step_end(self, args, state, control, **kwargs):
        self.look()


def test_a_trained_path_ranks_far_better_than_chance(classifier, tokenizer, tmp_path):
    explainer = path_of(classifier, tokenizer)
    args = DiffMaskTrainingArguments(
        output_dir=str(tmp_path), recipe="path", max_steps=80, per_device_train_batch_size=32, use_cpu=True,
        disable_tqdm=True, report_to="none", save_strategy="no", eval_strategy="no", load_best_model_at_end=False,
    )  # fmt: skip
    data = TextFeatures(tokenizer, sentences(400), 64), TextFeatures(tokenizer, sentences(60, seed=1), 64)
    trainer = DiffMaskTrainer(explainer, args, *data, processing_class=tokenizer)
    untrained = trainer.evaluate()["eval_selection"]
    start = explainer.baseline.clone()
    learned = []  # the baseline after each step of the probes
    trainer.add_callback(_Watch(lambda: learned.append(explainer.baseline.clone())))
    trainer.train()
    assert not torch.equal(start, explainer.baseline), "learned from random masks, before the probes"
    assert len(learned) > 1 and all(torch.equal(one, explainer.baseline) for one in learned), "and then fixed"
    everything = next(iter(batches_of(tokenizer, 60, 60)))
    inputs_of = {name: value for name, value in everything.items() if name != "special_tokens_mask"}
    nothing = everything["special_tokens_mask"].bool()

    empty = []
    with torch.no_grad():
        for baseline in (start, learned[0]):
            explainer.baseline.copy_(baseline)
            empty.append(explainer.masked_forward(nothing, **inputs_of).exp().mean(0).min())
    assert empty[0] < 0.25 < empty[1], "an input of mask tokens is evidence for a class, and this one is not"
    metrics = trainer.evaluate()
    assert metrics["eval_selection"] < untrained - 0.2
    by_hand = [measure_ranking(explainer, features) for features in batches_of(tokenizer, 60, 60)]
    assert metrics["eval_selection"] == pytest.approx(torch.cat(by_hand).mean().item(), abs=1e-4)
    rows = measure(explainer, batches_of(tokenizer, 60, 60)[0])
    assert (rows[:, -1, 0].sum() / rows[:, -1, 1].sum()).item() < 0.7, "something can go within the margin"
    plain = DiffMaskModel.from_base_model(classifier, tokenizer).eval()
    inputs = data[1].items
    found = {}
    for name in ("diffmask", "random"):
        scores = attribute(Explainers(explainer, plain, None, 0), tokenizer, inputs, name).scores
        found[name] = mean_measures(measures(curve) for curve in curves(classifier, tokenizer, inputs, scores))
    assert set(found) <= set(METHODS)
    assert found["diffmask"]["comprehensiveness"] > found["random"]["comprehensiveness"] + 0.1
    assert found["diffmask"]["sufficiency"] < found["random"]["sufficiency"] - 0.1


def test_an_explainer_can_be_trained_again(classifier, tokenizer, tmp_path):
    explainer = path_of(classifier, tokenizer)
    args = DiffMaskTrainingArguments(
        output_dir=str(tmp_path), recipe="path", max_steps=1, baseline_steps=1, per_device_train_batch_size=8,
        use_cpu=True, disable_tqdm=True, report_to="none", save_strategy="no", eval_strategy="no",
        load_best_model_at_end=False, overwrite_output_dir=True,
    )  # fmt: skip
    for _ in range(2):
        before = explainer.baseline.clone()
        DiffMaskTrainer(
            explainer, args, TextFeatures(tokenizer, sentences(16), 64), processing_class=tokenizer
        ).train()
        assert not torch.equal(before, explainer.baseline)


def test_no_masks_are_measured_before_there_are_any(classifier, tokenizer, tmp_path):
    explainer = path_of(classifier, tokenizer)
    settings = dict(
        output_dir=str(tmp_path), recipe="path", max_steps=4, baseline_steps=1, per_device_train_batch_size=8,
        use_cpu=True, disable_tqdm=True, report_to="none", overwrite_output_dir=True, eval_steps=2, eval_delay=0,
        save_steps=2,
    )  # fmt: skip
    data = TextFeatures(tokenizer, sentences(32), 64), TextFeatures(tokenizer, sentences(20, seed=1), 64)
    trainer = DiffMaskTrainer(explainer, DiffMaskTrainingArguments(**settings), *data, processing_class=tokenizer)
    assert (
        not explainer.is_calibrated and trainer.evaluate().keys() == {"eval_selection", "epoch"} and trainer.rows == []
    )
    trainer.train()
    logged = [entry for entry in trainer.state.log_history if "eval_selection" in entry]
    assert len(logged) >= 2 and not any("eval_kept_share" in entry for entry in logged)
    assert explainer.is_calibrated and trainer.evaluate()["eval_kept_share"] == trainer.rows[-1].kept_share
    with pytest.raises(DiffMaskError, match="Of a path only `selection` is known in training"):
        args = DiffMaskTrainingArguments(**settings, metric_for_best_model="kept_share")
        DiffMaskTrainer(explainer, args, *data, processing_class=tokenizer)
    # Thresholds of weights that were trained further would be wrong ones.
    settings |= {"eval_strategy": "no", "save_strategy": "no", "load_best_model_at_end": False}
    DiffMaskTrainer(explainer, DiffMaskTrainingArguments(**settings), data[0], processing_class=tokenizer).train()
    assert not explainer.is_calibrated and (explainer(**batches_of(tokenizer)[0]).keep_probability == 1).all()


def test_coverage_is_read_off_the_quantiles(classifier, tokenizer):
    explainer = path_of(classifier, tokenizer)
    explainer.thresholds.copy_(torch.arange(float(len(KEPT_SHARES))).expand_as(explainer.thresholds))
    # At the threshold number g the q-quantile of the costs is g q / 10: at the margin 0.4, 0.8 of them at number 5.
    levels = torch.tensor(COST_LEVELS)
    spread = torch.arange(len(KEPT_SHARES))[:, None] / 10 * levels
    explainer.costs.copy_(torch.cat([spread.mean(-1, keepdim=True), spread], dim=-1).expand_as(explainer.costs))
    for margin, cut in ((0.4, 5.0), (0.44, 5.5), (0.72, 9.0)):
        cuts, coverage = explainer.threshold_at(margin)
        torch.testing.assert_close(cuts, torch.full_like(cuts, cut))
        torch.testing.assert_close(coverage, torch.full_like(coverage, 0.8))
    assert (explainer.threshold_at(2.0)[1] == 1).all(), "nothing costs so much"
    # Where the mean is what binds, fewer are outside.
    explainer.costs[..., 0] *= 2
    cuts, coverage = explainer.threshold_at(0.4)
    torch.testing.assert_close(cuts, torch.full_like(cuts, 4.0))
    torch.testing.assert_close(coverage, torch.full_like(coverage, 1.0))


def test_validation_texts_that_say_nothing_of_the_scale_leave_it(classifier, tokenizer):
    explainer = path_of(classifier, tokenizer)
    before = explainer.probes.out_weight.clone()
    for texts in ([""], ["film"] * 4):
        batch = dict(tokenizer(texts, return_tensors="pt", return_special_tokens_mask=True))
        calibrate(explainer, [batch])
        torch.testing.assert_close(explainer.probes.out_weight, before)


@pytest.mark.parametrize(("masking", "target"), [("hidden", "prediction"), ("input", "distribution")])
def test_refining_of_other_kinds(classifier, tokenizer, batch, masking, target):
    explainer = path_of(classifier, tokenizer, **recipe_config("path", masking, target=target))
    output = explainer(**batch)
    # Of the last state a classifier reads the first token alone, which is never masked.
    state = 1 if masking == "hidden" else -1
    scores = output.logits[..., state].detach()
    found = refine_scores(explainer, batch, scores, state, steps=3)
    from_end = state % explainer.config.num_states - explainer.config.num_states
    torch.testing.assert_close(found, refine_scores(explainer, batch, scores, from_end, steps=3))
    assert (found != scores)[output.maskable].any()
    assert torch.equal(found[~output.maskable], scores[~output.maskable])
    if masking == "hidden":
        assert not torch.allclose(found, refine_scores(explainer, batch, scores, 0, steps=3)), "masked elsewhere"
        assert torch.equal(scores, refine_scores(explainer, batch, scores, -1, steps=3))
    if target == "prediction":
        other = 1 - output.target.argmax(-1)
        assert not torch.allclose(found, refine_scores(explainer, batch, scores, state, classes=other, steps=3))


def test_refining_moves_scores_down_the_objective(classifier, tokenizer, batch):
    explainer = path_of(classifier, tokenizer, share_mean=False)  # whose random scores leave room to get better
    output = explainer(**batch)
    scores = explainer.attribution(output).detach()
    torch.testing.assert_close(scores, output.logits[..., -1].detach())
    refined = refine_scores(explainer, batch, scores, steps=30, samples=8, seed=1)
    assert torch.equal(refined, refine_scores(explainer, batch, scores, steps=30, samples=8, seed=1))
    assert torch.equal(refined[~output.maskable], scores[~output.maskable]), "special tokens and padding"
    inputs = [
        {name: values[row][there].tolist() for name, values in batch.items()}
        for row, there in enumerate(batch["attention_mask"].bool())
    ]
    found = []
    for side in (scores, refined):
        rows = [row[there].tolist() for row, there in zip(side, batch["attention_mask"].bool(), strict=True)]
        found.append(mean_measures(measures(curve) for curve in curves(classifier, tokenizer, inputs, rows)))
    assert found[1]["comprehensiveness"] > found[0]["comprehensiveness"] + 0.05
    assert found[1]["sufficiency"] < found[0]["sufficiency"]
    assert forwards_of(30, 8) == 30 * 8 * 6
