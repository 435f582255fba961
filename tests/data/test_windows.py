"""Windows cover every token, overlap, and fit the model."""

import itertools

import pytest

from hf_diffmask.data.encoding import encode
from hf_diffmask.data.windows import windows


def test_an_input_that_fits_is_one_window(tokenizer):
    encoded = encode(tokenizer, ("a warm film", "not bad"))
    (window,) = windows(encoded, 40)
    assert window.units == list(range(len(encoded.tokens)))
    assert window.features["input_ids"] == tokenizer("a warm film", "not bad")["input_ids"]


@pytest.mark.parametrize("count", [11, 12, 13, 30, 101])
@pytest.mark.parametrize("length", [8, 12])
def test_windows_cover_every_token_overlap_and_fit(tokenizer, count, length):
    encoded = encode(tokenizer, " ".join(["film"] * count))
    parts = list(windows(encoded, length))
    assert set().union(*(part.units for part in parts)) == set(range(count + 2))
    for part in parts:
        assert len(part.units) <= length and part.units[0] == 0 and part.units[-1] == count + 1
    for before, after in itertools.pairwise(parts):
        shared = set(before.units) & set(after.units)
        assert len(shared) > 2 and before.units[1] < after.units[1]


@pytest.mark.parametrize(("first", "second"), [(3, 50), (50, 3), (50, 40), (1, 200)])
def test_windows_of_pairs_cover_every_token_of_both(tokenizer, first, second):
    encoded = encode(tokenizer, (" ".join(["film"] * first), " ".join(["plot"] * second)))
    parts = list(windows(encoded, 16))
    assert set().union(*(part.units for part in parts)) == set(range(first + second + 3))
    for part in parts:
        assert len(part.units) <= 16
        assert part.features["token_type_ids"] == [encoded.features["token_type_ids"][unit] for unit in part.units]
        assert sum(part.features["special_tokens_mask"]) == 3
