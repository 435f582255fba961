"""Exact erasure is checked by brute force."""

from itertools import combinations

import pytest
import torch

from hf_diffmask import DiffMaskModel
from hf_diffmask.errors import DiffMaskError
from hf_diffmask.explainer.masking import Masking
from hf_diffmask.methods import erasure
from hf_diffmask.methods.erasure import exact_erasure, smallest_subsets
from tests.helpers import path_config
from tests.methods.helpers import kl, masked_by_hand


@pytest.mark.parametrize(("margin", "batch_size"), [(0.5, 512), (0.1, 7), (0.003, 100)])
def test_exact_erasure_is_brute_force(explainer, classifier, tokenizer, batch, margin, batch_size):
    explainer.config.margin = margin
    subsets = smallest_subsets(Masking(explainer, batch), batch_size=batch_size)
    masks = exact_erasure(explainer, batch, batch_size=batch_size)
    sizes = []
    for row, length in enumerate(batch["attention_mask"].sum(-1).tolist()):
        words = range(1, length - 1)
        every = [subset for size in range(len(words) + 1) for subset in combinations(words, size)]
        divergences = kl(
            masked_by_hand(classifier, tokenizer, batch, row, [words]),
            masked_by_hand(classifier, tokenizer, batch, row, every),
        )
        enough = [
            (len(subset), d, subset) for subset, d in zip(every, divergences.tolist(), strict=True) if d <= margin
        ]
        smallest = min(enough)[0]
        optimal = sorted((d, subset) for size, d, subset in enough if size == smallest)
        assert subsets[row].dtype == torch.bool and subsets[row].shape == (len(optimal), batch["input_ids"].shape[1])
        found = [tuple(mask.nonzero().flatten().tolist()) for mask in subsets[row]]
        assert set(found) == {subset for _, subset in optimal}
        assert found[0] == optimal[0][1]
        assert tuple(masks[row].nonzero().flatten().tolist()) == optimal[0][1]
        sizes.append(smallest)
    # With these margins, searches in one batch end at different sizes.
    assert len(set(sizes)) > 1
    assert ((masks == 0) | (masks == 1)).all()


def test_the_margin_of_a_path_bounds_the_drop(classifier, tokenizer, batch):
    explainer = DiffMaskModel.from_base_model(classifier, tokenizer, **path_config()).eval()
    explainer.config.margin = 0.1
    subsets = smallest_subsets(Masking(explainer, batch))
    for row, length in enumerate(batch["attention_mask"].sum(-1).tolist()):
        words = range(1, length - 1)
        every = [subset for size in range(len(words) + 1) for subset in combinations(words, size)]
        whole = masked_by_hand(classifier, tokenizer, batch, row, [words]).exp()
        masked = masked_by_hand(classifier, tokenizer, batch, row, every).exp()
        drops = (whole - masked)[:, whole.argmax()].tolist()
        smallest = min(len(subset) for subset, drop in zip(every, drops, strict=True) if drop <= 0.1)
        optimal = [s for s, drop in zip(every, drops, strict=True) if drop <= 0.1 and len(s) == smallest]
        assert {tuple(mask.nonzero().flatten().tolist()) for mask in subsets[row]} == set(optimal)


def test_exact_erasure_at_a_hidden_state(counting):
    explainer, features, _, real = counting
    masking = Masking(explainer, features, 1)
    masks = exact_erasure(explainer, features, 1)
    assert (masking.divergence(masks) <= 0.05).all()
    smaller = 0
    for row, subsets in enumerate(smallest_subsets(masking)):
        size = int(masks[row].sum())
        assert (subsets.sum(-1) == size).all() and torch.equal(subsets[0].float(), masks[row])
        if size:
            units = real[row].nonzero().flatten().tolist()
            fewer = torch.zeros(len(list(combinations(units, size - 1))), masks.shape[1])
            for mask, subset in zip(fewer, combinations(units, size - 1), strict=True):
                mask[list(subset)] = 1
            assert (masking.divergence(fewer, torch.full((len(fewer),), row)) > 0.05).all()
            smaller += 1
    assert smaller > 20


def test_the_whole_input_always_suffices(explainer, batch):
    explainer.config.margin = -1.0
    masks = exact_erasure(explainer, batch)
    maskable = batch["attention_mask"].bool() & ~batch["special_tokens_mask"].bool()
    assert torch.equal(masks.bool(), maskable)


def test_budget_of_exact_erasure(explainer, batch, monkeypatch):
    forwards = []
    cost = Masking.cost
    monkeypatch.setattr(Masking, "cost", lambda *args: forwards.append(len(args[1])) or cost(*args))
    with pytest.raises(DiffMaskError, match=r"budget of 20 masked inputs. These 3 inputs need 21 .* up to 2\^11 - 1"):
        exact_erasure(explainer, batch, budget=20)
    assert not forwards
    explainer.config.margin = -1.0
    # 1 + 1 + 1, then 3 + 11 + 4; pairs of all three would be 3 + 55 + 6.
    text = (
        "budget of 84 masked inputs: no subset of up to 1 of the 11 units of input 1 suffices, 21 masked inputs are "
        "tried, and subsets of 2 need 64 more"
    )
    with pytest.raises(DiffMaskError, match=text):
        exact_erasure(explainer, batch, budget=84)
    assert sum(forwards) == 21
    forwards.clear()
    short = {name: value[[0, 2]] for name, value in batch.items()}
    needed = (2**3 - 1) + (2**4 - 1)
    assert exact_erasure(explainer, short, budget=needed).sum() == 3 + 4
    assert sum(forwards) == needed
    with pytest.raises(DiffMaskError, match="input 1 suffices"):
        exact_erasure(explainer, short, budget=needed - 1)


def test_long_searches_show_their_progress(explainer, batch, capsys, monkeypatch):
    exact_erasure(explainer, batch)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(erasure, "SILENT_BELOW", 3)
    exact_erasure(explainer, batch)
    assert "Erasure, 0 units" in capsys.readouterr().err
