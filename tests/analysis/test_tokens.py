"""Number of states that keep a token, checked by hand on small results."""

import json
import math

import pytest
import torch

from hf_diffmask import DiffMaskError
from hf_diffmask.analysis.decisions import fixed_by_state
from hf_diffmask.analysis.tokens import (
    heat_map,
    keep_by_state,
    states_kept,
    states_kept_by_label,
    token_labels,
    word_sentiments,
)
from hf_diffmask.data.sst import Sentence
from tests.helpers import STATE_NAMES

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


def make(*tokens, **fields):
    """A result of (token, start, end, states), for a pair (token, start, end, states, segment); [..] is special."""
    rows = []
    for token, start, end, states, *segment in tokens:
        row = {"token": token, "start": start, "end": end, "special": token.startswith("["), "states": states}
        rows.append({**row, **({"segment": segment[0]} if segment else {})})
    return {"label": "POSITIVE", "tokens": rows, "states": STATE_NAMES, **fields}


SINGLE = make(
    ("[CLS]", 0, 0, [1.0, 1.0, 1.0]),
    ("warm", 0, 4, [0.9, 0.8, 0.51]),
    ("soup", 5, 9, [0.7, 0.5, 0.2]),
    ("[SEP]", 0, 0, [1.0, 1.0, 0.9]),
)


def test_states_kept_counts_hard_masks():
    # 0.5 is not above 0.5.
    assert states_kept(SINGLE) == [3, 3, 1, 3]
    # With hidden masking, a higher state may keep a dropped token again.
    assert states_kept(make(("warm", 0, 4, [0.2, 0.9, 0.4]), ("soup", 5, 9, [0.9, 0.1, 0.8]))) == [1, 2]


def test_keep_by_state_of_single_texts_counts_every_token_alike():
    other = make(("cold", 0, 4, [0.2, 0.2, 0.1]))
    data = keep_by_state([SINGLE, other])
    assert data["states"] == STATE_NAMES
    ordinary, special = data["groups"]
    assert (ordinary["group"], ordinary["count"]) == ("ordinary tokens", 3)
    assert ordinary["mean"] == pytest.approx([0.6, 0.5, 0.27])
    assert (special["group"], special["count"]) == ("special tokens", 2)
    assert special["mean"] == pytest.approx([1.0, 1.0, 0.95])
    assert json.loads(json.dumps(data)) == data


def test_keep_by_state_of_pairs_and_of_questions():
    assert [(group["group"], group["count"]) for group in keep_by_state([make(*PAIR)])["groups"]] == [
        ("first text", 2),
        ("second text", 4),
        ("special tokens", 2),
    ]
    answered = make(*PAIR, task="question-answering", answer="aunts", start=3, end=8)
    groups = {group["group"]: group for group in keep_by_state([answered])["groups"]}
    assert list(groups) == ["question", "passage", "predicted answer", "special tokens"]
    assert groups["question"]["mean"] == pytest.approx([0.7, 0.5, 0.3])
    # Tokens of the answer do not count for the passage. Answer offsets do not apply to the question.
    assert groups["passage"]["count"] == 2 and groups["passage"]["mean"] == pytest.approx([0.3, 0.2, 0.1])
    assert groups["predicted answer"]["mean"] == pytest.approx([0.8, 0.8, 0.8])
    assert groups["special tokens"]["mean"] == pytest.approx([1.0, 1.0, 0.5])


def test_without_an_answer_all_of_the_context_is_passage():
    groups = keep_by_state([make(*PAIR, task="question-answering", answer="", start=0, end=0)])["groups"]
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
        fixed_by_state(STATE_NAMES, torch.ones(0, 3, dtype=torch.bool))
    with pytest.raises(DiffMaskError, match="different states"):
        keep_by_state([SINGLE, {**SINGLE, "states": ["other", *STATE_NAMES[1:]]}])
