"""A JSON file is an object, or one sentence with the file's name."""

import pytest

from hf_diffmask import DiffMaskError
from hf_diffmask.data.json_files import read_json


def test_an_object_is_read(tmp_path):
    (tmp_path / "a.json").write_text('{"a": [1, "é"], "b": NaN, "a": 2}', encoding="utf-8")
    found = read_json(tmp_path / "a.json")
    assert found["a"] == 2 and found["b"] != found["b"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"{", "cannot be read as JSON (Expecting property name"),
        (b"", "cannot be read as JSON (Expecting value"),
        (b"\xff\xfe{\x00", "cannot be read as JSON ('utf-8' codec"),
        (b"[" * 200_000, "cannot be read as JSON (maximum recursion depth"),
        (b'{"a":' * 200_000, "cannot be read as JSON (maximum recursion depth"),
        (b'{"a": ' + b"1" * 5000 + b"}", "cannot be read as JSON (Exceeds the limit"),
        (b"[1]", "holds a list instead of names with values"),
        (b"null", "holds None instead"),
        (b'"' + b"x" * 1000 + b'"', "holds 'xxxx"),
    ],
)
def test_anything_else_is_one_sentence(tmp_path, text, says):
    path = tmp_path / "config.json"
    path.write_bytes(text)
    for what in (None, "config.json of acme/explainer"):
        with pytest.raises(DiffMaskError) as error:
            read_json(path, what)
        said = str(error.value)
        assert said.startswith(f"{what or path} {says}") and "\n" not in said and len(said) < 400
    with pytest.raises(DiffMaskError, match=r"gone.json cannot be read as JSON \(.*No such file"):
        read_json(tmp_path / "gone.json")
