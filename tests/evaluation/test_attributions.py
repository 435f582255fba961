"""Attributions are read back unchanged; attributions for other tokens are refused."""

import json

import pytest

from hf_diffmask import DiffMaskError
from hf_diffmask.evaluation.attributions import read_attributions, write_attributions

INPUTS = [{"input_ids": [2, 9, 3]}, {"input_ids": [2, 3]}]
GOOD = [{"input_ids": [2, 9, 3], "scores": [0, -1.5, 1e-9]}, {"input_ids": [2, 3], "scores": [0.1, 2.0], "more": "é"}]
OTHERS = (
    "Line 2 of {} has other `input_ids` than input 2: attributions must be of the tokens that the model reads, in the "
    "order of the data set."
)


def test_what_is_written_can_be_read(tmp_path):
    path = tmp_path / "scores.jsonl"
    write_attributions(path, GOOD)
    assert [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] == GOOD
    found = read_attributions(path, INPUTS)
    assert found == [[0.0, -1.5, 1e-9], [0.1, 2.0]] and all(isinstance(score, float) for row in found for score in row)
    path.write_text("\n" + path.read_text().replace("\n", "\n  \n"))
    assert read_attributions(path, INPUTS) == found, "empty lines are skipped"
    path.write_text(
        "\ufeff" + "".join(json.dumps({**one, "more": "\u2028\x85"}, ensure_ascii=False) + "\r\n" for one in GOOD)
    )
    assert read_attributions(path, INPUTS) == found, "lines end at line feeds only"
    write_attributions(path, [])
    assert path.read_text() == "" and read_attributions(path, []) == []


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ("5", "Line 2 of {} has no list `scores`."),
        ('{"input_ids": [2, 3]}', "Line 2 of {} has no list `scores`."),
        ('{"input_ids": [2, 3], "scores": 1}', "Line 2 of {} has no list `scores`."),
        ('{"input_ids": [3, 2], "scores": [1, 2]}', OTHERS),
        ('{"scores": [1, 2]}', OTHERS),
        ('{"input_ids": [2, 3], "scores": [1, "2"]}', "Line 2 of {} has scores that are no numbers."),
        ('{"input_ids": [2, 3], "scores": [1, null]}', "Line 2 of {} has scores that are no numbers."),
        ('{"input_ids": [2, 3], "scores": [1, true]}', "Line 2 of {} has scores that are no numbers."),
        ('{"input_ids": [2, 3], "scores": [1, 1' + "0" * 400 + "]}", "Line 2 of {} has a score that is not finite."),
        ('{"input_ids": [2, 3], "scores": [1, 1e999]}', "Line 2 of {} has a score that is not finite."),
        ('{"input_ids": [2, 3], "scores": [1]}', "Line 2 of {} has 1 scores for 2 tokens."),
        ('{"input_ids": [2, 3], "scores": [1, NaN]}', "Line 2 of {} has a score that is not finite."),
        ('{"input_ids": [2, 3], "scores": [-Infinity, 1]}', "Line 2 of {} has a score that is not finite."),
        ("", "{} holds 1 attributions for 2 inputs: give one for each."),
        ("[", "{} cannot be read as JSON lines (Expecting value: line 1 column 2 (char 1))."),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path, second, message):
    path = tmp_path / "scores.jsonl"
    path.write_text(f"{json.dumps(GOOD[0])}\n{second}\n")
    with pytest.raises(DiffMaskError) as error:
        read_attributions(path, INPUTS)
    assert str(error.value) == message.format(path)


def test_lines_end_at_line_feeds_only(tmp_path):
    path = tmp_path / "scores.jsonl"
    path.write_text(json.dumps(GOOD[0] | {"more": "a\u2028b\u0085c"}, ensure_ascii=False) + "\r\n", encoding="utf-8")
    assert read_attributions(path, INPUTS[:1]) == [[0.0, -1.5, 1e-9]]


def test_a_file_that_is_not_there_or_no_text(tmp_path):
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    (tmp_path / "deep").write_text("[" * 100_000)
    (tmp_path / "digits").write_text("1" * 5000)
    for name in ("none.jsonl", "bytes", "deep", "digits"):
        with pytest.raises(DiffMaskError, match=f"{tmp_path / name} cannot be read as JSON lines"):
            read_attributions(tmp_path / name, INPUTS)
