"""Sentiment trees give sentences and phrases; errors name the malformed line."""

import gzip

import pytest

from hf_diffmask.data.sst import LABELS, Sentence, load_phrases, load_trees
from hf_diffmask.errors import DiffMaskError

TREE = "(3 (2 (2 Our) (2 walk)) (3 (2 was) (4 (3 quite) (4 lovely))))"
ESCAPED = "(1 (2 (2 -LRB-) (2 (2 and\\/or) (2 -RRB-))) (1 (2 (2 ``) (1 (1 rainy) (2 ''))) (2 \\*)))"
SINGLE = "(0 dreadful)"


def write(path, *lines, end="\n"):
    with (gzip.open if path.suffix == ".gz" else open)(path, "wt", encoding="utf-8", newline="") as file:
        file.write(end.join(lines) + end)
    return path


@pytest.mark.parametrize("name", ["trees.txt", "trees.txt.gz"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_sentences_in_order_with_the_labels_of_their_words(tmp_path, name, end):
    first, second = load_trees(write(tmp_path / name, TREE, SINGLE, end=end))
    assert first == Sentence(["Our", "walk", "was", "quite", "lovely"], 3, [2, 2, 2, 3, 4])
    assert second == Sentence(["dreadful"], 0, [0])
    assert first.text == "Our walk was quite lovely" and LABELS[second.label] == "very negative"


def test_phrases_are_the_nodes_each_after_its_parts(tmp_path):
    phrases = load_phrases(str(write(tmp_path / "trees.txt", TREE, SINGLE)))
    assert [(phrase.text, phrase.label) for phrase in phrases] == [
        ("Our", 2),
        ("walk", 2),
        ("Our walk", 2),
        ("was", 2),
        ("quite", 3),
        ("lovely", 4),
        ("quite lovely", 4),
        ("was quite lovely", 3),
        ("Our walk was quite lovely", 3),
        ("dreadful", 0),
    ]
    assert phrases[7].word_labels == [2, 3, 4]


def test_escapes_are_undone(tmp_path):
    (sentence,) = load_trees(write(tmp_path / "trees.txt", ESCAPED))
    assert sentence.words == ["(", "and/or", ")", '"', "rainy", '"', "*"]
    assert sentence.word_labels == [2, 2, 2, 2, 1, 2, 2]


def test_a_word_may_hold_a_no_break_space_and_letters_of_any_kind(tmp_path):
    (sentence,) = load_trees(write(tmp_path / "trees.txt", "(2 (2 3\u00a01\\/2) (2 cafés))"))
    assert sentence.words == ["3\u00a01/2", "cafés"]
    assert sentence.text.split(" ") == sentence.words


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "it is empty"),
        ("lovely", "it begins with 'lovely' instead of '\\('"),
        (")", "it begins with '\\)' instead of '\\('"),
        ("(5 lovely)", "a node has the label '5' instead of one from 0 to 4"),
        ("(lovely)", "a node has the label 'lovely' instead of one from 0 to 4"),
        ("(", "a node has the label '' instead of one from 0 to 4"),
        ("(2 (2 was) (3 ))", "a node holds no word"),
        ("(2 was lovely)", "the word 'lovely' shares its node with others"),
        ("(2 was (3 lovely))", "the word 'was' shares its node with others"),
        ("(2 (3 lovely) was)", "the word 'was' shares its node with others"),
        ("(3 (2 was) (3 lovely)", "it ends with 1 node\\(s\\) not closed"),
        ("(3 lovely))", "'\\)' follows after the end of the tree"),
        ("(3 lovely) (3 lovely)", "'\\(' follows after the end of the tree"),
    ],
)
def test_malformed_lines_are_named(tmp_path, line, message):
    path = write(tmp_path / "trees.txt", SINGLE, line, TREE)
    for load in (load_trees, load_phrases):
        with pytest.raises(DiffMaskError, match=f"Line 2 of .*trees.txt is no tree: {message}\\.$"):
            load(path)


def test_unusable_files_are_one_sentence(tmp_path):
    with pytest.raises(DiffMaskError, match=r"There is no file .*absent\.txt: give the path"):
        load_trees(tmp_path / "absent.txt")
    with pytest.raises(DiffMaskError, match="There is no file"):
        load_trees(tmp_path)
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(DiffMaskError, match=r"empty\.txt holds no trees"):
        load_trees(tmp_path / "empty.txt")
    (tmp_path / "plain.gz").write_text(TREE)
    with pytest.raises(DiffMaskError, match=r"plain\.gz cannot be read"):
        load_trees(tmp_path / "plain.gz")
    whole = write(tmp_path / "whole.gz", TREE).read_bytes()
    (tmp_path / "half.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DiffMaskError, match=r"half\.gz cannot be read"):
        load_trees(tmp_path / "half.gz")
    (tmp_path / "mark.txt").write_text(f"\ufeff{TREE}\n", encoding="utf-8")
    assert load_trees(tmp_path / "mark.txt") == load_trees(write(tmp_path / "no_mark.txt", TREE))
    (tmp_path / "latin.txt").write_bytes("(2 cafés)".encode("latin-1"))
    with pytest.raises(
        DiffMaskError, match=r"latin\.txt cannot be read \(byte 0xE9 in line 1 is not UTF-8; in Windows-1252"
    ):
        load_trees(tmp_path / "latin.txt")
