"""The span of a token covers exactly the characters that the token came from, for every kind of tokenizer."""

import itertools
import re
import unicodedata

import pytest
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from hf_diffmask.data.encoding import encode

from .helpers import BYTE_OF, BYTE_TOKENS, KINDS, Kind, random_texts, tokenizer_of

SPACE_IN_FRONT = ("RoBERTa, space in front", "XLM-R", "T5", "ALBERT", "Unigram with bytes", "Llama 2")


def ordinary(tokenizer, text):
    """Tokens and spans of a text, without special tokens around it."""
    encoded = encode(tokenizer, text)
    return [
        (token, *span)
        for token, span, segment in zip(encoded.tokens, encoded.offsets, encoded.segments, strict=True)
        if segment is not None
    ]


def parts(kind: Kind, text: str) -> list[tuple[bytes, int, int]]:
    """
    The smallest parts of a text that the normaliser writes independently, without white space.

    Parts that leave nothing are left out. A combining mark among them goes to the part before it, or else after it.
    """
    found: list[list] = []
    for run in re.finditer(r"\S+", text):
        chars = run[0]
        cuts = [
            cut for cut in range(len(chars) + 1) if kind.form(chars[:cut]) + kind.form(chars[cut:]) == kind.form(chars)
        ]
        for start, end in itertools.pairwise(cuts):
            written = kind.kept("".join(kind.form(chars[start:end]).split()))
            is_mark = not written and (unicodedata.category(chars[start])[0] == "M" or chars[start] in "ﾞﾟ")
            if is_mark and found and found[-1][2] == run.start() + start and found[-1][0]:
                found[-1][2] = run.start() + end
            else:
                found.append([written, run.start() + start, run.start() + end, is_mark])
    for number in reversed(range(len(found) - 1)):
        before, after = found[number : number + 2]
        if before[3] and after[0] and before[2] == after[1]:
            after[1] = before[1]
            found[number] = after
    return [(written, start, end) for written, start, end, _ in dict.fromkeys(map(tuple, found)) if written]


@pytest.mark.parametrize("name", KINDS)
def test_each_token_has_the_characters_that_it_came_from(name):
    """The bytes of the tokens, read one after the other, are the bytes of the text's parts."""
    kind, tokenizer = KINDS[name], tokenizer_of(name)
    for text in random_texts(seed=8, count=100):
        waiting = [(byte, start, end) for written, start, end in parts(kind, text) for byte in written]
        last = (0, 0)
        for token, start, end in ordinary(tokenizer, text):
            assert 0 <= start <= end <= len(text)
            if not text[start:end].strip() or not kind.bytes_of(token):
                # A token of white space, or a space in front.
                assert start >= last[1] or (start, end) == last, (text, token, start, end)
                assert end > start or name in SPACE_IN_FRONT, (text, token, start, end)
                last = (start, end)
                continue
            if token == kind.unknown:
                own = [part for part in waiting if part[2] <= end]
            else:
                written = kind.bytes_of(token)
                coming = bytes(byte for byte, _, _ in waiting)
                if text[:start].endswith(("\u00a0", "\u3000")):  # a token may begin with bytes of white space
                    written = next(written[cut:] for cut in range(3) if coming.startswith(written[cut:]))
                assert coming.startswith(written), (text, token, start, end)
                own = waiting[: len(written)]
            assert own, (text, token, start, end)
            assert (start, end) == (own[0][1], own[-1][2]), (text, token, start, end)
            del waiting[: len(own)]
            last = (start, end)
        assert not waiting, (text, waiting)


def built(model, normalizer=None, pre_tokenizer=None, post_processor=None):
    tokenizer = Tokenizer(model)
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if pre_tokenizer is not None:
        tokenizer.pre_tokenizer = pre_tokenizer
    if post_processor is not None:
        tokenizer.post_processor = post_processor
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def numbered(*tokens):
    return {token: number for number, token in enumerate(tokens)}


def unigram(*pieces, fallback=False):
    bytes_ = [(token, -9.0) for token in BYTE_TOKENS] if fallback else []
    return models.Unigram([("<unk>", 0.0), *((piece, -1.0) for piece in pieces), *bytes_], 0, fallback)


def byte_level(prefix=False, trim=True, normalizer=None, merges=()):
    vocab = numbered(*BYTE_OF, *(a + b for a, b in merges))
    pre = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    post = processors.ByteLevel(trim_offsets=trim, add_prefix_space=prefix)
    return built(models.BPE(vocab, list(merges)), normalizer, pre, post)


def byte_fallback(prepend):
    replace = normalizers.Replace(" ", "▁")
    model = models.BPE(numbered("<unk>", "▁", "a", "▁a", *BYTE_TOKENS), [("▁", "a")], byte_fallback=True)
    return built(model, normalizers.Sequence([normalizers.Prepend("▁"), replace]) if prepend else replace)


def emoji(at):
    return [(token, at, at + 1) for token in ("ð", "Ł", "ĺ", "Ģ")]


CAFE = "cafe\u0301"
SPLIT_SPACE = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
BERT = built(
    models.WordPiece(numbered("[UNK]", "cafe", "fi", "##lm", "a"), unk_token="[UNK]"),
    normalizers.BertNormalizer(),
    pre_tokenizers.BertPreTokenizer(),
)
NFKC, METASPACE = normalizers.NFKC(), pre_tokenizers.Metaspace()
XLM_R = built(unigram("▁", "你", "好", "▁film", "▁caf", "é"), NFKC, SPLIT_SPACE)
T5 = built(unigram("▁", "▁a", "a", "你"), NFKC, METASPACE)
ALBERT = built(
    unigram("▁", '"', "cafe", "a"),
    normalizers.Sequence(
        [normalizers.Replace("``", '"'), normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]
    ),
    METASPACE,
)
BYTES = built(unigram("▁", "x", fallback=True), NFKC, METASPACE)
WORDS = built(models.WordLevel(numbered("<unk>", "film"), "<unk>"), None, pre_tokenizers.Whitespace())
CHARACTERS = built(models.WordLevel(numbered("<unk>", "a", " "), "<unk>"), None, pre_tokenizers.Split("", "isolated"))
COMPOSES = built(
    models.WordLevel(numbered("<unk>", "q", "\u0323", "\u0302", "f", "\u1ecb"), "<unk>"),
    NFKC,
    pre_tokenizers.Split("", "isolated"),
)
DROPS = built(models.BPE(numbered("a", "b", "ab"), [("a", "b")]), None, pre_tokenizers.WhitespaceSplit())


@pytest.mark.parametrize(
    ("tokenizer", "text", "expected"),
    [
        (BERT, f"Caf{CAFE[3:]}  FI\u00adLM\x00", [("cafe", 0, 5), ("fi", 7, 9), ("##lm", 10, 12)]),
        (BERT, "a☃☃ 你", [("[UNK]", 0, 3), ("[UNK]", 4, 5)]),
        (BERT, "\u0301a", [("a", 0, 2)]),
        *(
            (
                byte_level(trim=trim),
                "a  é😀",
                [("a", 0, 1), ("Ġ", 1, 2), ("Ġ", 2, 3), ("Ã", 3, 4), ("©", 3, 4), *emoji(4)],
            )
            for trim in (True, False)
        ),
        (byte_level(prefix=True), "a b", [("Ġ", 0, 0), ("a", 0, 1), ("Ġ", 1, 2), ("b", 2, 3)]),
        (byte_level(prefix=True), " a", [("Ġ", 0, 1), ("a", 1, 2)]),
        (byte_level(merges=[("Ġ", "Ã"), ("Ġ", "Ġ")]), "   é", [("ĠĠ", 0, 2), ("ĠÃ", 3, 4), ("©", 3, 4)]),
        (
            byte_level(normalizer=normalizers.NFC(), trim=False),
            f"{CAFE} x",
            [("c", 0, 1), ("a", 1, 2), ("f", 2, 3), ("Ã", 3, 5), ("©", 3, 5), ("Ġ", 5, 6), ("x", 6, 7)],
        ),
        (
            XLM_R,
            f"你好  film {CAFE} 你",
            [
                *[("▁", 0, 0), ("你", 0, 1), ("好", 1, 2), ("▁film", 4, 8)],
                *[("▁caf", 9, 12), ("é", 12, 14), ("▁", 14, 15), ("你", 15, 16)],
            ],
        ),
        (T5, " a  你", [("▁a", 1, 2), ("▁", 2, 3), ("▁", 3, 4), ("你", 4, 5)]),
        (T5, "你a", [("▁", 0, 0), ("你", 0, 1), ("a", 1, 2)]),
        (T5, "▁ ▁a", [("▁", 0, 1), ("▁", 1, 2), ("▁a", 2, 4)]),  # the sign itself, in the text
        (
            ALBERT,
            f"``{CAFE}`` ``",
            [("▁", 0, 0), ('"', 0, 2), ("cafe", 2, 7), ('"', 7, 9), ("▁", 9, 10), ('"', 10, 12)],
        ),
        (
            BYTES,
            "é你 x",
            [
                *[("▁", 0, 0), ("<0xC3>", 0, 1), ("<0xA9>", 0, 1)],
                *[("<0xE4>", 1, 2), ("<0xBD>", 1, 2), ("<0xA0>", 1, 2), ("▁", 2, 3), ("x", 3, 4)],
            ],
        ),
        (BYTES, "e\u0301x", [("▁", 0, 0), ("<0xC3>", 0, 2), ("<0xA9>", 0, 2), ("x", 2, 3)]),
        (BYTES, "<0x41>x", [("▁", 0, 0), ("<0x41>", 0, 6), ("x", 6, 7)]),
        (
            byte_fallback(True),
            " a  a你",
            [
                ("▁", 0, 0),
                ("▁a", 1, 2),
                ("▁", 2, 3),
                ("▁a", 4, 5),
                ("<0xE4>", 5, 6),
                ("<0xBD>", 5, 6),
                ("<0xA0>", 5, 6),
            ],
        ),
        (byte_fallback(True), " é", [("▁", 0, 0), ("▁", 0, 1), ("<0xC3>", 1, 2), ("<0xA9>", 1, 2)]),
        (byte_fallback(False), " a é", [("▁a", 1, 2), ("▁", 2, 3), ("<0xC3>", 3, 4), ("<0xA9>", 3, 4)]),
        (WORDS, "film ☃☃! \u200d", [("film", 0, 4), ("<unk>", 5, 8), ("<unk>", 9, 10)]),
        (
            CHARACTERS,
            "a  é\ta",
            [("a", 0, 1), (" ", 1, 2), (" ", 2, 3), ("<unk>", 3, 4), ("<unk>", 4, 5), ("a", 5, 6)],
        ),
        # Marks that the normaliser puts in another order, and a ligature whose second letter takes a dot below.
        (COMPOSES, "q\u0302\u0323", [("q", 0, 1), ("\u0323", 1, 3), ("\u0302", 1, 3)]),
        (COMPOSES, "ﬁ\u0323", [("f", 0, 2), ("\u1ecb", 0, 2)]),
        (DROPS, "☃a☃b a", [("ab", 1, 4), ("a", 5, 6)]),
    ],
)
def test_spans_by_hand(tokenizer, text, expected):
    assert ordinary(tokenizer, text) == expected


def test_special_tokens_in_the_text_have_their_own_characters():
    tokenizer = byte_level(prefix=True)
    tokenizer.add_special_tokens({"mask_token": AddedToken("<mask>", lstrip=True), "bos_token": "<s>"})
    found = ordinary(tokenizer, "a  <mask>b<s> c")
    assert [token.strip() for token, _, _ in found] == ["Ġ", "a", "<mask>", "Ġ", "b", "<s>", "Ġ", "c"]
    assert [(start, end) for _, start, end in found] == [
        *[(0, 0), (0, 1), (3, 9), (9, 9), (9, 10), (10, 13), (13, 14), (14, 15)]
    ]


def test_each_text_of_a_pair_has_spans_of_its_own():
    tokenizer = tokenizer_of("WordPiece")
    encoded = encode(tokenizer, ("a caf" + CAFE[3:], "in  e\u0301 "))
    found = [
        (segment, encoded.texts[segment][start:end])
        for segment, (start, end) in zip(encoded.segments, encoded.offsets, strict=True)
        if segment is not None
    ]
    assert "".join(piece for segment, piece in found if segment == 0) == f"a{CAFE}"
    assert "".join(piece for segment, piece in found if segment == 1) == "ine\u0301"


def test_an_unpaired_surrogate_moves_no_span():
    assert ordinary(BERT, "a \ud800 a") == [("a", 0, 1), ("a", 4, 5)]
    assert ordinary(CHARACTERS, "a\ud800a") == [("a", 0, 1), ("<unk>", 1, 2), ("a", 2, 3)]


def test_very_long_texts_of_marks_are_read_in_a_moment():
    text = "e" + "\u0301" * 4_000
    for tokenizer in (BERT, T5, byte_level(normalizer=normalizers.NFC())):
        found = ordinary(tokenizer, text)
        assert found[-1][2] == len(text)
