"""Texts are read from every kind of file; a file that cannot be read is an error of one sentence."""

import csv
import gzip
import json
import os
import sys

import pandas as pd
import pytest
from huggingface_hub.constants import HF_HUB_CACHE

from hf_diffmask.data.reading import is_on_hub, load_texts
from hf_diffmask.errors import DiffMaskError
from tests.helpers import piped

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
def test_local_files_of_every_kind(tmp_path, name, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)  # its readers guess types and patterns
    write(tmp_path / name)
    assert load_texts(str(tmp_path / name)) == ["a warm film", "a dull one"]
    pairs = load_texts(str(tmp_path / name), "text", "other")
    assert pairs == [("a warm film", "so it is"), ("a dull one", "no, it is not")]


def test_lines_of_text_and_words_for_missing_values(tmp_path):
    (tmp_path / "lines.TXT").write_bytes("\ufeffgood film\r\n\r\nNone\u2028\n".encode())
    assert load_texts(str(tmp_path / "lines.TXT")) == ["good film", "None\u2028"]
    write(tmp_path / "d.csv", [{"text": text} for text in ("None", "N/A", "null", "nan", "0012")])
    assert load_texts(str(tmp_path / "d.csv")) == ["None", "N/A", "null", "nan", "0012"]


def test_what_is_no_text_is_refused_by_row(tmp_path):
    write(tmp_path / "d.jsonl", [*ROWS, {"text": None, "other": "x"}, {"text": 3, "other": "x"}])
    with pytest.raises(DiffMaskError) as error:
        load_texts(str(tmp_path / "d.jsonl"))
    assert str(error.value) == f"Row 3 of {tmp_path / 'd.jsonl'} is no text but of type int: name a column of strings."
    assert load_texts(str(tmp_path / "d.jsonl"), keep_empty=True)[2:] == [None, 3]
    assert load_texts(str(tmp_path / "d.jsonl"), limit=2) == ["a warm film", "a dull one"]


def test_reading_stops_at_the_limit(tmp_path):
    (tmp_path / "d.jsonl").write_text('{"text": "one"}\n{"text": ""}\n{"text": "two"}\nhalf')
    assert load_texts(str(tmp_path / "d.jsonl"), limit=2) == ["one", "two"]
    with piped(b"one\ntwo\n") as path:
        assert load_texts(path) == ["one", "two"]


def test_folders_and_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    import datasets

    folder, cache = tmp_path / "data.csv", tmp_path / "file" / "cache"
    folder.mkdir()
    write(folder / "part.csv")
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    assert load_texts(str(folder)) == ["a warm film", "a dull one"]
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
    with pytest.raises(DiffMaskError, match=rf"^The cache {cache} cannot be written \(.*\): set HF_DATASETS_CACHE to"):
        load_texts(str(folder))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")

    def full(*arguments, **options):
        try:
            raise OSError(28, "No space left on device", os.path.join(HF_HUB_CACHE, "refs"))
        except OSError as error:
            raise ValueError("The download failed.") from error

    monkeypatch.setattr(datasets, "load_dataset", full)
    with pytest.raises(DiffMaskError, match=r"^The cache .* cannot be written \(.*No space.*\): set HF_HUB_CACHE to"):
        load_texts("acme/data")


def test_which_names_are_on_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "acme").mkdir()
    assert all(is_on_hub(name) for name in ("imdb", "acme/data", "acme/data.v2"))
    assert not any(is_on_hub(name) for name in ("acme", "data.CSV", "acme/d.tsv.gz", "/dev/stdin", "a/b/c", "x y"))


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
    with pytest.raises(DiffMaskError, match="has an unknown format"):
        load_texts(str(tmp_path / "d.xlsx"))
    with pytest.raises(DiffMaskError, match="cannot be read"):
        load_texts("nobody/nothing-here")
