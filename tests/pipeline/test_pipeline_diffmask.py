"""The pipeline explains with the bundled classifier."""

import json
import math

import datasets
import pytest
import torch
from transformers import pipeline
from transformers.pipelines.pt_utils import KeyDataset

import hf_diffmask
from hf_diffmask import DiffMaskError, DiffMaskModel
from hf_diffmask.data.encoding import encode
from hf_diffmask.data.windows import windows
from hf_diffmask.display.terminal import to_text

TEXTS = ["a warm film", "the plot is dull and the cast looks tired of it", "not bad at all", "superb !"]


@pytest.fixture
def explain(explainer, tokenizer):
    return pipeline(hf_diffmask.TASK, model=explainer, tokenizer=tokenizer, device="cpu")


def numbers(result):
    return torch.tensor([token["states"] for token in result["tokens"]])


def test_result_has_what_it_promises(explain, classifier, tokenizer):
    text = "The plot\twas DULL, sadly"
    result = explain(text)
    with torch.no_grad():
        probabilities = classifier(**tokenizer(text, return_tensors="pt")).logits.softmax(-1)[0]
    assert result["label"] == classifier.config.id2label[int(probabilities.argmax())]
    assert result["score"] == pytest.approx(probabilities.max().item(), abs=1e-6)
    assert result["states"] == list(explain.model.config.state_names) and result["state"] == result["states"][-1]
    for token in result["tokens"]:
        assert token["score"] == pytest.approx(sum(token["states"]) / len(token["states"]))
        assert 0 <= token["score"] <= 1 and token["kept"] == (token["states"][-1] > 0.5)
        if not token["special"]:
            assert text[token["start"] : token["end"]].lower() == token["token"].removeprefix("##")
    ordinary = [token for token in result["tokens"] if not token["special"]]
    assert result["kept_share"] == pytest.approx(sum(token["kept"] for token in ordinary) / len(ordinary))
    assert 0 < result["kept_share"] < 1
    assert json.loads(json.dumps(result)) == result


def test_the_check_is_a_real_masked_pass(explain, classifier, tokenizer):
    result = explain(TEXTS[1])
    # By hand: dropped tokens become [MASK], because an untrained baseline is its embedding.
    features = tokenizer(TEXTS[1], return_tensors="pt")
    written = features["input_ids"].clone()
    for unit, token in enumerate(result["tokens"]):
        if not token["kept"]:
            written[0, unit] = tokenizer.mask_token_id
    with torch.no_grad():
        p = classifier(**features).logits.double().softmax(-1)[0]
        q = classifier(**{**features, "input_ids": written}).logits.double().softmax(-1)[0]
    expected = (p * (p / q).log()).sum().item()
    assert result["divergence"] == pytest.approx(expected, abs=1e-5)
    assert result["same_prediction"] == bool(p.argmax() == q.argmax())
    assert result["within_margin"] == (expected <= 0.1)
    assert result["certificate"] == ("holds" if expected <= 0.1 else "does not hold")


def test_a_cost_that_is_no_number_never_holds(explain, monkeypatch):
    masked = type(explain.model).masked
    for value in (math.nan, -math.inf):  # of every class's log-probability
        monkeypatch.setattr(type(explain.model), "masked", lambda *given, v=value: torch.full_like(masked(*given), v))
        result = explain(TEXTS[0])
        assert not math.isfinite(result["divergence"]) and not result["within_margin"]
        assert result["certificate"] == "does not hold" and explain(TEXTS[0], on_violation="abstain")["abstained"]
        assert "[!] Does not hold." in to_text(result, color=False)


def test_without_verification_its_keys_are_absent(explain):
    result = explain(TEXTS[0], verify=False)
    assert not {"divergence", "same_prediction", "within_margin"} & result.keys()
    assert result["certificate"] == "not checked" and result["margin"] == 0.1


def test_strings_lists_generators_and_data_sets_agree(explain):
    alone = [explain(text) for text in TEXTS]
    table = datasets.Dataset.from_dict({"text": TEXTS, "extra": [0, 1, 2, 3]})
    forms = [
        explain(TEXTS),
        explain([{"text": text} for text in TEXTS]),
        list(explain(text for text in TEXTS)),
        list(explain(table)),
        list(explain(KeyDataset(table, "text"))),
    ]
    assert isinstance(alone[0], dict) and all(results == alone for results in forms)
    assert explain([]) == []


@pytest.mark.parametrize("batch_size", [2, 3, 8])
def test_batched_and_single_explanations_agree(explain, batch_size):
    texts = [*TEXTS, " ".join(["the plot was fine but"] * 90)]
    for one, other in zip(explain(texts), explain(texts, batch_size=batch_size), strict=True):
        torch.testing.assert_close(numbers(one), numbers(other), atol=1e-5, rtol=0)
        assert one["score"] == pytest.approx(other["score"], abs=1e-5)
        assert one["divergence"] == pytest.approx(other["divergence"], abs=1e-5)
        assert [token["kept"] for token in one["tokens"]] == [token["kept"] for token in other["tokens"]]


def test_saved_and_reloaded_explainer_gives_identical_numbers(explain, explainer, tokenizer, tmp_path):
    explainer.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    reloaded = pipeline(hf_diffmask.TASK, model=str(tmp_path), device="cpu")
    assert reloaded(TEXTS) == explain(TEXTS)


def test_state_names_the_mask_that_kept_speaks_of(explain):
    names = list(explain.model.config.state_names)
    low, by_number, last = explain(TEXTS[1], state=names[0]), explain(TEXTS[1], state=0), explain(TEXTS[1], state=-1)
    assert low == by_number and low["state"] == names[0]
    assert all(token["kept"] == (token["states"][0] > 0.5) for token in low["tokens"])
    assert last == explain(TEXTS[1]) and low["kept_share"] >= last["kept_share"]
    for unknown in ("block.99", 99, True and -99):
        with pytest.raises(DiffMaskError, match="There is no state"):
            explain(TEXTS[0], state=unknown)


def test_pairs_carry_segments(explain):
    first, second = "a warm film", "is it any good ?"
    result = explain({"text": first, "text_pair": second})
    for token in result["tokens"]:
        assert token["segment"] in ((None,) if token["special"] else (0, 1))
        if not token["special"]:
            text = (first, second)[token["segment"]]
            assert text[token["start"] : token["end"]] == token["token"].removeprefix("##")
    assert {token["segment"] for token in result["tokens"]} == {None, 0, 1}
    assert "segment" not in explain(first)["tokens"][1]


def test_long_texts_are_covered_by_windows(explain, classifier, tokenizer):
    text = " ".join(f"the plot of part {k} is dull" for k in range(150))
    result = explain(text)
    encoded = encode(tokenizer, text)
    assert [token["token"] for token in result["tokens"]] == encoded.tokens
    assert result["tokens"][-2]["end"] == len(text)
    # The prediction by hand: the mean of the probabilities of all windows, weighted by length.
    parts = list(windows(encoded, explain.length))
    assert len(parts) > 3
    total, weights = 0, 0
    for part in parts:
        features = {name: torch.tensor([values]) for name, values in part.features.items()}
        features.pop("special_tokens_mask")
        with torch.no_grad():
            total = total + len(part.units) * classifier(**features).logits.softmax(-1)[0]
        weights += len(part.units)
    assert result["score"] == pytest.approx((total / weights).max().item(), abs=1e-5)


def test_long_pairs_are_covered(explain):
    first, second = " ".join(["a warm film"] * 100), " ".join(["is it good ?"] * 150)
    result = explain({"text": first, "text_pair": second})
    for segment, text in enumerate((first, second)):
        ends = [token["end"] for token in result["tokens"] if token["segment"] == segment]
        assert max(ends) == len(text) and len(ends) == len(text.split())


@pytest.mark.parametrize(
    "text",
    ["x" * 100_000, "film " * 20_000, "great \U0001f600\U0001f469\u200d\U0001f680 film",
     "\u05e1\u05e8\u05d8 \u05d8\u05d5\u05d1", "a\x00film", "film \ud800 ok", "\udfff film",
     "[MASK] [SEP] film", "<script>alert(1)</script>"],
)  # fmt: skip
def test_odd_texts_do_not_crash_and_offsets_stay_inside(explain, text):
    result = explain(text, batch_size=8)
    json.dumps(result)
    for token in result["tokens"]:
        assert 0 <= token["start"] <= token["end"] <= len(text)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("", "The input is empty"),
        ("  \n", "The input is empty"),
        (["fine", ""], "Input 1 is empty"),
        (["fine", None], "Input 1 is no text but of type NoneType"),
        (3, "no text but of type int"),
        ({"body": "x"}, "no text but of type dict"),
        ({"text": "x", "text_pair": ""}, "is empty"),
        ([["a", "b"]], "no text but of type list"),
        ("\u200b", "holds no token"),
        ("\udfff", "holds no token"),
    ],
)
def test_bad_input_is_one_sentence(explain, bad, message):
    with pytest.raises(DiffMaskError, match=message):
        explain(bad)


def test_unknown_aggregation(explain):
    with pytest.raises(DiffMaskError, match="must be one of token, word"):
        explain("film", aggregation="sentence")


def test_a_model_that_is_no_explainer_is_refused():
    with pytest.raises(DiffMaskError, match="is a BertForSequenceClassification, not an explainer"):
        pipeline(hf_diffmask.TASK, model=hf_diffmask.BUNDLED_CLASSIFIER)


def test_special_tokens_as_units(classifier, tokenizer):
    model = DiffMaskModel.from_base_model(classifier, tokenizer, mask_special_tokens=True).eval()
    torch.nn.init.constant_(model.probes.out_bias, -3.0)
    result = pipeline(hf_diffmask.TASK, model=model, tokenizer=tokenizer, device="cpu")("a warm film")
    assert not any(token["kept"] for token in result["tokens"]) and result["kept_share"] == 0


def test_a_saved_pipeline_is_a_saved_explainer(tmp_path):
    explain = pipeline(hf_diffmask.TASK)
    before = explain("a warm film")
    explain.save_pretrained(tmp_path / "one")
    explain.model.save_pretrained(tmp_path / "other")
    explain.save_pretrained(tmp_path / "again")
    configs = [json.loads((tmp_path / name / "config.json").read_text()) for name in ("one", "other", "again")]
    assert configs[0] == configs[1] == configs[2] and "custom_pipelines" not in configs[0]
    assert not list((tmp_path / "one").glob("*.py"))
    again = pipeline(hf_diffmask.TASK, model=str(tmp_path / "one"))("a warm film")
    assert [token["evidence"] for token in again["tokens"]] == pytest.approx(
        [token["evidence"] for token in before["tokens"]], abs=1e-6
    )
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DiffMaskError, match="is a file: name a folder"):
        explain.save_pretrained(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"
