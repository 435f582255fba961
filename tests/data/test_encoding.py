"""Tokens keep their offsets into the text."""

import pytest

from hf_diffmask.data.encoding import clean, encode, features_of_ids, max_length
from hf_diffmask.errors import DiffMaskError


def test_clean_keeps_offsets():
    text = "a\ud800b\U0001f600\udfff"
    assert clean(text) == "a\ufffdb\U0001f600\ufffd" and len(clean(text)) == len(text)


def test_encode_gives_offsets_into_the_original_text(tokenizer):
    text = "The  film\twas great \u2014 ol\u00e9!"
    encoded = encode(tokenizer, text)
    assert [text[start:end].lower() for start, end in encoded.offsets[1:4]] == ["the", "film", "was"]
    assert encoded.segments[0] is None and encoded.segments[-1] is None
    assert encoded.features["special_tokens_mask"] == [int(segment is None) for segment in encoded.segments]


def test_words_that_have_no_token_are_no_special_tokens(tokenizer):
    """Marks of special tokens agree with `encode`; ids of a pair are refused."""
    ids = tokenizer(f"the \u2603 film {tokenizer.mask_token}")["input_ids"]
    assert tokenizer.unk_token_id in ids and tokenizer.mask_token_id in ids
    assert features_of_ids(tokenizer, ids)["special_tokens_mask"] == [1, 0, 0, 0, 0, 1]
    with pytest.raises(DiffMaskError, match="ids of a pair"):
        features_of_ids(tokenizer, tokenizer("a warm film", "it was dull")["input_ids"])


def test_longest_input(classifier, tokenizer):
    assert max_length(classifier, tokenizer) == classifier.config.max_position_embeddings
