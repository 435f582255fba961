"""Questions in SQuAD's format, the decoding of answer spans and their evaluation."""

import gzip
import itertools
import json
import math

import pytest
import torch
import transformers

from hf_diffmask.errors import DiffMaskError
from hf_diffmask.tasks.squad import Answer, Question, decode, exact_match, f1, load_squad, normalize_answer

CONTEXT = "Mira keeps nine goats on a hill near Ostrava."
GOATS = {"id": "q1", "question": "What does Mira keep?", "answers": [{"text": "nine goats", "answer_start": 11}]}
IMPOSSIBLE = {"id": "q3", "question": "How old is Mira?", "answers": [], "is_impossible": True}


def squad(*questions, context=CONTEXT):
    return {"version": "v2.0", "data": [{"title": "t", "paragraphs": [{"context": context, "qas": list(questions)}]}]}


def asked(name, *answers):
    marked = [{"text": text, "answer_start": start} for text, start in answers]
    return {"id": name, "question": "Where?", "answers": marked}


def write(path, content):
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.parametrize("name", ["d.json", "d.json.gz"])
def test_reads_both_versions(tmp_path, name):
    path = write(tmp_path / name, squad(GOATS, {**asked("q2", ("Ostrava", 37)), "is_impossible": False}, IMPOSSIBLE))
    questions, skipped = load_squad(path)
    assert skipped == 0
    assert questions == [
        Question("q1", "What does Mira keep?", CONTEXT, ["nine goats"], [11], False),
        Question("q2", "Where?", CONTEXT, ["Ostrava"], [37], False),
        Question("q3", "How old is Mira?", CONTEXT, [], [], True),
    ]
    assert load_squad(str(path)) == (questions, 0)


def test_answers_at_wrong_offsets_are_left_out_and_counted(tmp_path, caplog):
    content = squad(
        asked("one of two", ("Ostrava", 37), ("Ostrava", 36)),
        asked("none of three", ("hill", 26), ("Ostrava.", -8), ("", 0)),
        asked("beyond the end", ("Ostrava", 370)),
        asked("never answered"),
        IMPOSSIBLE,
    )
    transformers.utils.logging.enable_propagation()
    questions, skipped = load_squad(write(tmp_path / "d.json", content))
    assert [question.id for question in questions] == ["one of two", "q3"] and skipped == 3
    assert (questions[0].answers, questions[0].answer_starts) == (["Ostrava"], [37])
    assert "3 of 5 questions" in caplog.text and "5 answers" in caplog.text


def test_no_warning_where_all_is_well(tmp_path, caplog):
    transformers.utils.logging.enable_propagation()
    load_squad(write(tmp_path / "d.json", squad(GOATS, IMPOSSIBLE)))
    assert not caplog.records


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"data": [', "cannot be read as SQuAD JSON"),
        ("", "cannot be read as SQuAD JSON"),
        ("[1, 2]", "no SQuAD JSON: `data` is missing"),
        ({"data": "text"}, "no SQuAD JSON: `data`"),
        ({"data": [{"title": "t"}]}, "no SQuAD JSON: `paragraphs`"),
        ({"data": [{"paragraphs": [{"qas": []}]}]}, "no SQuAD JSON: `context`"),
        ({"data": [{"paragraphs": [{"context": CONTEXT}]}]}, "no SQuAD JSON: `qas`"),
        (squad("q1"), "no SQuAD JSON: `id`"),
        (squad({"id": "q1", "answers": []}), "no SQuAD JSON: `question`"),
        (squad({"id": "q1", "question": "Where?"}), "no SQuAD JSON: `answers`"),
        (squad(asked("q1", ("hill", "27"))), "no SQuAD JSON: `answer_start`"),
        (squad(GOATS, context=" \n"), "context of question 'q1' of .* is empty"),
        (squad(GOATS, {**IMPOSSIBLE, "question": " "}), "question of question 'q3' of .* is empty"),
        (squad(asked("q1", ("hill", 1))), "no question with an answer"),
    ],
)
def test_unusable_files_are_one_sentence(tmp_path, content, message):
    with pytest.raises(DiffMaskError, match=message):
        load_squad(write(tmp_path / "d.json", content))


def test_missing_and_damaged_files(tmp_path):
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(DiffMaskError, match="There is no file"):
            load_squad(path)
    whole = gzip.compress(json.dumps(squad(GOATS)).encode())
    for damaged in (b"no gzip", whole[:30], whole[:20] + b"\xff\xff\xff\xff" + whole[24:]):
        (tmp_path / "d.json.gz").write_bytes(damaged)
        with pytest.raises(DiffMaskError, match="cannot be read as SQuAD JSON"):
            load_squad(tmp_path / "d.json.gz")


def words(context, before=2):
    """Offsets of a window: tokens that are no context, then one token a word, then a last that is none."""
    starts = [k for k in range(len(context)) if context[k] != " " and (k == 0 or context[k - 1] == " ")]
    return [None] * before + [(start, start + len(context[start:].split(" ")[0])) for start in starts] + [None]


def peaked(length, **probabilities):
    """Log-probabilities `(length,)`: those given as `t3=0.5`, and the same for all others."""
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
        [None, *tokens[12:15], None, *tokens[15:], None],  # and be interrupted
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
    # Spaces are counted to the words, one is a token of its own, and the snowman is three tokens.
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


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("  The  Hill,\tnear an\nOSTRAVA. ", "hill near ostrava"),
        ("a-an-the", "aanthe"),
        ("Anthea and the theatre", "anthea and theatre"),
        ("\u00c9t\u00e9 \u2013 a \u00bbJohn\u2019s\u00ab", "\u00e9t\u00e9 \u2013 \u00bbjohn\u2019s\u00ab"),
        ("The.", ""),
    ],
)
def test_normal_form(text, normal):
    assert normalize_answer(text) == normal


@pytest.mark.parametrize(
    ("prediction", "answers", "exact", "overlap"),
    [
        ("The nine goats.", ["nine goats"], 1, 1),
        # 2 of 4 predicted words are right, 2 of 2 found: 2 * 0.5 * 1 / 1.5
        ("nine goats on hills", ["nine goats"], 0, 2 / 3),
        # The better of 2 / 3 (1 of 1, 1 of 2) and 2 / 5 (1 of 1, 1 of 4)
        ("goats", ["nine goats", "nine very old goats"], 0, 2 / 3),
        # A word counts as often as both have it: 2 of 3 and 2 of 2
        ("so so so", ["so so"], 0, 0.8),
        ("hill", ["nine goats"], 0, 0),
        ("goats nine", ["nine goats"], 0, 1),
        ("", ["nine goats"], 0, 0),
        ("", [], 1, 1),
        ("the", [], 1, 1),
        ("goats", [], 0, 0),
        ("", ["", "nine goats"], 0, 0),
        ("", [" . "], 1, 1),
    ],
)
def test_exact_match_and_f1(prediction, answers, exact, overlap):
    assert exact_match(prediction, answers) == exact
    assert f1(prediction, answers) == pytest.approx(overlap)
