"""Questions in SQuAD's format are read; a wrong file is an error of one sentence."""

import gzip
import json

import pytest
import transformers

from hf_diffmask.data.squad import Question, load_if_squad, load_squad
from hf_diffmask.errors import DiffMaskError
from tests.helpers import piped

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


@pytest.mark.parametrize("name", ["d.json", "D.JSON.GZ", "d"])
def test_a_byte_order_mark_is_no_text(tmp_path, name):
    content = "\ufeff" + json.dumps(squad(GOATS))
    path = tmp_path / name
    path.write_bytes(gzip.compress(content.encode()) if name.endswith("GZ") else content.encode())
    assert (
        load_squad(path)[0]
        == load_if_squad(path)
        == [Question("q1", "What does Mira keep?", CONTEXT, ["nine goats"], [11], False)]
    )


def test_only_files_in_the_format_are_recognised(tmp_path):
    unlabelled = squad({"id": "q1", "question": "Where?"})
    found = load_if_squad(write(tmp_path / "unlabelled.json", unlabelled))
    assert found == [Question("q1", "Where?", CONTEXT, [], [], False)]
    for name, content in (
        ("rows.json", [{"question": "Where?", "context": CONTEXT}]), ("lines.jsonl", squad(GOATS)), ("half.json", "{"),
        ("columns.json", {"question": ["Where?"]}), ("empty.json", ""), ("scores.json", {"data": 3}),
    ):  # fmt: skip
        assert load_if_squad(write(tmp_path / name, content)) is None
    assert load_if_squad(tmp_path) is load_if_squad(tmp_path / "absent.json") is None


def test_pipes_are_read_once():
    with piped(json.dumps(squad(GOATS)).encode()) as path:
        assert [question.id for question in load_if_squad(path)] == ["q1"]
    with piped(b'[{"question": "Where?"}]') as path:
        with pytest.raises(DiffMaskError, match=f"{path} can be read only once and is no SQuAD JSON"):
            load_if_squad(path)


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
