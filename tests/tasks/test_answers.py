"""Decoded answer spans agree with brute force over overlapping windows."""

import itertools
import math

import pytest
import torch

from hf_diffmask.errors import DiffMaskError
from hf_diffmask.tasks.answers import Answer, decode

CONTEXT = "Mira keeps nine goats on a hill near Ostrava."


def words(context, before=2):
    """Offsets of a window: tokens outside the context, one token a word, and a last token outside it."""
    starts = [k for k in range(len(context)) if context[k] != " " and (k == 0 or context[k - 1] == " ")]
    return [None] * before + [(start, start + len(context[start:].split(" ")[0])) for start in starts] + [None]


def peaked(length, **probabilities):
    """Log-probabilities `(length,)`: given ones such as `t3=0.5`, and equal ones for the rest."""
    rest = (1 - sum(probabilities.values())) / (length - len(probabilities))
    values = torch.full((length,), rest)
    for name, value in probabilities.items():
        values[int(name[1:])] = value
    return values.log()


def brute_force(starts, ends, offsets, context, max_answer_length):
    """The definition, token by token."""
    best = {}
    for start, end, window in zip(starts, ends, offsets, strict=True):
        for first, last in itertools.product(range(len(window)), repeat=2):
            if 0 <= last - first < max_answer_length and None not in window[first : last + 1]:
                span = (window[first][0], window[last][1])
                best[span] = max(best.get(span, 0.0), math.exp(start[first].item() + end[last].item()))
    ordered = sorted(best, key=lambda span: -best[span])
    return [Answer(*span, context[slice(*span)], pytest.approx(best[span], rel=1e-5)) for span in ordered]


@pytest.mark.parametrize("max_answer_length", [1, 2, 5, 100])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_decode_is_the_brute_force_over_overlapping_windows(max_answer_length, dtype):
    context = " ".join(f"w{k}" for k in range(17))
    tokens = words(context, before=0)[:-1]
    offsets = [
        [None, None, *tokens[:9], None],
        [None, None, None, *tokens[6:14]],  # a window may end with the context
        [None, *tokens[12:15], None, *tokens[15:], None],  # other tokens may interrupt the context
    ]
    starts, ends = (
        [torch.randn(len(window), dtype=dtype).log_softmax(0) for window in offsets] for _ in ("start", "end")
    )
    expected = brute_force(starts, ends, offsets, context, max_answer_length)
    assert decode(starts, ends, offsets, context, 10_000, max_answer_length) == expected
    assert decode(starts, ends, offsets, context, 3, max_answer_length) == expected[:3]
    assert decode(starts, ends, offsets, context, max_answer_length=max_answer_length) == expected[:1]


def test_score_is_the_probability_of_both_tokens():
    offsets = words(CONTEXT)  # [CLS] question Mira keeps nine goats on a hill near Ostrava. [SEP]
    start, end = peaked(12, t4=0.8, t1=0.1), peaked(12, t5=0.5, t4=0.3)
    first, second = decode([start], [end], [offsets], CONTEXT, top_k=2)
    assert first == Answer(11, 21, "nine goats", pytest.approx(0.4))
    assert second == Answer(11, 15, "nine", pytest.approx(0.24))


def test_ends_before_starts_and_tokens_of_the_question_are_no_answers():
    offsets = words(CONTEXT)
    start, end = peaked(12, t8=0.6, t0=0.2, t3=0.1), peaked(12, t3=0.6, t1=0.3, t11=0.05)
    (answer,) = decode([start], [end], [offsets], CONTEXT)
    assert answer == Answer(5, 10, "keeps", pytest.approx(0.06))


def test_answers_at_the_edges_of_a_window_and_longer_than_the_context():
    offsets = [(0, 4), (5, 10)]
    uniform = peaked(2)
    for edge, expected in ((0, (0, 4)), (1, (5, 10))):
        values = [peaked(2, **{f"t{edge}": 0.9})]
        (answer,) = decode(values, values, [offsets], CONTEXT)
        assert (answer.start, answer.end) == expected and answer.score == pytest.approx(0.81)
    assert len(decode([uniform], [uniform], [offsets], CONTEXT, 50, max_answer_length=50)) == 3
    assert len(decode([uniform], [uniform], [offsets], CONTEXT, 50, max_answer_length=1)) == 2


def test_a_span_in_two_windows_counts_once_with_its_best():
    tokens = words(CONTEXT, before=0)[:-1]
    offsets = [[None, *tokens[:4]], [None, *tokens[2:]]]
    starts = [peaked(5, t3=0.6), peaked(8, t1=0.9)]  # "nine" is token 3 of the first and 1 of the second
    ends = [peaked(5, t4=0.5), peaked(8, t2=0.8)]
    answers = decode(starts, ends, offsets, CONTEXT, top_k=100)
    assert answers[0] == Answer(11, 21, "nine goats", pytest.approx(0.72))
    assert len({(answer.start, answer.end) for answer in answers}) == len(answers) == 10 + 28 - 3
    turned = decode(starts[::-1], ends[::-1], offsets[::-1], CONTEXT, top_k=100)
    assert turned == answers


def test_equals_come_in_the_order_of_the_context():
    offsets = words(CONTEXT)
    answers = decode([peaked(12)], [peaked(12)], [offsets], CONTEXT, top_k=11)
    spans = [(answer.start, answer.end) for answer in answers]
    ends = [end for _, end in offsets[2:-1]]
    assert spans == [(0, end) for end in ends] + [(5, end) for end in ends[1:3]]


def test_white_space_and_parts_of_characters_make_no_answers_of_their_own():
    context = "a \u2603 b"
    # One token is a space, one starts with a space, and the snowman is three tokens.
    offsets = [None, (0, 1), (1, 2), (2, 3), (2, 3), (2, 3), (3, 5), None]
    answers = decode([peaked(8, t6=0.3)], [peaked(8)], [offsets], context, top_k=100)
    spans = [(answer.start, answer.end) for answer in answers]
    assert spans == [(4, 5), (0, 1), (0, 3), (0, 5), (2, 3), (2, 5)]
    assert [answer.text for answer in answers] == ["b", "a", "a \u2603", "a \u2603 b", "\u2603", "\u2603 b"]


def test_no_answer_needs_all_windows():
    tokens = words(CONTEXT, before=0)[:-1]
    offsets = [[None, *tokens[:4]], [None, *tokens[4:]]]
    sure, unsure = peaked(5, t0=0.9), peaked(6, t0=0.5, t5=0.4)
    nothing = Answer(0, 0, "", pytest.approx(0.25))
    ostrava = Answer(37, 45, "Ostrava.", pytest.approx(0.16))
    assert decode([sure, unsure], [sure, unsure], offsets, CONTEXT, 2, 30, True) == [nothing, ostrava]
    assert decode([sure, unsure], [sure, unsure], offsets, CONTEXT) == [ostrava]
    found = peaked(6, t0=0.3, t5=0.6)
    answers = decode([sure, found], [sure, found], offsets, CONTEXT, 1, 30, True)
    assert answers == [Answer(37, 45, "Ostrava.", pytest.approx(0.36))]


def test_an_answer_wins_over_no_answer_of_the_same_score():
    answers = decode([peaked(3)], [peaked(3)], [[None, (0, 4), None]], CONTEXT, 2, handle_impossible_answer=True)
    assert [answer.text for answer in answers] == ["Mira", ""]


def test_probabilities_of_zero_and_half_precision():
    zero = torch.tensor([0.0, -torch.inf, -torch.inf])
    offsets = [[None, (0, 4), (5, 10)]]
    (answer,) = decode([zero], [zero], offsets, CONTEXT)
    assert answer == Answer(0, 4, "Mira", 0.0)
    (answer,) = decode([peaked(3, t2=0.5).half()], [peaked(3, t2=0.5).half()], offsets, CONTEXT)
    assert answer == Answer(5, 10, "keeps", pytest.approx(0.25, rel=1e-2))


def test_nothing_to_answer_with():
    offsets = [[None, None, (4, 5)]]  # a token of white space
    with pytest.raises(DiffMaskError, match="no token to answer with"):
        decode([peaked(3)], [peaked(3)], offsets, CONTEXT)
    (answer,) = decode([peaked(3)], [peaked(3)], offsets, CONTEXT, handle_impossible_answer=True)
    assert answer == Answer(0, 0, "", pytest.approx(1 / 9))
    for name in ("top_k", "max_answer_length"):
        with pytest.raises(DiffMaskError, match=f"`{name}` must be at least 1, but is 0"):
            decode([peaked(3)], [peaked(3)], offsets, CONTEXT, **{name: 0})
