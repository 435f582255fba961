"""Inputs for commands come from files and from data sets on the Hub."""

import json

import pytest

from hf_diffmask import DiffMaskError
from hf_diffmask.cli.inputs import load_inputs
from hf_diffmask.data.squad import load_squad
from hf_diffmask.tasks.question_answering import QuestionAnswering
from tests.helpers import OTHERS


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
