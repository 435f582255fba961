"""Small tokenizers of every kind, and random text of many scripts."""

import functools
import itertools
import json
import random
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from tokenizers import Regex, Tokenizer, models, processors, trainers
from tokenizers import normalizers as norms
from tokenizers import pre_tokenizers as pre
from transformers import PreTrainedTokenizerFast

SENTENCES = [
    "the film was warm and quietly funny , with a fine cast .",
    "don't you find it's unforgettable ?",
    "a dull plot ; the end was too long !",
    "we liked it ( mostly ) in 2019",
    "ein schöner film , naïve et olé",
    "это хороший фильм",
    "今日は映画を見ました 我喜欢这部电影",
    "หนังเรื่องนี้ดีมาก",
]
LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)
BYTE_TOKENS = [f"<0x{byte:02X}>" for byte in range(256)]
_LETTERS = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_OTHERS = [byte for byte in range(256) if byte not in _LETTERS]
BYTE_OF = {chr(byte): byte for byte in _LETTERS} | {chr(256 + k): byte for k, byte in enumerate(_OTHERS)}
"""The byte that each character of a byte-level token stands for (GPT-2's table)."""


@dataclass(frozen=True)
class Kind:
    """A kind of tokenizer, and what it does to text, in Python's own functions."""

    build: Callable[[], Tokenizer]
    form: Callable[[str], str] = str
    """Characters as the normaliser writes them."""
    unknown: str | None = None
    byte_level: bool = False
    marks: tuple[str, ...] = ()
    """What tokens have at their front or end besides characters of the text."""
    kept: Callable[[str], bytes] = str.encode
    """What the model keeps of characters, in UTF-8."""

    def tokenizer(self) -> PreTrainedTokenizerFast:
        return PreTrainedTokenizerFast(tokenizer_object=self.build())

    def bytes_of(self, token: str) -> bytes:
        """The bytes that a token holds, without white space."""
        if token in BYTE_TOKENS:
            return bytes([int(token[3:5], 16)])
        for mark in self.marks:
            token = token.removeprefix(mark).removesuffix(mark)
        written = bytes(BYTE_OF[char] for char in token) if self.byte_level else token.replace("▁", " ").encode()
        return bytes(byte for byte in written if byte not in b" \t\r\n")


def word_piece(lowercase: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = norms.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre.BertPreTokenizer()
    special = ["[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=250, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", "[CLS] $A [SEP] $B [SEP]", [("[CLS]", 1), ("[SEP]", 2)]
    )
    return tokenizer


def byte_level(
    trim: bool = True,
    prefix: bool = False,
    normalizer: norms.Normalizer | None = None,
    pattern: str | None = None,
    alphabet: bool = True,
) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre.ByteLevel(add_prefix_space=prefix, use_regex=pattern is None)
    if pattern is not None:
        tokenizer.pre_tokenizer = pre.Sequence([pre.Split(Regex(pattern), "isolated"), tokenizer.pre_tokenizer])
    known = pre.ByteLevel.alphabet() if alphabet else []
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=known, special_tokens=["<s>", "</s>"], show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=trim, add_prefix_space=prefix)
    return tokenizer


def roberta(prefix: bool) -> Tokenizer:
    tokenizer = byte_level(prefix=prefix)
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", 1), ("<s>", 0), trim_offsets=True, add_prefix_space=prefix
    )
    return tokenizer


def unigram(
    normalizers: Iterable[norms.Normalizer], pre_tokenizer: pre.PreTokenizer | None = None, fallback: bool = False
) -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = norms.Sequence(list(normalizers))
    tokenizer.pre_tokenizer = pre_tokenizer or pre.Metaspace()
    special = ["<s>", "<unk>", *(BYTE_TOKENS if fallback else [])]
    trainer = trainers.UnigramTrainer(
        vocab_size=200 + 256 * fallback, special_tokens=special, unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return with_bytes(tokenizer) if fallback else tokenizer


def byte_fallback(prepend: bool) -> Tokenizer:
    """As Llama 2 (with a space in front) and Gemma: nothing splits the text, so that pieces may cross words."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = norms.Sequence([*([norms.Prepend("▁")] if prepend else []), norms.Replace(" ", "▁")])
    special = ["<unk>", "<s>", *BYTE_TOKENS]
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(SENTENCES[:4], trainer)
    return with_bytes(tokenizer)


def with_bytes(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer with its byte tokens as pieces of the model only, and no longer found in the text itself."""
    saved = json.loads(tokenizer.to_str())
    saved["added_tokens"] = [token for token in saved["added_tokens"] if token["content"] not in BYTE_TOKENS]
    saved["model"]["byte_fallback"] = True
    return Tokenizer.from_str(json.dumps(saved))


def word_level() -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = norms.Lowercase(), pre.Whitespace()
    trainer = trainers.WordLevelTrainer(special_tokens=["<unk>", "<s>"], show_progress=False)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return tokenizer


def characters() -> Tokenizer:
    known = sorted(set("".join(SENTENCES)))
    tokenizer = Tokenizer(models.WordLevel({"<unk>": 0} | {char: k for k, char in enumerate(known, 1)}, "<unk>"))
    tokenizer.pre_tokenizer = pre.Split("", "isolated")
    return tokenizer


def without_unknown() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre.WhitespaceSplit()
    trainer = trainers.BpeTrainer(vocab_size=200, special_tokens=["<s>"], show_progress=False)
    tokenizer.train_from_iterator(SENTENCES[:4], trainer)
    return tokenizer


def clip() -> Tokenizer:
    """Byte-level BPE with a mark at the end of a word; no token has white space."""
    tokenizer = byte_level(trim=False, normalizer=norms.Sequence([norms.NFC(), norms.Lowercase()]))
    saved = json.loads(tokenizer.to_str())
    saved["model"]["end_of_word_suffix"] = "</w>"
    saved["model"]["vocab"] |= {f"{char}</w>": 1000 + byte for char, byte in BYTE_OF.items()}
    tokenizer = Tokenizer.from_str(json.dumps(saved))
    tokenizer.pre_tokenizer = pre.Sequence([pre.WhitespaceSplit(), pre.ByteLevel(add_prefix_space=False)])
    return tokenizer


def _bert(text: str, lowercase: bool) -> str:
    text = "".join(char for char in text if unicodedata.category(char)[0] != "C" and char != "\ufffd")
    if lowercase:
        text = "".join(char for char in unicodedata.normalize("NFD", text) if unicodedata.category(char) != "Mn")
    return "".join(char.lower() for char in text) if lowercase else text


def _albert(text: str) -> str:
    text = "".join(char for char in unicodedata.normalize("NFKD", text) if unicodedata.category(char)[0] != "M")
    return "".join(char.lower() for char in text)


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _nfkc(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def _lower(text: str) -> str:
    return "".join(char.lower() for char in text)


_SPLIT_SPACE = pre.Sequence([pre.WhitespaceSplit(), pre.Metaspace()])
_ALBERT = [norms.NFKD(), norms.StripAccents(), norms.Lowercase()]
KINDS = {
    "WordPiece": Kind(partial(word_piece, True), partial(_bert, lowercase=True), "[UNK]", marks=("##",)),
    "WordPiece, cased": Kind(partial(word_piece, False), partial(_bert, lowercase=False), "[UNK]", marks=("##",)),
    "GPT-2": Kind(byte_level, byte_level=True),
    "GPT-2, spaces in offsets": Kind(partial(byte_level, trim=False), byte_level=True),
    "RoBERTa": Kind(partial(roberta, False), byte_level=True),
    "RoBERTa, space in front": Kind(partial(roberta, True), byte_level=True),
    "Llama 3": Kind(partial(byte_level, trim=False, pattern=LLAMA_3), byte_level=True),
    "Qwen": Kind(partial(byte_level, trim=False, normalizer=norms.NFC(), pattern=LLAMA_3), _nfc, byte_level=True),
    "byte level that drops some bytes": Kind(
        partial(byte_level, alphabet=False),
        byte_level=True,
        kept=lambda text: bytes(byte for byte in text.encode() if byte in "".join(SENTENCES).encode()),
    ),
    "CLIP": Kind(clip, lambda text: _lower(_nfc(text)), byte_level=True, marks=("</w>",)),
    "XLM-R": Kind(partial(unigram, [norms.NFKC()], _SPLIT_SPACE), _nfkc, "<unk>"),
    "T5": Kind(partial(unigram, [norms.NFKC()]), _nfkc, "<unk>"),
    "ALBERT": Kind(partial(unigram, _ALBERT), _albert, "<unk>"),
    "Unigram with bytes": Kind(partial(unigram, [norms.NFKC()], fallback=True), _nfkc),
    "Llama 2": Kind(partial(byte_fallback, True)),
    "Gemma": Kind(partial(byte_fallback, False)),
    "word level": Kind(word_level, _lower, "<unk>"),
    "characters": Kind(characters, unknown="<unk>"),
    "BPE that drops the unknown": Kind(
        without_unknown, kept=lambda text: "".join(char for char in text if char in "".join(SENTENCES[:4])).encode()
    ),
}


@functools.cache
def tokenizer_of(name: str) -> PreTrainedTokenizerFast:
    """The tokenizer of a kind, trained once."""
    return KINDS[name].tokenizer()


_MARKS = "\u0323\u0327\u0301\u0302\u0303\u0308\u064e\u0651"
_SPACES = [" ", " ", " ", "  ", "   ", "\n", "\t", "\u00a0", "\u3000", "\r\n"]
_WORDS = ["the", "film", "was", "warm", "Quietly", "FUNNY", "don't", "unforgettable", "it's", "naïve", "2019"]
_WORDS += ["фильм", "映画", "を見ました", "电影", "한글", "سينما"]
_PARTS = [
    *"!,.;()'\"-…«»`“” \u00ad\u200b\u200d\x00\ufeff\ufffd".replace(" ", ""),
    *("😀", "👩\u200d💻", "👍🏽", "❤\ufe0f", "🇩🇪", "ﬁ", "½", "㌀", "İ", "ß", "ｶﾞ", "\u1112\u1161\u11ab", "Å", "``"),
    *("हिन्दी", "עברית", "𝔘", "\U00020000"),
]
# Characters of Unicode 3.2, which every library knows alike.
_ANY = [
    char
    for char in map(chr, range(0x21, 0x10000))
    if unicodedata.ucd_3_2_0.category(char) not in ("Cn", "Cs", "Co")
    and not char.isspace()
    and not unicodedata.normalize("NFKC", char).isspace()
    and char not in "▁"
    and unicodedata.normalize("NFD", char).isalnum() == char.isalnum()
]


def _without_marks_in_front(run: str) -> str:
    return "".join(itertools.dropwhile(lambda char: unicodedata.category(char)[0] in "MC", run))


def random_texts(seed: int, count: int, unspaced: bool = True) -> Iterator[str]:
    """Texts of words, marks, emoji, white space and any characters; `unspaced` adds Thai."""
    draw = random.Random(seed)
    for _ in range(count):
        parts = []
        for _ in range(draw.randint(1, 12)):
            kind = draw.random()
            if kind < 0.35:
                parts.append(draw.choice(_SPACES))
            elif kind < 0.6:
                parts.append(draw.choice(_WORDS))
            elif kind < 0.8:
                parts.append(draw.choice(_PARTS))
            elif kind < 0.9:
                parts.append("".join(draw.choices("aeonqZ" + _MARKS, k=draw.randint(1, 4))))
            elif kind < 0.95 and unspaced:
                parts.append("หนังเรื่องนี้ดี"[draw.randint(0, 4) :])
            else:
                parts.append(draw.choice(_ANY))
        # A mark needs a character to stand on.
        yield re.sub(r"(?<!\S)\S+", lambda run: _without_marks_in_front(run[0]), "".join(parts))
