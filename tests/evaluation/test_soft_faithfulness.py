"""Soft faithfulness is exact for scores of 0 and 1; for others its mean is the expectation."""

import pytest
import torch

from hf_diffmask.errors import DiffMaskError
from hf_diffmask.evaluation.soft_faithfulness import NoScaleError, normalised_scores, soft_measures
from hf_diffmask.testbeds.grammar import sentences

TEXT = "the plot is dull"


@pytest.fixture
def features(tokenizer):
    return dict(tokenizer(TEXT, return_special_tokens_mask=True))


@torch.no_grad()
def probability(classifier, features, there):
    """Probability of the predicted class, with embeddings multiplied by hand."""
    ids = torch.tensor([features["input_ids"]])
    embedded = classifier.get_input_embeddings()(ids)
    whole = classifier(inputs_embeds=embedded).logits.softmax(-1)[0]
    return classifier(inputs_embeds=embedded * there).logits.softmax(-1)[0, whole.argmax()].item()


def test_scores_from_0_to_1():
    special = [True, False, False, False, True]
    assert normalised_scores([9.0, -1.0, 3.0, 1.0, 9.0], special) == [1.0, 0.0, 1.0, 0.5, 1.0]
    assert normalised_scores([0.0, 7.0], [True, False]) == [1.0, 1.0]
    with pytest.raises(DiffMaskError, match="All scores are the same"):
        normalised_scores([0.0, 2.0, 2.0], [True, False, False])


def test_scores_of_0_and_1_leave_nothing_to_chance(classifier, tokenizer, features):
    found = soft_measures(classifier, tokenizer, features, [0.0, 0.0, 0.0, 0.0, 1.0, 0.0], samples=3)
    zeros = torch.tensor([1.0, 0, 0, 0, 0, 1])[None, :, None]
    only, without = zeros.clone(), torch.ones(1, 6, 1)
    only[0, 4], without[0, 4] = 1, 0
    whole, empty, kept, rest = (probability(classifier, features, there) for there in (
        torch.ones(1, 6, 1), zeros, only, without
    ))  # fmt: skip
    assert whole > empty
    assert found["soft_sufficiency"] == pytest.approx(1 - max(0, whole - kept) / (whole - empty), abs=1e-5)
    assert found["soft_comprehensiveness"] == pytest.approx(max(0, whole - rest) / (whole - empty), abs=1e-5)


def test_draws_are_of_the_seed_and_their_mean_is_the_expectation(classifier, tokenizer, features):
    scores = [0.0, 0.1, 0.3, 0.0, 1.0, 0.0]
    one, again, other = (
        soft_measures(classifier, tokenizer, features, scores, samples=4, seed=seed) for seed in (0, 0, 1)
    )
    assert one == again and one != other
    many = soft_measures(classifier, tokenizer, features, scores, samples=1500)
    generator = torch.Generator().manual_seed(0)
    keep = torch.tensor([1.0, 0.1, 0.3, 0.0, 1.0, 1.0])[None, :, None]
    width = classifier.get_input_embeddings().embedding_dim
    whole = probability(classifier, features, torch.ones(1, 6, 1))
    empty = probability(classifier, features, torch.tensor([1.0, 0, 0, 0, 0, 1])[None, :, None])
    drops = [
        max(0.0, whole - probability(classifier, features, torch.rand(1, 6, width, generator=generator) < keep))
        for _ in range(400)
    ]
    expected = 1 - sum(drops) / len(drops) / (whole - empty)
    assert many["soft_sufficiency"] == pytest.approx(expected, abs=0.03)


def test_both_figures_stay_between_0_and_1(classifier, tokenizer):
    """An input of zeros may lose less probability than an input without some tokens."""
    for text in sentences(40):
        one = dict(tokenizer(text, return_special_tokens_mask=True))
        try:
            found = soft_measures(classifier, tokenizer, one, [float(k) for k in range(len(one["input_ids"]))])
        except NoScaleError:
            continue
        assert all(0 <= value <= 1 for value in found.values())


def test_the_word_that_decides_does_better_than_another(classifier, tokenizer, features):
    right = soft_measures(classifier, tokenizer, features, [0.0, 0.0, 0.1, 0.1, 1.0, 0.0])
    wrong = soft_measures(classifier, tokenizer, features, [0.0, 1.0, 0.1, 0.1, 0.0, 0.0])
    assert all(right[name] > wrong[name] for name in right)


def test_an_input_without_a_scale_is_refused(classifier, tokenizer, features):
    with pytest.raises(DiffMaskError, match="no scale to measure on"):
        soft_measures(classifier, tokenizer, features, [0.0, 1.0, 0.1, 0.1, 0.0, 0.0], choice=1)
