"""Parts of a text: which tokens a span means, and which window explains a part. Figures are in tests/tasks."""

import torch

from hf_diffmask.data.encoding import EncodedText
from hf_diffmask.pipeline.parts import Parts, each_part, parts_of

# Characters: 0 a, 2-4 bc, 4-6 de (one word in two tokens), 7 f
OFFSETS = [(0, 0), (0, 1), (2, 4), (4, 6), (7, 8), (0, 0)]
ENCODED = EncodedText(
    ["a bcde f"],
    {"input_ids": [1, 10, 11, 12, 13, 2]},
    ["[CLS]", "a", "bc", "##de", "f", "[SEP]"],
    OFFSETS,
    [None, 0, 0, 0, 0, None],
)


def test_spans_are_tokens_that_share_characters():
    units = range(6)
    assert parts_of("entities", ENCODED, units).positions is None
    assert parts_of("all", ENCODED, units).positions == [[1], [2], [3], [4]]
    assert parts_of(((3, 5), (0, 1), (0, 8)), ENCODED, units).positions == [[2, 3], [1], [1, 2, 3, 4]]
    # A window without the token: nothing to explain here, and no error, since the text has it.
    assert parts_of(((0, 1), (7, 8)), ENCODED, [0, 3, 4, 5]).positions == [[2]]


def window(units, *parts):
    """A window with one number for each part."""
    explained = torch.tensor([[[position in part for position in range(len(units))] for part in parts]])
    return {
        "encoded": ENCODED,
        "units": units,
        "attention_mask": torch.ones(1, len(units), dtype=torch.long),
        "explained": explained,
        "target": torch.arange(len(parts))[None, :, None] + 10.0 * len(units),
    }


def test_a_part_is_explained_where_its_middle_is_most_central():
    # Windows [CLS] a bc de [SEP] and [CLS] bc de f [SEP]: "bc" is central in the first, "de" in the second.
    first, second = window([0, 1, 2, 3, 5], [3], [2], []), window([0, 2, 3, 4, 5], [1], [2], [3, 2])
    found = each_part([first, second])
    assert [one["explained"] for one in found] == [[2], [2], [2, 3]]
    assert [[one["encoded"].tokens[unit] for unit in one["explained"]] for one in found] == [
        ["bc"], ["##de"], ["##de", "f"],
    ]  # fmt: skip
    assert [one["target"].item() for one in found] == [51.0, 51.0, 52.0]
    assert found[0]["encoded"].features == {"input_ids": [1, 10, 11, 12, 2]} and found[0]["units"] == [0, 1, 2, 3, 4]


def test_entities_of_two_windows_do_not_overlap():
    """Each window finds its own extent, and each middle is most central in its own window. The longer one stays."""
    first, second = window([0, 1, 2, 3, 5], [1, 2, 3]), window([0, 2, 3, 4, 5], [2, 3])
    found = each_part([{**one, "asked": Parts(None)} for one in (first, second)])
    assert [[one["encoded"].tokens[unit] for unit in one["explained"]] for one in found] == [["a", "bc", "##de"]]
    asked = [{**one, "asked": Parts([])} for one in (first, second)]
    assert len(each_part(asked)) == 2, "spans that are asked for may overlap"


def test_no_part_is_no_result():
    assert each_part([window([0, 1, 5], [])]) == []
