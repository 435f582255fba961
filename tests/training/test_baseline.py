"""A baseline learned from random masks is hardly evidence for a class, and is fixed before the probes learn."""

from contextlib import nullcontext

import pytest
import torch

from hf_diffmask import DiffMaskModel, DiffMaskTrainingArguments
from hf_diffmask.data.features import TextFeatures, collate
from hf_diffmask.testbeds.grammar import sentences
from hf_diffmask.training.baseline import fit_baseline
from tests.helpers import make_trainer, masked_output, recorded_of


@torch.no_grad()
def divergence_under_random_masks(explainer, batch, share):
    """Mean divergence over examples and 8 draws with separate noise."""
    generator = torch.Generator().manual_seed(7)
    features = {name: batch[name] for name in ("input_ids", "token_type_ids", "attention_mask")}
    target = recorded_of(explainer, **features).target
    special = batch["special_tokens_mask"].bool()
    total = 0.0
    for _ in range(8):
        keep = special | (torch.rand(special.shape, generator=generator) < share)
        total += explainer.task.divergence(target, masked_output(explainer, keep, **features)).mean().item() / 8
    return total


def test_a_baseline_from_random_masks_moves_the_output_less_and_says_less(classifier, tokenizer, tmp_path):
    explainer = DiffMaskModel.from_base_model(classifier, tokenizer)
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    unseen = collate(tokenizer, [TextFeatures(tokenizer, sentences(64, seed=5), 64)[k] for k in range(64)])
    everything = {**unseen}
    everything.pop("example_ids")
    special = everything.pop("special_tokens_mask").bool()

    def look():
        with torch.no_grad():
            empty = masked_output(explainer, special, **everything).exp()
        return [divergence_under_random_masks(explainer, unseen, share) for share in (0.0, 0.3, 0.6)], empty

    divergences, empty = look()
    assert empty[:, 1].min() > 0.8, "the mask token's embedding is evidence for one class"
    args = DiffMaskTrainingArguments(output_dir=str(tmp_path), baseline_steps=60, use_cpu=True, disable_tqdm=True)
    data = TextFeatures(tokenizer, sentences(200), 64)
    fit_baseline(explainer, data, lambda items: collate(tokenizer, items), args, nullcontext)
    fitted, empty = look()
    assert all(after < start for after, start in zip(fitted, divergences, strict=True))
    assert 0.3 < empty[:, 1].mean() < 0.7
    assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())
    assert explainer.probes.out_weight.grad is None


@pytest.mark.parametrize("steps", [0, 2])
def test_a_baseline_learned_before_the_probes_is_fixed_while_they_learn(classifier, tokenizer, tmp_path, steps):
    trainer = make_trainer(
        classifier, tokenizer, tmp_path, "paper", eval_strategy="no", max_steps=0, baseline_steps=steps
    )
    start = trainer.model.baseline.detach().clone()
    fit_baseline(trainer.model, trainer.train_dataset, trainer.data_collator, trainer.args, nullcontext)
    fitted = trainer.model.baseline.detach().clone()
    assert torch.equal(fitted, start) == (steps == 0)
    trainer = make_trainer(
        classifier, tokenizer, tmp_path, "paper", eval_strategy="no", max_steps=2, baseline_steps=steps
    )
    trainer.train()
    assert torch.equal(trainer.model.baseline, fitted) == (steps > 0)


def test_baselines_start_at_the_mean_states_and_are_fitted(classifier, tokenizer, tmp_path):
    trainer = make_trainer(
        classifier, tokenizer, tmp_path, "paper", "hidden", max_steps=1, eval_strategy="no", baseline_steps=1,
        baseline_learning_rate=1e-9,
    )  # fmt: skip
    trainer.train()
    # Mean states of the first 32 sentences in the seed's order.
    order = torch.randperm(96, generator=torch.Generator().manual_seed(trainer.args.seed))[:32].tolist()
    features = trainer.data_collator([trainer.train_dataset[k] for k in order])
    units = features["attention_mask"].bool()
    inputs = {name: features[name] for name in ("input_ids", "attention_mask", "token_type_ids") if name in features}
    means = torch.stack([state[units].mean(0) for state in recorded_of(trainer.model, **inputs).states[1:]])
    torch.testing.assert_close(trainer.model.hidden_baselines.detach(), means, atol=1e-5, rtol=0)
    assert not trainer.model.hidden_baselines.requires_grad


def test_learned_baselines_are_not_set_back(classifier, tokenizer, tmp_path):
    trainer = make_trainer(
        classifier, tokenizer, tmp_path, "paper", "hidden", max_steps=1, eval_strategy="no", baseline_steps=0,
        baseline_learning_rate=0.0,
    )  # fmt: skip
    with torch.no_grad():
        trainer.model.hidden_baselines.normal_()
    learned = trainer.model.hidden_baselines.clone()
    trainer.train()
    assert torch.equal(trainer.model.hidden_baselines, learned)
