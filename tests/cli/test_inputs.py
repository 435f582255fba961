"""Inputs for commands come from files and from data sets on the Hub."""

import json
import os

import pytest

from hf_diffmask import DiffMaskError
from hf_diffmask.cli.inputs import DatasetArguments, load_inputs, placed_inputs
from hf_diffmask.data.squad import load_squad
from hf_diffmask.tasks.question_answering import QuestionAnswering
from hf_diffmask.tasks.text_classification import TextClassification
from tests.helpers import OTHERS, piped


def test_inputs_of_commands(tmp_path):
    load = lambda name: load_inputs(str(tmp_path / name), QuestionAnswering())  # noqa: E731
    flat = [{"question": question, "context": context} for question, context in OTHERS]
    (tmp_path / "flat.json").write_text(json.dumps(flat))
    (tmp_path / "lines.jsonl").write_text("\n".join(json.dumps(row) for row in flat))
    paragraphs = [
        {"context": context, "qas": [{"id": question, "question": question}]} for question, context in OTHERS
    ]
    (tmp_path / "unlabelled.json").write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}))
    for name in ("flat.json", "lines.jsonl", "unlabelled.json"):
        assert load(name) == OTHERS
    with pytest.raises(DiffMaskError, match="`answers` is missing"):
        load_squad(tmp_path / "unlabelled.json")


def test_inputs_carry_their_place(tmp_path):
    def placed(name, content, task=None, **columns):
        (tmp_path / name).write_text(content, encoding="utf-8", newline="")
        return placed_inputs(str(tmp_path / name), task or TextClassification(), DatasetArguments(**columns))

    lines = [({"line": 1}, "good film"), ({"line": 3}, " dull\u2028film")]
    for name in ("lines.txt", "LINES.TXT", "lines", "lines.log", "texts.csv.bak"):
        assert placed(name, "\ufeffgood film\r\n \n dull\u2028film\r\n") == lines
    assert placed("blank.txt", "\n \n") == []
    table = "id,body\n1,None\n2,\n\n3, dull \n"
    assert placed("t.csv", table, text_column="body") == [
        ({"row": 0}, "None"),
        ({"row": 1}, ""),
        ({"row": 2}, " dull "),
    ]
    assert placed("t.csv", table, text_column="body", text_pair_column="id")[2] == ({"row": 2}, (" dull ", "3"))
    assert placed("t.jsonl", '{"text": 3}\n{"text": null}\n') == [({"row": 0}, 3), ({"row": 1}, None)]
    answers = QuestionAnswering()
    rows = json.dumps([{"question": "Who?", "context": "A baker."}])
    assert placed("flat.json", rows, answers) == [({"row": 0}, ("Who?", "A baker."))]
    squad = json.dumps({"data": [{"paragraphs": [{"context": "A baker.", "qas": [{"id": 1, "question": "Who?"}]}]}]})
    assert placed("squad.json", squad, answers) == [({}, ("Who?", "A baker."))]
    with pytest.raises(DiffMaskError, match="no column 'question'; it has text"):
        placed("lines.txt", "Who?", answers)
    with pytest.raises(DiffMaskError, match="There is no file"):
        placed_inputs(str(tmp_path), answers, DatasetArguments())


def test_pipes_are_inputs_of_commands(tmp_path):
    with piped(b"good film\n\ndull\n") as path:
        assert placed_inputs(path, TextClassification(), DatasetArguments()) == [
            ({"line": 1}, "good film"), ({"line": 3}, "dull"),
        ]  # fmt: skip
    with (
        piped(b"text,label\ngood film,1\n") as path,
        pytest.raises(DiffMaskError, match="lines of text, which"),
    ):
        placed_inputs(path, TextClassification(), DatasetArguments(text_column="text"))
    with piped(b"good film\n\ndull\n") as path:
        assert load_inputs(path, TextClassification(), limit=1) == ["good film"]
    standard = os.dup(0)
    try:
        with piped(b"good film\n") as path:
            os.dup2(int(os.path.basename(path)), 0)
            assert load_inputs("/dev/stdin", TextClassification()) == ["good film"]
        with open(tmp_path / "lines", "w+") as file:
            file.write("dull film\n")
            file.flush()
            os.dup2(file.fileno(), 0)
            assert load_inputs("/dev/stdin", TextClassification()) == ["dull film"]
    finally:
        os.dup2(standard, 0)
        os.close(standard)


def test_data_sets_with_configurations_splits_and_streaming(hub, tmp_path):
    rows = {name: "\n".join(json.dumps({"review": f"{name} {k}"}) for k in range(30)) for name in ("one", "two")}
    card = (
        "---\nconfigs:\n- config_name: one\n  data_files:\n  - {split: test, path: one.jsonl}\n"
        "- config_name: two\n  data_files:\n  - {split: test, path: two.jsonl}\n---\n"
    )
    files = {f"{name}.jsonl": text.encode() for name, text in rows.items()}
    hub.commit("acme/data", {"README.md": card.encode(), **files}, repo_type="dataset")
    code = """
    import json
    from hf_diffmask.cli.inputs import DatasetArguments, load_inputs
    from hf_diffmask.tasks.text_classification import TextClassification
    found = []
    for streaming in (False, True):
        which = DatasetArguments(dataset_config="two", dataset_split="test", text_column="review", streaming=streaming)
        found.append(load_inputs("acme/data", TextClassification(), which, limit=3))
    try:
        load_inputs("acme/data", TextClassification(), DatasetArguments(dataset_config="three"))
    except ValueError as error:
        found.append([type(error).__name__, str(error)])
    print(json.dumps(found))
    """
    whole, streamed, refused = json.loads(hub.run(code).splitlines()[-1])
    assert whole == streamed == ["two 0", "two 1", "two 2"]
    assert refused[0] == "DiffMaskError" and "three" in refused[1]
