"""Data sets, features, windows and the order of training examples."""

import csv
import gzip
import itertools
import json

import pandas as pd
import pytest
import torch

from hf_diffmask.data import (
    LengthGroupedSampler,
    TextFeatures,
    clean,
    collate,
    encode,
    load_texts,
    train_validation_split,
    windows,
)
from hf_diffmask.errors import DiffMaskError

ROWS = [{"text": "a warm film", "other": "so it is"}, {"text": "a dull one", "other": "no, it is not"}]


def write(path, rows=ROWS):
    opened = gzip.open if path.suffix == ".gz" else open
    name = path.name.removesuffix(".gz")
    if name.endswith(".parquet"):
        pd.DataFrame(rows).to_parquet(path)
        return
    with opened(path, "wt", encoding="utf-8", newline="") as file:
        if name.endswith(".csv"):
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        elif name.endswith(".json"):
            json.dump(rows, file)
        else:
            file.writelines(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize("name", ["d.csv", "d.csv.gz", "d.jsonl", "d.jsonl.gz", "d.json", "d.json.gz", "d.parquet"])
def test_local_files_of_every_kind(tmp_path, name):
    write(tmp_path / name)
    assert load_texts(str(tmp_path / name)) == ["a warm film", "a dull one"]
    pairs = load_texts(str(tmp_path / name), "text", "other")
    assert pairs == [("a warm film", "so it is"), ("a dull one", "no, it is not")]


def test_rows_without_text_are_left_out_and_counted(tmp_path, caplog):
    write(tmp_path / "d.jsonl", [*ROWS, {"text": "  ", "other": ""}, {"text": None, "other": "x"}])
    import transformers

    transformers.utils.logging.enable_propagation()
    assert len(load_texts(str(tmp_path / "d.jsonl"))) == 2
    assert "2 of 4 rows" in caplog.text


@pytest.mark.parametrize(
    ("make", "column", "message"),
    [
        (lambda path: write(path), "body", "no column 'body'; it has text, other"),
        (lambda path: path.write_text('{"text": "half'), "text", "cannot be read"),
        (lambda path: path.write_text(""), "text", "is empty"),
        (lambda path: write(path, [{"text": " "}]), "text", "holds no text"),
        (lambda path: None, "text", "There is no file"),
    ],
)
def test_unusable_data_sets_are_one_sentence(tmp_path, make, column, message):
    path = tmp_path / "d.jsonl"
    make(path)
    with pytest.raises(DiffMaskError, match=message):
        load_texts(str(path), column)


def test_unknown_kinds_and_ids_that_cannot_be_reached(tmp_path):
    (tmp_path / "d.xlsx").write_text("x")
    with pytest.raises(DiffMaskError, match="no known kind"):
        load_texts(str(tmp_path / "d.xlsx"))
    with pytest.raises(DiffMaskError, match="cannot be read"):
        load_texts("nobody/nothing-here")


def test_clean_keeps_offsets():
    text = "a\ud800b\U0001f600\udfff"
    assert clean(text) == "a\ufffdb\U0001f600\ufffd" and len(clean(text)) == len(text)


def test_encode_gives_offsets_into_the_original_text(tokenizer):
    text = "The  film\twas great \u2014 ol\u00e9!"
    encoded = encode(tokenizer, text)
    assert [text[start:end].lower() for start, end in encoded.offsets[1:4]] == ["the", "film", "was"]
    assert encoded.segments[0] is None and encoded.segments[-1] is None
    assert encoded.features["special_tokens_mask"] == [int(segment is None) for segment in encoded.segments]


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


def test_collate_pads_and_keeps_ids(tokenizer):
    features = TextFeatures(tokenizer, ["a warm film", "film"], 40)
    batch = collate(tokenizer, [features[1], features[0]])
    assert batch["example_ids"].tolist() == [1, 0]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
    assert batch["special_tokens_mask"][0].tolist() == [1, 0, 1, 1, 1]


def test_long_training_texts_become_several_examples(tokenizer):
    features = TextFeatures(tokenizer, [" ".join(["film"] * 100)], 20)
    assert len(features) > 5 and all(len(item["input_ids"]) <= 20 for item in features.items)


def test_sampler_is_a_permutation_by_length_and_by_epoch():
    lengths = torch.randint(3, 60, (1003,)).tolist()
    sampler = LengthGroupedSampler(lengths, 16, seed=1)
    first = list(sampler)
    # 62 full batches of 16; the 11 examples left over wait for another epoch.
    assert len(first) == len(sampler) == 992 == len(set(first))
    assert list(sampler) == first
    sampler.set_epoch(1)
    assert list(sampler) != first and set(range(1003)) - set(first) != set(range(1003)) - set(sampler)
    assert sorted(LengthGroupedSampler(lengths[:7], 16, seed=1)) == list(range(7))
    padded = sum(16 * max(lengths[k] for k in first[i : i + 16]) for i in range(0, 992, 16))
    assert padded < 1.15 * sum(lengths)
    spans = [max(lengths[k] for k in first[i : i + 16]) for i in range(0, 992, 16)]
    assert spans != sorted(spans) and spans != sorted(spans, reverse=True)


def test_split_is_disjoint_and_complete():
    texts = [str(k) for k in range(100)]
    train, validation = train_validation_split(texts, seed=3)
    assert len(validation) == 10 and sorted(train + validation) == sorted(texts)
    assert train_validation_split(texts, seed=3) == (train, validation)
    with pytest.raises(DiffMaskError, match="at least two"):
        train_validation_split(["one"], seed=0)
