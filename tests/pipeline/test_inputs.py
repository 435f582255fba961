"""Whatever a caller has in hand gives the same results, and a bad row costs that row alone."""

import itertools
from collections import deque

import datasets
import numpy as np
import pandas as pd
import pytest
import torch
from transformers import pipeline
from transformers.pipelines.pt_utils import KeyDataset, KeyPairDataset

import hf_diffmask
from hf_diffmask import DiffMaskError, DiffMaskModel
from hf_diffmask.pipeline.inputs import explained
from hf_diffmask.pipeline.what_if import what_if
from hf_diffmask.tasks.inputs import whole_number
from tests.helpers import CONTEXT, QUESTION

TEXTS = ["a warm film", "the plot is dull", "not bad at all"]


@pytest.fixture(scope="module")
def explain():
    return pipeline(hf_diffmask.TASK, device="cpu")


@pytest.fixture(scope="module")
def expected(explain):
    return [explain(text) for text in TEXTS]


@pytest.fixture
def answers(answerer, tokenizer):
    explainer = DiffMaskModel.from_base_model(answerer, tokenizer).eval()
    return pipeline(hf_diffmask.TASK, model=explainer, tokenizer=tokenizer, device="cpu")


class Endless(torch.utils.data.Dataset):
    """A data set that never raises `IndexError`."""

    def __len__(self):
        return len(TEXTS)

    def __getitem__(self, number):
        return TEXTS[number % len(TEXTS)]


def table():
    return datasets.Dataset.from_dict({"text": TEXTS, "extra": [0, 1, 2]})


def outcome(results):
    """Results of an iterator up to its error, and the error."""
    found = []
    try:
        for result in results:
            found.append(result)
    except Exception as error:
        return found, error
    return found, None


@pytest.mark.parametrize(
    "container",
    [
        lambda: list(TEXTS),
        lambda: tuple(TEXTS),
        lambda: deque(TEXTS),
        lambda: {text: 0 for text in TEXTS}.keys(),
        lambda: np.array(TEXTS),
        lambda: np.array(TEXTS, dtype=object),
        lambda: pd.Series(TEXTS),
        lambda: pd.Series(["unseen", *TEXTS])[1:],
        lambda: table()["text"],
        lambda: [{"text": text, "text_pair": None} for text in TEXTS],
        lambda: pd.DataFrame({"text": TEXTS}).to_dict("records"),
    ],
)
def test_what_is_in_memory_gives_a_list(explain, expected, container):
    results = explain(container())
    assert type(results) is list and results == expected
    batched = explain(container(), batch_size=np.int64(2))
    assert [one["score"] for one in batched] == pytest.approx([one["score"] for one in expected], abs=1e-5)


@pytest.mark.parametrize(
    "stream",
    [
        lambda: (text for text in TEXTS),
        lambda: iter(TEXTS),
        lambda: map(str.strip, TEXTS),
        lambda: (row for row in table()),
        table,
        lambda: table().with_format("numpy"),
        lambda: table().to_iterable_dataset(),
        lambda: table().to_iterable_dataset()["text"],
        lambda: KeyDataset(table(), "text"),
        Endless,
    ],
)
def test_what_comes_row_by_row_gives_an_iterator(explain, expected, stream):
    results = explain(stream())
    assert iter(results) is results
    assert list(itertools.islice(results, len(TEXTS) + 1)) == expected


def test_empty_containers(explain):
    assert explain([]) == explain(()) == explain(np.array([], dtype=str)) == explain(pd.Series([], dtype=str)) == []
    assert list(explain(iter([]))) == []


def test_a_tuple_is_a_container_and_a_pair_inside_one(explain):
    pair = explain({"text": TEXTS[0], "text_pair": TEXTS[1]})
    alone = [explain(text) for text in TEXTS[:2]]
    assert explain((TEXTS[0], TEXTS[1])) == alone
    assert explain([(TEXTS[0], TEXTS[1])]) == explain(((TEXTS[0], TEXTS[1]),)) == [pair]
    assert list(explain(itertools.islice(itertools.pairwise(TEXTS), 1))) == [pair]
    both = datasets.Dataset.from_dict({"one": TEXTS[:1], "other": TEXTS[1:2]})
    assert list(explain(KeyPairDataset(both, "one", "other"))) == [pair]


def test_an_endless_stream_is_read_only_as_far_as_results_are_taken(explain, expected):
    read = []

    def texts():
        for number in itertools.count():
            read.append(number)
            yield TEXTS[number % 3]

    results = explain(texts(), batch_size=2)
    assert read == []
    assert [one["label"] for one in itertools.islice(results, 5)] == [expected[k % 3]["label"] for k in range(5)]
    assert len(read) <= 5 + 2
    nothing = explain(itertools.repeat(""), on_error="skip")
    assert [next(nothing)["row"] for _ in range(3)] == [0, 1, 2]


BAD = [None, 3, "", "  ", "\u200b", float("nan"), ["a", "b"], {"body": "a"}, b"a film"]


@pytest.mark.parametrize("batch_size", [1, 3, 8])
@pytest.mark.parametrize("container", [iter, list, lambda rows: pd.Series(rows, dtype=object)])
def test_a_bad_row_costs_that_row_alone(explain, batch_size, container):
    rows = [TEXTS[0], TEXTS[1], BAD[0], TEXTS[2], *BAD[1:], TEXTS[0]]
    results = list(explain(container(rows), batch_size=batch_size, on_error="skip"))
    assert len(results) == len(rows)
    for number, (row, result) in enumerate(zip(rows, results, strict=True)):
        if any(row is one for one in BAD):
            assert result.keys() == {"row", "error"} and result["row"] == number
            assert result["error"].startswith(f"Input {number} ")
        else:
            alone = explain(row)
            assert result["score"] == pytest.approx(alone["score"], abs=1e-5)
            assert [one["token"] for one in result["tokens"]] == [one["token"] for one in alone["tokens"]]


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("bad", BAD)
def test_what_is_before_a_bad_row_comes_out_first(explain, expected, batch_size, bad):
    rows = [*TEXTS, bad, TEXTS[0]]
    found, error = outcome(explain(iter(rows), batch_size=batch_size))
    assert [one["label"] for one in found] == [one["label"] for one in expected]
    assert isinstance(error, DiffMaskError) and str(error).startswith("Input 3 ")


def test_an_error_of_the_stream_itself_comes_after_the_results_before(explain):
    def texts():
        yield from TEXTS
        raise OSError("the tape is torn")

    for on_error in ("raise", "skip"):
        found, error = outcome(explain(texts(), batch_size=8, on_error=on_error))
        assert len(found) == len(TEXTS) and isinstance(error, OSError) and str(error) == "the tape is torn"


def test_a_bad_row_of_a_list_is_refused_before_anything_runs(explain, monkeypatch):
    monkeypatch.setattr(explain, "_forward", lambda *_, **__: pytest.fail("it ran"))
    for container in (list, tuple, np.array):
        with pytest.raises(DiffMaskError, match="Input 1 is empty"):
            explain(container(["a film", " "]))


def test_on_error_of_the_constructor_and_of_the_call(explain):
    skips = pipeline(hf_diffmask.TASK, model=explain.model, tokenizer=explain.tokenizer, on_error="skip")
    assert [one.get("row") for one in skips(["a film", ""])] == [None, 1]
    with pytest.raises(DiffMaskError, match="Input 1 is empty"):
        skips(["a film", ""], on_error="raise")
    with pytest.raises(DiffMaskError, match="The input is empty"):
        skips("")  # one input is no row
    with pytest.raises(DiffMaskError, match="`on_error` must be one of raise, skip, but is 'ignore'"):
        pipeline(hf_diffmask.TASK, model=explain.model, tokenizer=explain.tokenizer, on_error="ignore")
    with pytest.raises(DiffMaskError, match="`on_error` must be one of raise, skip, but is 'cry'"):
        explain(iter(TEXTS), on_error="cry")


def test_arguments_are_checked_before_a_stream_is_read(explain):
    def texts():
        pytest.fail("it was read")
        yield

    with pytest.raises(DiffMaskError, match="There is no state"):
        explain(texts(), state="block.77")
    for wrong in (0, -1, True, 1.5, "2"):
        with pytest.raises(DiffMaskError, match="`batch_size` must be a whole number from 1 on"):
            explain(texts(), batch_size=wrong)


def test_other_processes_are_not_asked_for_rows(explain, expected):
    assert list(explain(iter(TEXTS), num_workers=2)) == expected


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (pd.DataFrame({"text": TEXTS}), "is a table of type DataFrame: give one column"),
        (np.array([TEXTS]), "is a table of type ndarray"),
        (np.array("a film"), "no text but of type ndarray"),
        ({"a film"}, "no text but of type set"),
        (b"a film", "no text but of type bytes"),
        (object(), "no text but of type object"),
        (None, "no text but of type NoneType"),
    ],
)
def test_what_holds_no_rows_in_an_order(explain, what, message):
    with pytest.raises(DiffMaskError, match=message):
        explain(what)
    with pytest.raises(DiffMaskError, match="The input is no text but of type NoneType"):
        explain()


def test_questions_and_contexts_as_keywords(answers):
    other = "who kept bees ?"
    one, two = ({"question": question, "context": CONTEXT} for question in (QUESTION, other))
    first, second = answers(one), answers(two)
    assert answers(question=QUESTION, context=CONTEXT) == first
    assert answers(question=QUESTION, context=CONTEXT, top_k=2)["answers"] == answers(one, top_k=2)["answers"]
    both = [first, second]
    assert answers(question=[QUESTION, other], context=[CONTEXT, CONTEXT]) == both
    assert answers(question=[QUESTION, other], context=CONTEXT) == both
    assert answers(question=pd.Series([QUESTION, other]), context=np.array([CONTEXT, CONTEXT])) == both
    assert answers(question=QUESTION, context=[CONTEXT]) == [first]
    streamed = answers(question=iter([QUESTION, other]), context=CONTEXT)
    assert iter(streamed) is streamed and list(streamed) == both
    longer = answers(question=iter([QUESTION, other]), context=iter([CONTEXT]), on_error="skip")
    assert [one.get("row") for one in longer] == [None, 1]
    found = answers(question=[QUESTION, ""], context=CONTEXT, on_error="skip")
    assert found == [first, {"row": 1, "error": found[1]["error"]}] and "Input 1 has an empty question" in str(found)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"question": QUESTION}, "`question=` needs `context=` beside it"),
        ({"context": CONTEXT}, "`context=` needs `question=` beside it"),
        ({"inputs": QUESTION, "question": QUESTION, "context": CONTEXT}, "There are two inputs"),
        ({"question": [QUESTION], "context": [CONTEXT, CONTEXT]}, "There are 1 of `question` and 2 of `context`"),
        ({"question": QUESTION, "context": None}, "no question with a context"),
        ({"inputs": (QUESTION, CONTEXT)}, "Input 0 is no question with a context"),
    ],
)
def test_keywords_that_cannot_be(answers, given, message):
    with pytest.raises(DiffMaskError, match=message):
        answers(**given)


def test_keywords_of_questions_are_for_questions(explain):
    with pytest.raises(DiffMaskError, match="There is no argument context, question"):
        explain(question=QUESTION, context=CONTEXT)


def test_a_question_without_room_names_its_row(answers):
    rows = [{"question": QUESTION, "context": CONTEXT}, {"question": "why " * 60, "context": CONTEXT}]
    found, error = outcome(answers(iter(rows), batch_size=4))
    assert len(found) == 1 and "takes 60 tokens" in str(error)
    assert str(error).startswith("Input 1: the question that begins with 'why why")


@pytest.mark.parametrize("kind", [int, np.int64, np.uint8, np.array, torch.tensor])
def test_integers_of_any_library(explain, kind):
    last = explain.model.config.num_states - 1
    assert explain(TEXTS[0], label=kind(1), state=kind(0)) == explain(TEXTS[0], label=1, state=0)
    assert what_if(explain, TEXTS[0], [kind(1)], state=kind(last))["kept"] == [0, 1, 4]
    assert whole_number(kind(7)) == 7 and type(whole_number(kind(7))) is int


@pytest.mark.parametrize("truth", [True, False, np.bool_(True), np.array(True), torch.tensor(True)])
def test_true_is_no_number(explain, truth):
    assert whole_number(truth) is None
    with pytest.raises(DiffMaskError, match=r"There is no class .*: name one of NEGATIVE, POSITIVE, or its number"):
        explain(TEXTS[0], label=truth)
    with pytest.raises(DiffMaskError, match=r"There is no state .*: name one of embeddings"):
        explain(TEXTS[0], state=truth)
    with pytest.raises(DiffMaskError, match="There is no token"):
        what_if(explain, TEXTS[0], [truth])
    with pytest.raises(DiffMaskError, match="There is no state"):
        what_if(explain, TEXTS[0], [1], state=truth)


@pytest.mark.parametrize("other", [1.0, np.float64(1), "1", None, [9], np.array([1, 2]), np.array(["POSITIVE", "b"])])
def test_what_is_no_whole_number(explain, other):
    assert whole_number(other) is None
    if other is not None:
        with pytest.raises(DiffMaskError, match="There is no class"):
            explain(TEXTS[0], label=other)


def test_rows_are_told_apart_without_a_model():
    """By hand: rows below 0 are bad, `run` doubles the others in batches of two."""

    def read(row, what):
        if row < 0:
            raise DiffMaskError(f"{what} is below zero.")
        return row

    def run(rows):
        while batch := list(itertools.islice(rows, 2)):
            yield from (2 * row for row in batch)

    def found(rows):
        return list(explained(rows, read, read, run, "skip"))

    def bad(number):
        return {"row": number, "error": f"Input {number} is below zero."}

    assert found(iter([1, -1, 2, 3, 4, -1, -1])) == [2, bad(1), 4, 6, 8, bad(5), bad(6)]
    assert found([-1]) == [bad(0)] and found(iter([])) == []
