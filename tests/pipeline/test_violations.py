"""Explanations outside the margin are kept, searched, refined or withheld."""

import json

import pytest
import torch
from transformers import pipeline

import hf_diffmask
from hf_diffmask.display.page import to_html
from hf_diffmask.display.terminal import to_text
from hf_diffmask.methods.budget_search import smallest_budget
from hf_diffmask.methods.per_example import REFINE_FORWARDS
from hf_diffmask_entry import main
from tests.helpers import path_pipeline, recorded_of, refused

TEXTS = [
    "a warm film",
    "the plot is dull and the cast looks tired of it",
    "not bad at all",
    "it rains and it rains",
    "a wonderful , wonderful story",
]


@pytest.fixture
def explain(explainer, tokenizer):
    """A pipeline that drops most tokens: only some explanations are within the margin."""
    with torch.no_grad():
        explainer.probes.out_bias.fill_(-0.5)
    return pipeline(hf_diffmask.TASK, model=explainer, tokenizer=tokenizer, device="cpu")


def kept_of(result):
    return [token["kept"] for token in result["tokens"]]


def by_hand(tokenizer, classifier, text, kept):
    """Probabilities of the base model with mask tokens for the dropped tokens."""
    ids = tokenizer(text)["input_ids"]
    ids = [token if keep else tokenizer.mask_token_id for token, keep in zip(ids, kept, strict=True)]
    with torch.no_grad():
        return classifier(torch.tensor([ids])).logits.softmax(-1)[0]


@pytest.fixture
def path(classifier, tokenizer):
    return path_pipeline(classifier, tokenizer)


def test_searched_explanations_are_within_the_margin_with_the_fewest_tokens(path, classifier, tokenizer):
    for text in TEXTS:
        for margin in (1e-3, 0.1):
            result = path(text, on_violation="search", margin=margin)
            assert result["within_margin"] and result["drop"] <= margin and result["forwards"] >= 8
            assert result["searched"] and result["certificate"] == "holds"
            assert f"A search found this mask ({result['forwards']} forward" in to_text(result, color=False)
            masked = by_hand(tokenizer, classifier, text, kept_of(result))
            whole = by_hand(tokenizer, classifier, text, [True] * len(result["tokens"]))
            assert (whole.max() - masked[whole.argmax()]).item() == pytest.approx(result["drop"], abs=1e-5)
            batch = dict(tokenizer(text, return_tensors="pt", return_special_tokens_mask=True))
            output = path.model(**batch)
            found = smallest_budget(path.model, recorded_of(path.model, **batch), output.logits[..., -1], margin)
            assert sum(kept_of(result)) == found.budget.item() + 2
    together = path(TEXTS, on_violation="search", batch_size=3)
    alone = [path(text, on_violation="search") for text in TEXTS]
    assert [kept_of(result) for result in together] == [kept_of(result) for result in alone]
    assert [result["forwards"] for result in together] == [result["forwards"] for result in alone]


def test_refined_explanations_are_within_the_margin_and_others_as_they_were(explain, classifier, tokenizer):
    kept = explain(TEXTS)
    outside = [not result["within_margin"] for result in kept]
    assert any(outside) and not all(outside)
    refined = explain(TEXTS, on_violation="refine")
    for text, before, after, was_outside in zip(TEXTS, kept, refined, outside, strict=True):
        assert after["within_margin"] and after["forwards"] == (REFINE_FORWARDS if was_outside else 0)
        if not was_outside:
            assert {**after, "forwards": None} == {**before, "forwards": None}
            assert "search" not in to_text(after, color=False)
            continue
        assert (before["certificate"], after["certificate"]) == ("does not hold", "holds")
        assert after["searched"] and "A search found this mask" in to_text(after, color=False)
        assert after["kept_share"] > before["kept_share"]
        assert all(token["kept"] == (token["states"][-1] > 0.5) for token in after["tokens"])
        # By hand: dropped tokens become [MASK], because an untrained baseline is its embedding.
        features = tokenizer(text, return_tensors="pt")
        written = features["input_ids"].clone()
        written[0, [k for k, token in enumerate(after["tokens"]) if not token["kept"]]] = tokenizer.mask_token_id
        with torch.no_grad():
            whole, masked = (
                classifier(input_ids=ids, attention_mask=features["attention_mask"]).logits.log_softmax(-1)
                for ids in (features["input_ids"], written)
            )
        assert after["divergence"] == pytest.approx((whole.exp() * (whole - masked)).sum().item(), abs=1e-5)
    assert all("forwards" not in result for result in kept)


def test_refining_does_not_depend_on_the_batch(explain):
    alone, together = (explain(TEXTS, on_violation="refine", batch_size=size) for size in (1, 4))
    for one, other in zip(alone, together, strict=True):
        assert [token["kept"] for token in one["tokens"]] == [token["kept"] for token in other["tokens"]]
        assert one["divergence"] == pytest.approx(other["divergence"], abs=1e-5)
        assert one["forwards"] == other["forwards"]


def test_long_texts_are_refined_window_by_window(explain):
    result = explain(" . ".join(TEXTS * 12), on_violation="refine")
    assert result["within_margin"] and result["forwards"] % REFINE_FORWARDS == 0 and result["forwards"] > 0


def test_abstaining_hands_out_no_tokens(explain):
    for before, after in zip(explain(TEXTS), explain(TEXTS, on_violation="abstain"), strict=True):
        assert after.pop("abstained") is not before["within_margin"]
        if before["within_margin"]:
            assert after == before
            continue
        assert after["tokens"] == [] and after["kept_share"] is None
        assert (after["label"], after["divergence"]) == (before["label"], before["divergence"])
        after["abstained"] = True
        assert "No explanation" in to_text(after, color=True) and "No explanation" in to_html([after])
        assert json.loads(json.dumps(after)) == after


def test_the_command(capsys, explain, tmp_path):
    explain.model.save_pretrained(tmp_path)
    explain.tokenizer.save_pretrained(tmp_path)
    # Masks of the bundled explainer form a path, others do not.
    for asked in (["refine", "--model", str(tmp_path)], ["search"]):
        assert main(["explain", "--on_violation", *asked, "--format", "json", *TEXTS]) == 0
        results = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert len(results) == len(TEXTS) and all(result["within_margin"] for result in results)
        assert all("forwards" in result for result in results)
    refused(capsys, ["explain", "--refine_steps", "2", TEXTS[0]], "`refine_steps` is gone with the recipe 'path'")
