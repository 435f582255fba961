"""The analyses: values by hand on small made-up results, and the masked passes against the pipeline's own check."""

import json
import math

import pytest
import torch
from transformers import pipeline

import hf_diffmask
from hf_diffmask import DiffMaskError, DiffMaskModel
from hf_diffmask.analysis import (
    decided_by_state,
    fixed_by_state,
    heat_map,
    keep_by_state,
    smallest_shares,
    states_kept,
    states_kept_by_label,
    token_labels,
    unchanged_predictions,
    word_sentiments,
)
from hf_diffmask.budget_search import smallest_budget
from hf_diffmask.data import encode, windows
from hf_diffmask.gates import hard_mask
from hf_diffmask.paths import top
from hf_diffmask.tasks.sst import Sentence
from hf_diffmask.training_args import recipe_config

NAMES = ["embeddings", "block.0.input", "block.0.output"]


def make(*tokens, **fields):
    """A result of (token, start, end, states) or, of a pair, (token, start, end, states, segment); [..] is special."""
    rows = []
    for token, start, end, states, *segment in tokens:
        row = {"token": token, "start": start, "end": end, "special": token.startswith("["), "states": states}
        rows.append({**row, **({"segment": segment[0]} if segment else {})})
    return {"label": "POSITIVE", "tokens": rows, "states": NAMES, **fields}


SINGLE = make(
    ("[CLS]", 0, 0, [1.0, 1.0, 1.0]),
    ("warm", 0, 4, [0.9, 0.8, 0.51]),
    ("soup", 5, 9, [0.7, 0.5, 0.2]),
    ("[SEP]", 0, 0, [1.0, 1.0, 0.9]),
)


def test_states_kept_counts_hard_masks():
    # 0.5 is not above 0.5.
    assert states_kept(SINGLE) == [3, 3, 1, 3]
    # With hidden masking a token may come back.
    assert states_kept(make(("warm", 0, 4, [0.2, 0.9, 0.4]), ("soup", 5, 9, [0.9, 0.1, 0.8]))) == [1, 2]


def test_keep_by_state_of_single_texts_counts_every_token_alike():
    other = make(("cold", 0, 4, [0.2, 0.2, 0.1]))
    data = keep_by_state([SINGLE, other])
    assert data["states"] == NAMES
    ordinary, special = data["groups"]
    assert (ordinary["group"], ordinary["count"]) == ("ordinary tokens", 3)
    assert ordinary["mean"] == pytest.approx([0.6, 0.5, 0.27])
    assert (special["group"], special["count"]) == ("special tokens", 2)
    assert special["mean"] == pytest.approx([1.0, 1.0, 0.95])
    assert json.loads(json.dumps(data)) == data


PAIR = [
    ("[CLS]", 0, 0, [1.0, 1.0, 1.0], None),
    ("who", 0, 3, [0.6, 0.4, 0.2], 0),
    ("left", 4, 8, [0.8, 0.6, 0.4], 0),
    ("[SEP]", 0, 0, [1.0, 1.0, 0.0], None),
    ("my", 0, 2, [0.5, 0.3, 0.1], 1),
    ("aunt", 3, 7, [0.9, 0.9, 0.9], 1),
    ("s", 7, 8, [0.7, 0.7, 0.7], 1),
    ("left", 9, 13, [0.1, 0.1, 0.1], 1),
]


def test_keep_by_state_of_pairs_and_of_questions():
    assert [(group["group"], group["count"]) for group in keep_by_state([make(*PAIR)])["groups"]] == [
        ("first text", 2),
        ("second text", 4),
        ("special tokens", 2),
    ]
    answered = make(*PAIR, answer="aunts", start=3, end=8)
    groups = {group["group"]: group for group in keep_by_state([answered])["groups"]}
    assert list(groups) == ["question", "passage", "predicted answer", "special tokens"]
    assert groups["question"]["mean"] == pytest.approx([0.7, 0.5, 0.3])
    # The answer's tokens are not the passage's, too, and offsets into the context say nothing of the question.
    assert groups["passage"]["count"] == 2 and groups["passage"]["mean"] == pytest.approx([0.3, 0.2, 0.1])
    assert groups["predicted answer"]["mean"] == pytest.approx([0.8, 0.8, 0.8])
    assert groups["special tokens"]["mean"] == pytest.approx([1.0, 1.0, 0.5])


def test_without_an_answer_all_of_the_context_is_passage():
    groups = keep_by_state([make(*PAIR, answer="", start=0, end=0)])["groups"]
    assert [(group["group"], group["count"]) for group in groups[:2]] == [("question", 2), ("passage", 4)]


def test_labels_reach_tokens_by_characters():
    result = make(
        ("[CLS]", 0, 0, [1.0] * 3),
        ("un", 0, 2, [1.0] * 3),  # two parts of one word
        ("##kind", 2, 6, [1.0] * 3),
        ("-", 6, 7, [1.0] * 3),  # in no span
        ("Ann's", 8, 13, [1.0] * 3),  # a token of two words: three characters against two
        ("it", 14, 16, [1.0] * 3),  # a tie goes to the first
    )
    spans = [(0, 6, "ADJ"), (8, 11, "PROPN"), (11, 13, "PART"), (14, 15, "X"), (15, 16, "Y")]
    assert token_labels(result, [spans]) == ["[CLS]", "ADJ", "ADJ", None, "PROPN", "X"]


def test_labels_of_pairs_do_not_cross_over():
    spans = [[(0, 3, "PRON"), (4, 8, "VERB")], [(0, 2, "DET"), (3, 8, "NOUN"), (9, 13, "ADV")]]
    assert token_labels(make(*PAIR), spans) == [
        "[CLS]", "PRON", "VERB", "[SEP]", "DET", "NOUN", "NOUN", "ADV",
    ]  # fmt: skip


def test_sentiments_of_words_stand_where_the_words_stand():
    sentence = Sentence(["Our", "3\u00a01/2", "soups", "!"], 3, [2, 2, 4, 0])
    spans = word_sentiments(sentence)
    assert spans == [(0, 3, "neutral"), (4, 9, "neutral"), (10, 15, "very positive"), (16, 17, "very negative")]
    assert [sentence.text[start:end] for start, end, _ in spans] == sentence.words


def test_states_kept_by_label_means_and_errors():
    results = [SINGLE, make(("cold", 0, 4, [0.2, 0.2, 0.1]), ("rain", 5, 9, [0.9, 0.2, 0.9]), (".", 9, 10, [0, 0, 0]))]
    labels = [["[CLS]", "ADJ", "NOUN", "[SEP]"], ["ADJ", "NOUN", None]]
    data = states_kept_by_label(results, labels)
    assert data["num_states"] == 3
    adjective, noun, *special = data["groups"]
    # Kept at 3 and 0 states: mean 1.5, standard deviation sqrt(4.5), over sqrt(2).
    assert adjective == {
        "label": "ADJ",
        "special": False,
        "count": 2,
        "mean": 1.5,
        "standard_error": pytest.approx(1.5),
    }
    assert (noun["label"], noun["mean"], noun["count"]) == ("NOUN", 1.5, 2)
    assert noun["standard_error"] == pytest.approx(math.sqrt(0.5) / math.sqrt(2))
    assert [(group["label"], group["special"], group["mean"], group["standard_error"]) for group in special] == [
        ("[CLS]", True, 3, None),
        ("[SEP]", True, 3, None),
    ]
    assert json.loads(json.dumps(data)) == data


def test_order_of_labels():
    result = make(("a", 0, 1, [0, 0, 0]), ("b", 1, 2, [1, 0, 0]), ("c", 2, 3, [1, 1, 0]), ("[SEP]", 0, 0, [1, 1, 1]))
    labels = [["A", "B", "C", "[SEP]"]]
    by_mean = states_kept_by_label([result], labels)["groups"]
    assert [group["label"] for group in by_mean] == ["C", "B", "A", "[SEP]"]
    given = states_kept_by_label([result], labels, order=["unseen", "A", "C"])["groups"]
    assert [group["label"] for group in given] == ["A", "C", "B", "[SEP]"]


def test_fixed_means_unchanged_from_there_on_up():
    unchanged = torch.tensor([[1, 1, 1], [1, 0, 1], [0, 1, 1], [1, 1, 0]], dtype=torch.bool)
    data = fixed_by_state(NAMES, unchanged)
    assert data["unchanged"] == [0.75, 0.75, 0.75]
    # The first from state 0, the third from 1, the second from 2, the last never.
    assert data["fixed"] == [0.25, 0.5, 0.75]
    assert data["count"] == 4 and data["states"] == NAMES
    assert json.loads(json.dumps(data)) == data


def test_heat_map_holds_both_views_of_one_input():
    other = make(*((t["token"], t["start"], t["end"], [0.1, 0.2, 0.3]) for t in SINGLE["tokens"]))
    data = heat_map({"input masking": SINGLE, "hidden masking": other})
    assert data["tokens"] == ["[CLS]", "warm", "soup", "[SEP]"]
    assert [panel["title"] for panel in data["panels"]] == ["input masking", "hidden masking"]
    assert data["panels"][0]["keep_probability"][1] == [0.9, 0.8, 0.51]
    assert data["panels"][1]["keep_probability"] == [[0.1, 0.2, 0.3]] * 4
    with pytest.raises(DiffMaskError, match="different tokens"):
        heat_map({"one": SINGLE, "other": make(("warm", 0, 4, [0, 0, 0]))})


def test_nothing_and_mixtures_are_refused():
    for analyse in (keep_by_state, lambda results: states_kept_by_label(results, [])):
        with pytest.raises(DiffMaskError, match="nothing to analyse"):
            analyse([])
    with pytest.raises(DiffMaskError, match="nothing to analyse"):
        fixed_by_state(NAMES, torch.ones(0, 3, dtype=torch.bool))
    with pytest.raises(DiffMaskError, match="different states"):
        keep_by_state([SINGLE, {**SINGLE, "states": ["other", *NAMES[1:]]}])


TEXTS = [
    "a warm and quietly funny film",
    "the plot is dull",
    "not bad",
    "the cast is lovely , although the second half drags and the ending is silly .",
    "it was fine",
    "dull but warm",
    "a tedious , pointless and lifeless evening",
    "superb",
]


@pytest.mark.parametrize("batch_size", [1, 3])
def test_unchanged_predictions_are_the_pipeline_s(explainer, tokenizer, batch_size):
    """In the order of the inputs, although they run sorted by length."""
    with torch.no_grad():
        explainer.probes.out_bias.fill_(0.3)
    explain = pipeline(hf_diffmask.TASK, model=explainer, tokenizer=tokenizer)
    expected = [
        [explain(text, state=state)["same_prediction"] for state in range(explainer.config.num_states)]
        for text in TEXTS
    ]
    found = unchanged_predictions(explainer, tokenizer, TEXTS, batch_size)
    assert found.dtype == torch.bool and found.tolist() == expected
    assert found.any() and not found.all(dim=1).all()


def test_windows_of_one_text_must_all_be_unchanged(explainer, tokenizer, monkeypatch):
    with torch.no_grad():
        explainer.probes.out_bias.fill_(0.3)
    monkeypatch.setattr(tokenizer, "model_max_length", 8)
    texts = [
        "silly , dull and pointless , yet the cast is warm and lovely and the music is superb",
        "a warm film",
    ]
    rows: list[list[list[bool]]] = []  # of each text a row for each window
    for text in texts:
        parts = list(windows(encode(tokenizer, text), 8))
        rows.append([])
        for window in parts:
            features = {name: torch.tensor([values]) for name, values in window.features.items()}
            output = explainer(**features)
            del features["special_tokens_mask"]
            masks = hard_mask(output.keep_probability).unbind(-1)
            masked = [explainer.masked_forward(mask, state, **features) for state, mask in enumerate(masks)]
            rows[-1].append([bool(one.argmax() == output.target.argmax()) for one in masked])
    assert len(rows[0]) > 2 and len(rows[1]) == 1
    expected = [[all(column) for column in zip(*of_text, strict=True)] for of_text in rows]
    assert expected[0] not in (rows[0][-1], rows[0][1])  # one window alone does not say it
    assert unchanged_predictions(explainer, tokenizer, texts).tolist() == expected


def test_smallest_shares_are_within_the_margin_at_every_state(classifier, tokenizer):
    explainer = DiffMaskModel.from_base_model(classifier, tokenizer, **recipe_config("path"), margin=0.02).eval()
    texts = ["a warm film", "the plot is dull and the cast looks tired of it", "fine"]
    shares = smallest_shares(explainer, tokenizer, texts, batch_size=2)
    assert shares.shape == (3, explainer.config.num_states)
    for text, of_text in zip(texts, shares, strict=True):
        features = dict(tokenizer(text, return_tensors="pt", return_special_tokens_mask=True))
        output = explainer(**features)
        special = features.pop("special_tokens_mask")
        assert output.maskable.sum() == (1 - special).sum()
        recorded = explainer.record(**features)
        for state, share in enumerate(of_text):
            budget = (share * output.maskable.sum()).round().long()[None]
            costs = [
                explainer.cost(
                    recorded.target,
                    explainer.masked_forward(top(output.logits[..., state], size, output.maskable), state, recorded,
                                             **features),
                )
                for size in (budget, budget - 1)
            ]  # fmt: skip
            assert share * output.maskable.sum() == pytest.approx(budget.item(), abs=1e-4)
            assert costs[0] <= 0.02 + 1e-6 and (budget == 0 or costs[1] > 0.02)
    # All may go where anything may be lost.
    assert smallest_shares(explainer, tokenizer, texts, margin=2.0).count_nonzero() == 0


def test_windows_of_a_long_text_add_up(classifier, tokenizer, monkeypatch):
    explainer = DiffMaskModel.from_base_model(classifier, tokenizer, **recipe_config("path"), margin=0.02).eval()
    monkeypatch.setattr("hf_diffmask.analysis.max_length", lambda *_: 8)
    text = "the plot is dull and the cast looks tired of it , but the music is a delight"
    parts = list(windows(encode(tokenizer, text), 8))
    of_windows = []
    for window in parts:
        features = {name: torch.tensor([values]) for name, values in window.features.items()}
        output = explainer(**features)
        del features["special_tokens_mask"]
        budget = smallest_budget(explainer, output.logits[..., -1], output.maskable, 0.02, **features).budget
        of_windows.append((budget.item(), output.maskable.sum().item()))
    kept, units = (sum(column) for column in zip(*of_windows, strict=True))
    alone = {budget / size for budget, size in of_windows}
    assert len(parts) > 2 and kept / units not in alone, "no window's own share is that of all"
    shares = smallest_shares(explainer, tokenizer, [text, ""])
    assert shares[0, -1].item() == pytest.approx(kept / units) and (shares[1] == 0).all()


def test_only_a_path_has_smallest_shares(classifier, tokenizer):
    with pytest.raises(DiffMaskError, match="Only a path can be cut at any budget"):
        smallest_shares(DiffMaskModel.from_base_model(classifier, tokenizer), tokenizer, ["fine"])


def test_when_it_was_decided_by_hand():
    shares = torch.tensor([[1.0, 0.5, 0.2], [0.8, 0.5, 0.4], [0.9, 0.3, 0.0], [0.7, 0.7, 0.2], [1.0, 0.5, 0.2]])
    data = decided_by_state(NAMES, shares, 0.1)
    assert (data["states"], data["count"], data["margin"]) == (NAMES, 5, 0.1)
    assert data["lower"] == pytest.approx([0.8, 0.5, 0.2]) and data["median"] == pytest.approx([0.9, 0.5, 0.2])
    assert data["upper"] == pytest.approx([1.0, 0.5, 0.2]) and data["mean"] == pytest.approx([0.88, 0.5, 0.2])
    assert json.loads(json.dumps(data)) == data
    with pytest.raises(DiffMaskError, match="nothing to analyse"):
        decided_by_state(NAMES, torch.ones(0, 3), 0.1)
