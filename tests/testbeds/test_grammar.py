"""Sentences depend on the seed, and hold praise, blame, both or neither."""

import re

from hf_diffmask.testbeds import grammar
from hf_diffmask.testbeds.grammar import sentences


def words_of(sentence):
    """Number of words of praise, and of blame."""
    return tuple(
        sum(bool(re.search(rf"\b{word}\b", sentence)) for word in words) for words in (grammar._GOOD, grammar._BAD)
    )


def test_a_draw_is_settled_by_its_seed_and_the_shorter_begins_the_longer():
    assert sentences(20, seed=3) == sentences(40, seed=3)[:20] != sentences(20, seed=4)
    assert sentences(0) == [] and len(set(sentences(500))) > 450


def test_every_sentence_is_of_the_grammar():
    def any_of(parts):
        return f"(?:{'|'.join(map(re.escape, sorted(set(parts), key=len, reverse=True)))})"

    word = any_of(grammar._GOOD + grammar._BAD)
    clause = f"{any_of(grammar._SUBJECTS)} is (?:not )?{any_of(grammar._DEGREES)}{word}"
    end = f"(?:{any_of(grammar._CONTRASTS)}{clause}| and {word})?{any_of(grammar._CLOSINGS)} \\."
    pattern = re.compile(f"{any_of(grammar._OPENINGS)}{clause}{end}")
    assert all(pattern.fullmatch(sentence) for sentence in sentences(1000))


def test_kinds_come_in_their_shares():
    drawn = sentences(4000, seed=7)
    both = [sentence for sentence in drawn if min(words_of(sentence))]
    assert abs(len(both) / 4000 - 0.25) < 0.03, "share of contrasts"
    assert all(any(contrast in sentence for contrast in grammar._CONTRASTS) for sentence in both)
    assert abs(sum(" is not " in sentence for sentence in drawn) / 4000 - 0.15) < 0.03
    good = sum(words_of(sentence)[0] > 0 and words_of(sentence)[1] == 0 for sentence in drawn)
    assert abs(good / (4000 - len(both)) - 0.5) < 0.03
