"""Units through the pipeline: evidence adds up, masks are run by hand, and results list units."""

import pytest
import torch
from transformers import pipeline

import hf_diffmask
from hf_diffmask import DiffMaskError, DiffMaskModel, recipe_config
from hf_diffmask.ablations.drawing import draw_masks
from hf_diffmask.ablations.running import run_masks
from hf_diffmask.data.encoding import encode
from hf_diffmask.data.features import collate
from hf_diffmask.data.units import with_units
from hf_diffmask.evaluation.faithfulness import PRESETS, curves
from hf_diffmask.explainer.masking import Masking
from hf_diffmask.methods.leave_one_out import leave_one_out
from hf_diffmask.methods.plain import plain_explainer
from hf_diffmask.pipeline.what_if import what_if

TEXT = "A warm and quietly funny film. The ending is dull. I laughed, unforgettably!"
SENTENCES = ["A warm and quietly funny film.", "The ending is dull.", "I laughed, unforgettably!"]


@pytest.fixture(scope="module")
def explain():
    return pipeline(hf_diffmask.TASK, model=hf_diffmask.BUNDLED_EXPLAINER)


def shown(result):
    return [token["token"] for token in result["tokens"] if not token["special"]]


def masked_by_hand(explain, text, kept_spans):
    """Probabilities when all tokens outside of the spans are the baseline."""
    encoded = explain.tokenizer(
        text, return_tensors="pt", return_offsets_mapping=True, return_special_tokens_mask=True
    )
    inside = [
        any(start >= a and end <= b for a, b in kept_spans) for start, end in encoded["offset_mapping"][0].tolist()
    ]
    stays = torch.tensor(inside) | encoded["special_tokens_mask"][0].bool()
    base = explain.model.base
    embeddings = base.get_input_embeddings()(encoded["input_ids"])
    with torch.no_grad():
        masked = torch.where(stays[:, None], embeddings, explain.model.baseline)
        return base(inputs_embeds=masked, attention_mask=encoded["attention_mask"]).logits.softmax(-1)[0]


def test_evidence_of_a_unit_is_the_sum_over_its_tokens(explain):
    tokens = explain(TEXT)["tokens"]
    for unit in ("word", "sentence", [(0, 17), (31, 41)]):
        for one in explain(TEXT, unit=unit)["tokens"]:
            parts = [t["evidence"] for t in tokens if one["start"] <= t["start"] < one["end"] and not t["special"]]
            if not one["special"]:
                assert one["evidence"] == pytest.approx(sum(parts), abs=1e-5)
    assert shown(explain(TEXT, unit="sentence")) == SENTENCES
    assert shown(explain(TEXT, unit="word"))[-3:] == [",", "unforgettably", "!"]


def test_a_unit_is_kept_whole_and_the_check_is_that_of_its_mask(explain):
    for options in ({}, {"on_violation": "search"}):
        result = explain(TEXT, unit="sentence", **options)
        kept = [(t["start"], t["end"]) for t in result["tokens"] if t["kept"] and not t["special"]]
        assert 0 < len(kept) < 3 and result["kept_share"] == pytest.approx(len(kept) / 3)
        whole, masked = masked_by_hand(explain, TEXT, [(0, len(TEXT))]), masked_by_hand(explain, TEXT, kept)
        assert result["drop"] == pytest.approx((whole - masked)[whole.argmax()].item(), abs=1e-5)


def test_a_curve_leaves_out_whole_units(explain):
    result = explain(TEXT, unit="sentence", curve=True)
    ranked = sorted((t for t in result["tokens"] if not t["special"]), key=lambda t: -t["evidence"])
    for point in result["curve"]:
        best = ranked[: round(point["kept_share"] * 3)]
        masked = masked_by_hand(explain, TEXT, [(t["start"], t["end"]) for t in best])
        whole = masked_by_hand(explain, TEXT, [(0, len(TEXT))])
        assert point["drop"] == pytest.approx((whole - masked)[whole.argmax()].item(), abs=1e-5)


def test_what_if_keeps_units(explain):
    found = what_if(explain, TEXT, [2], unit="sentence")  # 0 is [CLS]
    expected = masked_by_hand(explain, TEXT, [(31, 50)])
    assert list(found["masked"]["probabilities"].values()) == pytest.approx(expected.tolist(), abs=1e-5)
    assert found["kept"] == [0, 2, 4]
    with pytest.raises(DiffMaskError, match="no token 5: the input has 5"):
        what_if(explain, TEXT, [5], unit="sentence")


def test_batches_and_single_texts_agree(explain):
    texts = [TEXT, "Dull. A warm film!", "Funny"]
    for unit in ("word", "sentence"):
        together = explain(texts, unit=unit, batch_size=3)
        for text, result in zip(texts, together, strict=True):
            alone = explain(text, unit=unit)
            assert shown(alone) == shown(result)
            for one, other in zip(alone["tokens"], result["tokens"], strict=True):
                assert one["evidence"] == pytest.approx(other["evidence"], abs=1e-5) and one["kept"] == other["kept"]


def test_a_long_text_has_units_over_all_windows(explain):
    text = " ".join(f"Film number {k} was warm." for k in range(150))
    result = explain(text, unit="sentence")
    assert shown(result) == [f"Film number {k} was warm." for k in range(150)]


def features_of(explain, unit="sentence"):
    encoded = with_units(encode(explain.tokenizer, TEXT), unit)
    batch = collate(explain.tokenizer, [{**encoded.features, "example_ids": 0}])
    return encoded.features, {name: value for name, value in batch.items() if name != "example_ids"}


def test_ablations_and_methods_mask_whole_units(explain):
    model, (item, features) = explain.model, features_of(explain)
    recorded = model.record(model.batch(**features))
    masks = draw_masks(0, torch.tensor([0]), recorded.batch.maskable, 8)
    spans = [(0, 30), (31, 50), (51, len(TEXT))]
    places = recorded.batch.maskable[0].nonzero()[:, 0].tolist()
    outputs = run_masks(model, recorded, masks, ("baseline",))
    for mask, output in zip(masks[0], outputs[0], strict=True):
        kept = [span for span, place in zip(spans, places, strict=True) if mask[place]]
        assert output.exp().tolist() == pytest.approx(masked_by_hand(explain, TEXT, kept).tolist(), abs=1e-5)
    hidden = run_masks(model, recorded, masks, ("attention",))
    for mask, output in zip(masks[0], hidden[0], strict=True):
        seen = torch.tensor([[mask[place].item() for place in recorded.batch.unit_of[0].tolist()]])
        seen |= recorded.batch.special
        expected = model.base(input_ids=features["input_ids"], attention_mask=seen.long()).logits.softmax(-1)[0]
        assert output.exp().tolist() == pytest.approx(expected.tolist(), abs=1e-5)
    nothing = Masking(model, features).mask(torch.zeros_like(recorded.batch.maskable))
    assert (nothing == model.baseline).all(-1).equal(~recorded.batch.special)
    scores = leave_one_out(plain_explainer(model, explain.tokenizer), features, signed=True)
    assert (scores[0] != 0).nonzero()[:, 0].tolist() == places
    (curve,) = curves(model.base, explain.tokenizer, [item], scores.tolist(), PRESETS["hf_diffmask"])
    first = places[int(scores[0, places].argmax())]
    ids = features["input_ids"].clone()
    ids[0, recorded.batch.unit_of[0] == first] = explain.tokenizer.mask_token_id
    expected = model.base(input_ids=ids, attention_mask=features["attention_mask"]).logits.softmax(-1)[0]
    assert curve.removed[0].tolist() == pytest.approx(expected.tolist(), abs=1e-5)
    assert curve.shares.tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 2 / 3])


def test_explainers_whose_scores_do_not_add_up_take_no_units(classifier, tokenizer):
    model = DiffMaskModel.from_base_model(classifier, tokenizer, **recipe_config("paper"))
    explain = pipeline(hf_diffmask.TASK, model=model, tokenizer=tokenizer)
    with pytest.raises(DiffMaskError, match="--recipe ablation"):
        explain(TEXT, unit="word")


def test_units_are_not_merged_into_words(explain):
    with pytest.raises(DiffMaskError, match='lists sentences, not tokens: leave `aggregation="word"` out'):
        explain(TEXT, unit="sentence", aggregation="word")
