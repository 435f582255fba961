"""An input is a text or a pair in any accepted form; everything else is refused."""

import pytest

from hf_diffmask import DiffMaskError
from hf_diffmask.data.encoding import encode
from hf_diffmask.tasks.inputs import TaskInputs


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (" a film ", " a film "),
        ({"text": "a film"}, "a film"),
        ({"text": "a film", "text_pair": None, "label": 1}, "a film"),
        ({"text": "a film", "text_pair": "good ?"}, ("a film", "good ?")),
        (("a film", "good ?"), ("a film", "good ?")),
    ],
)
def test_forms_of_an_input(item, expected):
    assert TaskInputs().check(item, "It") == expected


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (3, "no text but of type int"),
        (None, "no text but of type NoneType"),
        (["a", "b"], "no text but of type list"),
        (("a", "b", "c"), "no text but of type tuple"),
        (("a", 2), "no text but of type int"),
        ({"body": "a"}, "no text but of type dict"),
        ({"text": None}, "no text but of type NoneType"),
        ({"text": "a", "text_pair": 1.5}, "no text but of type float"),
    ],
)
def test_what_is_no_text(item, said):
    with pytest.raises(DiffMaskError) as error:
        TaskInputs().check(item, "Input 4")
    advice = 'give a string, or a pair as {"text": ..., "text_pair": ...}.'
    assert str(error.value) == f"Input 4 is {said}: {advice}"


@pytest.mark.parametrize("item", ["", " \t\n", {"text": ""}, ("a film", " "), {"text": "a", "text_pair": ""}])
def test_what_is_empty(item):
    with pytest.raises(DiffMaskError) as error:
        TaskInputs().check(item, "The input")
    assert str(error.value) == "The input is empty: give a text with at least one visible character."


def test_texts_need_no_room_and_no_format_of_their_own(tokenizer, tmp_path):
    inputs, texts = TaskInputs(), ("a film", ("a", "b"))
    assert inputs.columns == ("text", None) and inputs.read(str(tmp_path / "texts.json")) is None
    assert inputs.with_room(tokenizer, texts, 1) == list(texts)
    inputs.check_room(encode(tokenizer, "a film " * 50), 3)
