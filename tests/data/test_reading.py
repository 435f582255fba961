"""Texts are read from every kind of file; a file that cannot be read is an error of one sentence."""

import csv
import gzip
import json

import pandas as pd
import pytest

from hf_diffmask.data.reading import load_texts
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
    with pytest.raises(DiffMaskError, match="has an unknown format"):
        load_texts(str(tmp_path / "d.xlsx"))
    with pytest.raises(DiffMaskError, match="cannot be read"):
        load_texts("nobody/nothing-here")
