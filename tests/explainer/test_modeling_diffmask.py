"""The explainer masks, saves and loads; damaged files are refused."""

import pytest
import torch
from torch.nn import functional as F

import hf_diffmask
from hf_diffmask import DiffMaskError, DiffMaskModel
from tests.explainer.helpers import base_features, drawn, uniform
from tests.helpers import masked_output, path_of


def test_forward_gives_falling_probabilities_and_keeps_special_tokens(explainer, batch):
    output = explainer(**batch)
    keep = output.keep_probability
    assert keep.shape == (*batch["input_ids"].shape, explainer.config.num_states)
    assert ((keep >= 0) & (keep <= 1)).all() and (keep.diff(dim=-1) <= 1e-6).all()
    fixed = batch["special_tokens_mask"].bool() | ~batch["attention_mask"].bool()
    assert (keep[fixed] == 1).all() and (keep[~fixed][:, -1] < 1).all()


def test_special_tokens_can_be_units(classifier, tokenizer, batch):
    model = DiffMaskModel.from_base_model(classifier, tokenizer, mask_special_tokens=True)
    output = model(**batch)
    assert output.maskable.sum() == batch["attention_mask"].sum()


def test_padding_changes_nothing(explainer, tokenizer, batch):
    together = explainer(**batch)
    for row, length in enumerate(batch["attention_mask"].sum(-1).tolist()):
        alone = explainer(**{name: value[row : row + 1, :length] for name, value in batch.items()})
        torch.testing.assert_close(
            together.keep_probability[row, :length], alone.keep_probability[0], atol=1e-5, rtol=0
        )


def test_masked_output_of_everything_and_of_mask_tokens(explainer, classifier, tokenizer, batch):
    features = base_features(batch)
    with torch.no_grad():
        whole = classifier(**features).logits.log_softmax(-1)
        torch.testing.assert_close(
            masked_output(explainer, torch.ones(3, batch["input_ids"].shape[1]), **features), whole
        )
        # The baseline starts at the mask token's embedding, so masking equals writing [MASK].
        mask = torch.ones_like(batch["input_ids"])
        mask[:, 2] = 0
        written = {**features, "input_ids": features["input_ids"].clone()}
        written["input_ids"][:, 2] = tokenizer.mask_token_id
        expected = classifier(**written).logits.log_softmax(-1)
        torch.testing.assert_close(masked_output(explainer, mask, **features), expected)


def test_sampled_masks_only_touch_votes_up_to_the_state(explainer, batch):
    noise = uniform(explainer, batch)
    states = torch.tensor([0, 1, 2])
    output = explainer(**batch, draw=drawn(explainer, states, noise))
    other = noise.clone()
    for row, state in enumerate(states.tolist()):
        other[row, :, state + 1 :] = torch.rand_like(other[row, :, state + 1 :])
    again = explainer(**batch, draw=drawn(explainer, states, other))
    assert torch.equal(output.masked, again.masked)


def test_gradient_reaches_probes_and_baseline_but_not_the_base(explainer, classifier, batch):
    output = explainer(**batch, draw=drawn(explainer, torch.full((3,), 3), uniform(explainer, batch)))
    output.masked[:, 0].sum().backward()
    assert all(parameter.grad is not None for parameter in explainer.parameters())
    assert explainer.baseline.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in classifier.parameters())


def test_a_folder_that_is_no_explainer_is_refused():
    with pytest.raises(DiffMaskError, match="is not an explainer"):
        DiffMaskModel.from_pretrained(hf_diffmask.BUNDLED_CLASSIFIER)


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
