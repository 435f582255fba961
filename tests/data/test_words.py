"""Words are those of BERT for every tokenizer; each visible character is in exactly one word."""

import unicodedata

import pytest
from tokenizers import normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from hf_diffmask.data.encoding import encode
from hf_diffmask.data.spans import is_blank
from hf_diffmask.data.words import words

from .helpers import KINDS, random_texts, tokenizer_of


def read(tokenizer: PreTrainedTokenizerFast, text: str):
    """Words of a text, and spans and word numbers of its tokens."""
    encoded = encode(tokenizer, text)
    units = [unit for unit, segment in enumerate(encoded.segments) if segment is not None]
    spans = [encoded.offsets[unit] for unit in units]
    found, parts = words(text, [encoded.tokens[unit] for unit in units], spans, tokenizer.get_added_vocab())
    return found, parts, spans


@pytest.mark.parametrize("name", KINDS)
def test_each_visible_character_is_in_one_word_and_white_space_in_none(name):
    for text in random_texts(seed=3, count=100):
        found, parts, spans = read(tokenizer_of(name), text)
        assert "".join(text[start:end] for start, end in found) == "".join(text.split())
        assert all(start < end and not any(map(str.isspace, text[start:end])) for start, end in found)
        assert found == sorted(found)
        for numbers, (start, end) in zip(parts, spans, strict=True):
            if is_blank(text, (start, end)):
                assert len(numbers) == bool(found)
            else:  # the words that the token shares a character with
                assert [*numbers] == [n for n, word in enumerate(found) if word[0] < end and start < word[1]]
        used = [number for numbers in parts for number in numbers]
        assert used == sorted(used), "words come in the order of the tokens"


def test_words_are_the_same_for_all_tokenizers_where_words_have_spaces():
    for text in random_texts(seed=4, count=60, unspaced=False):
        of_all = [read(tokenizer_of(name), text)[0] for name in KINDS]
        assert all(found == of_all[0] for found in of_all)


def test_words_are_those_of_bert():
    """BERT's own splitting of the text is the reference. It has no rule for marks that follow no letter."""
    normalizer = normalizers.BertNormalizer(lowercase=False)
    splitter = pre_tokenizers.BertPreTokenizer()
    compared = 0
    for text in random_texts(seed=5, count=400, unspaced=False):
        if any((unicodedata.category(char)[0] in "MC" and char not in "\t\r\n") or char == "\ufffd" for char in text):
            continue
        pieces = [piece for piece, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text))]
        found, _, _ = read(tokenizer_of("WordPiece"), text)
        assert [text[start:end] for start, end in found] == pieces
        compared += 1
    assert compared > 100


@pytest.mark.parametrize("name", ["WordPiece", "RoBERTa", "Llama 3", "XLM-R", "Llama 2", "Gemma", "characters"])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the film was warm , and\u00a0don't", ["the", "film", "was", "warm", ",", "and", "don", "'", "t"]),
        ("two  spaces\n\nand a line", ["two", "spaces", "and", "a", "line"]),
        ("  \t ", []),
        ("(mostly)...", ["(", "mostly", ")", ".", ".", "."]),
        ("cafe\u0301s, na\u00efve!\u0301", ["cafe\u0301s", ",", "na\u00efve", "!\u0301"]),
        ("\ufefffil\u00adm 👩\u200d💻x", ["\ufefffil\u00adm", "👩\u200d💻x"]),
        ("私は映画を見ました。", ["私", "は", "映", "画", "を", "見", "ました", "。"]),
        ("我喜欢film。", ["我", "喜", "欢", "film", "。"]),
        ("영화가 좋다", ["영화가", "좋다"]),
        ("фильм—“да”", ["фильм", "—", "“", "да", "”"]),
    ],
)
def test_words_by_hand(name, text, expected):
    found, _, _ = read(tokenizer_of(name), text)
    assert [text[start:end] for start, end in found] == expected


def test_in_a_script_without_spaces_a_token_is_a_word():
    text = "ดีมาก film"
    found, parts = words(text, ["ดี", "มา", "ก", "▁film"], [(0, 2), (2, 4), (4, 5), (6, 10)])
    assert [text[start:end] for start, end in found] == ["ดี", "มา", "ก", "film"]
    assert parts == [range(0, 1), range(1, 2), range(2, 3), range(3, 4)]
    # A token that begins within a character with its vowel: the character is not split.
    found, parts = words(text, ["ด", "ีมาก", "▁film"], [(0, 1), (1, 5), (6, 10)])
    assert [text[start:end] for start, end in found] == ["ดีมาก", "film"]
    assert parts == [range(0, 1), range(0, 1), range(1, 2)]


def test_a_token_of_the_tokenizers_own_is_one_word():
    text = "a [MASK]film [ MASK ]"
    found, _, _ = read(tokenizer_of("WordPiece"), text)
    assert [text[start:end] for start, end in found] == ["a", "[MASK]", "film", "[", "MASK", "]"]
    # The unknown token is its own too, but does not stand in the text.
    found, parts = words("'' x", ["[UNK]", "x"], [(0, 2), (3, 4)], {"[UNK]"})
    assert found == [(0, 1), (1, 2), (3, 4)] and parts == [range(0, 2), range(2, 3)]


def test_a_token_without_a_visible_character_is_part_of_the_next_word():
    found, parts = words("  a  b ", ["Ġ", "Ġa", "Ġ", "Ġb", "Ġ"], [(0, 1), (2, 3), (3, 4), (5, 6), (6, 7)])
    assert found == [(2, 3), (5, 6)]
    assert parts == [range(0, 1), range(0, 1), range(1, 2), range(1, 2), range(1, 2)]
    assert words("  ", ["Ġ", "Ġ"], [(0, 1), (1, 2)]) == ([], [range(0), range(0)])
