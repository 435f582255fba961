"""Units of texts: words, sentences and spans, by hand; masks of whole units."""

import pytest

from hf_diffmask.data.encoding import encode
from hf_diffmask.data.units import asked_unit, maskable, unit_of, whole_units, with_units
from hf_diffmask.errors import DiffMaskError
from hf_diffmask.testbeds.gru import word_tokenizer

from .helpers import KINDS, random_texts, tokenizer_of


def pieces(tokenizer, text, unit):
    """The texts of the units, without special tokens: from the first token's start to the last token's end."""
    encoded = with_units(encode(tokenizer, text), unit, tokenizer.get_added_vocab())
    found: dict[int, tuple[int, int, int]] = {}
    for number, segment, (start, end) in zip(unit_of(encoded), encoded.segments, encoded.offsets, strict=True):
        if segment is not None:
            found[number] = (segment, found.get(number, (0, start))[1], end)
    return [encoded.texts[segment][start:end] for segment, start, end in found.values()]


@pytest.fixture(scope="module")
def bert():
    return tokenizer_of("WordPiece")


def test_words_and_sentences(bert):
    text = "Unbelievably good. Dr. Lindt's film!"
    assert pieces(bert, text, "word") == ["Unbelievably", "good", ".", "Dr", ".", "Lindt", "'", "s", "film", "!"]
    assert pieces(bert, text, "sentence") == ["Unbelievably good.", "Dr. Lindt's film!"]


def test_texts_of_a_pair_share_no_unit(bert):
    pair = ("One. Two", "and three. Four.")
    assert pieces(bert, pair, "sentence") == ["One.", "Two", "and three.", "Four."]
    assert pieces(bert, pair, ((4, 16),)) == [*pieces(bert, ("One. Two", "and"), "token"), "three. Four."]


def test_given_spans_are_units_and_other_tokens_their_own(bert):
    text = "good film, bad end"
    assert pieces(bert, text, ((0, 9), (11, 18))) == ["good film", ",", "bad end"]


@pytest.mark.parametrize("name", KINDS)
def test_each_unit_is_a_run_of_tokens_and_each_word_is_in_one_unit(name):
    tokenizer = tokenizer_of(name)
    for text in random_texts(seed=11, count=60):
        for unit in ("word", "sentence"):
            numbers = unit_of(with_units(encode(tokenizer, text), unit, tokenizer.get_added_vocab()))
            assert numbers == sorted(numbers) and set(numbers) == set(range(len(set(numbers))))


def test_special_tokens_are_units_of_their_own(bert):
    encoded = with_units(encode(bert, "One two. Three."), "sentence")
    numbers, special = unit_of(encoded), [segment is None for segment in encoded.segments]
    assert special[0] and special[-1]
    assert numbers.count(numbers[0]) == numbers.count(numbers[-1]) == 1
    assert with_units(encoded, "token") is encoded


def test_a_mask_of_units_is_read_at_their_first_tokens():
    one = {"special_tokens_mask": [1, 0, 0, 0, 0, 1], "unit_of": [0, 1, 1, 2, 1, 3]}
    assert maskable(one) == [False, True, False, True, False, False]
    assert whole_units(one, [True, False, True, True, True, True]) == [True, False, False, True, False, True]
    tokens = {"special_tokens_mask": [1, 0, 0]}
    assert maskable(tokens) == [False, True, True] and whole_units(tokens, "abc") == ["a", "b", "c"]


@pytest.mark.parametrize(
    "unit, words",
    [
        ("phrase", "must be token, word, sentence or a list"),
        ([], "must be token, word, sentence or a list"),
        ([(3, 3)], "start before end"),
        ([(0, 2.5)], "start before end"),
        ([(0, 5), (4, 8)], "must not overlap"),
    ],
)
def test_what_is_no_unit_is_refused(unit, words):
    with pytest.raises(DiffMaskError, match=words):
        asked_unit(unit)


def test_a_span_without_a_token_is_refused():
    tokenizer = word_tokenizer(["good film"], 10)
    with pytest.raises(DiffMaskError, match="No token starts from character 20 to 30"):
        with_units(encode(tokenizer, "good film"), ((20, 30),))
