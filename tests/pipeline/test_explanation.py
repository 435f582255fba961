"""Explanations of a path for any margin and any class, with verified masks and whole curves."""

import pytest
import torch
from transformers import pipeline

import hf_diffmask
from hf_diffmask import DiffMaskModel
from hf_diffmask.errors import DiffMaskError
from hf_diffmask.hub.card_folder import write_card
from tests.helpers import path_config, path_pipeline

TEXTS = ["a warm and quietly funny film", "the plot is dull and the cast looks tired of it", "fine"]


@pytest.fixture
def explain(classifier, tokenizer):
    return path_pipeline(classifier, tokenizer)


def kept_of(result):
    return [token["kept"] for token in result["tokens"]]


def by_hand(explain, tokenizer, classifier, text, kept):
    """Probabilities of the base model with mask tokens for the dropped tokens."""
    ids = tokenizer(text)["input_ids"]
    ids = [token if keep else tokenizer.mask_token_id for token, keep in zip(ids, kept, strict=True)]
    with torch.no_grad():
        return classifier(torch.tensor([ids])).logits.softmax(-1)[0]


def test_scores_evidence_and_the_check(explain, classifier, tokenizer):
    explainer = explain.model
    for text, result in zip(TEXTS, explain(TEXTS), strict=True):
        batch = dict(tokenizer(text, return_tensors="pt", return_special_tokens_mask=True))
        output = explainer(**batch)
        cuts, _ = explainer.masks.threshold_at(0.1)
        for unit, token in enumerate(result["tokens"]):
            assert token["evidence"] == pytest.approx(output.logits[0, unit, -1].item(), abs=1e-5)
            if not token["special"]:
                expected = torch.sigmoid((output.logits[0, unit] - cuts) / 0.5)
                assert token["states"] == pytest.approx(expected.tolist(), abs=1e-5)
            assert token["score"] == token["states"][-1] and token["kept"] == (token["score"] > 0.5)
        whole = by_hand(explain, tokenizer, classifier, text, [True] * len(result["tokens"]))
        masked = by_hand(explain, tokenizer, classifier, text, kept_of(result))
        best = int(whole.argmax())
        assert result["drop"] == pytest.approx((whole[best] - masked[best]).item(), abs=1e-5)
        divergence = (whole * (whole / masked).log()).sum().item()
        assert result["divergence"] == pytest.approx(divergence, abs=1e-5)
        assert result["within_margin"] == (result["drop"] <= 0.1) and result["margin"] == 0.1


def test_any_margin_and_any_state(explain):
    shares = [explain(TEXTS[0], margin=margin)["kept_share"] for margin in (1e-4, 0.5, 0.9)]
    assert shares == sorted(shares, reverse=True) and shares[0] > shares[-1]
    assert explain(TEXTS[1], margin=0.5)["margin"] == 0.5
    early = explain(TEXTS[1], state="embeddings")
    assert early["tokens"][2]["score"] == early["tokens"][2]["states"][0]


def test_a_long_text_is_searched_window_by_window(explain):
    explain.length = 12
    result = explain(" ".join(TEXTS * 3), on_violation="search", margin=0.2)
    assert result["forwards"] >= 3 * 8 and len(result["tokens"]) > 30
    # Each window is searched for its own prediction, so the whole text needs its own check.
    assert result["within_margin"] == (result["drop"] <= 0.2)
    assert explain(" ".join(TEXTS * 3), curve=True)["curve"][-1]["divergence"] == pytest.approx(0, abs=1e-6)


def test_the_curve(explain, classifier, tokenizer):
    result = explain(TEXTS[1], curve=True)
    curve = result["curve"]
    assert [point["kept_share"] for point in curve] == [k / 16 for k in range(17)]
    assert curve[-1]["divergence"] == curve[-1]["drop"] == 0
    ids = tokenizer(TEXTS[1])["input_ids"]
    nothing = by_hand(explain, tokenizer, classifier, TEXTS[1], [True, *[False] * (len(ids) - 2), True])
    whole = by_hand(explain, tokenizer, classifier, TEXTS[1], [True] * len(ids))
    assert curve[0]["drop"] == pytest.approx((whole.max() - nothing[whole.argmax()]).item(), abs=1e-5)
    ranked = sorted(range(1, len(ids) - 1), key=lambda unit: -result["tokens"][unit]["evidence"])
    half = set(ranked[: round(len(ranked) / 2)])
    kept = [unit in half or unit in (0, len(ids) - 1) for unit in range(len(ids))]
    masked = by_hand(explain, tokenizer, classifier, TEXTS[1], kept)
    assert curve[8]["drop"] == pytest.approx((whole.max() - masked[whole.argmax()]).item(), abs=1e-5)


def test_of_a_word_the_most_evidence_counts(explain):
    text = "unforgettablyweird overproducedly mismarketed films"
    pieces, words = explain(text)["tokens"], explain(text, aggregation="word")["tokens"]
    later = 0
    for word in words[1:-1]:
        of_word = [token["evidence"] for token in pieces[1:-1] if word["start"] <= token["start"] < word["end"]]
        assert word["evidence"] == max(of_word)
        later += max(of_word) > of_word[0]
    assert len(words) == 6 and later > 0


def test_without_validation_inputs_there_are_no_thresholds(classifier, tokenizer, tmp_path):
    explainer = DiffMaskModel.from_base_model(classifier, tokenizer, **path_config()).eval()
    explain = pipeline(hf_diffmask.TASK, model=explainer, tokenizer=tokenizer, device="cpu")
    assert explain(TEXTS[1])["kept_share"] == 1
    with pytest.raises(DiffMaskError, match="trained without validation inputs"):
        explain(TEXTS[1], margin=0.2)
    result = explain(TEXTS[1], margin=0.2, on_violation="search")
    assert result["within_margin"] and result["kept_share"] < 1
    card = write_card(tmp_path, explainer).read_text()
    assert "There are no thresholds" in card and "of the calibration" not in card


def test_another_class(explain):
    result = explain(TEXTS[0])
    names = explain.model.base.config.id2label
    (other,) = set(names.values()) - {result["label"]}
    against = explain(TEXTS[0], label=other)
    assert against["explained_label"] == other and against["label"] == result["label"]
    assert [token["evidence"] for token in against["tokens"]] != [token["evidence"] for token in result["tokens"]]
    number = next(key for key, name in names.items() if name == other)
    assert explain(TEXTS[0], label=number)["tokens"] == against["tokens"]


def test_the_whole_output(classifier, tokenizer):
    explain = path_pipeline(classifier, tokenizer, target="distribution", class_conditional=False)
    result = explain(TEXTS[0], on_violation="search")
    assert "drop" not in result and result["within_margin"] and result["divergence"] <= 0.1
    assert "drop" not in explain(TEXTS[0], curve=True)["curve"][0]
    with pytest.raises(DiffMaskError, match="explains the whole output"):
        explain(TEXTS[0], label=0)
