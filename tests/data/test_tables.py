"""Rows come out as they stand in the file; columns that are not asked for cannot do harm."""

import csv
import gzip
import json
import tracemalloc

import pyarrow as pa
import pyarrow.parquet
import pytest

from hf_diffmask import DiffMaskError
from hf_diffmask.data.tables import check_columns, rows_of
from tests.helpers import piped

# Words that readers of tables take for missing values, numbers, truth values and dates.
WORDS = ["None", "N/A", "null", "nan", "", "0012", "7.5", "1e3", "True", "2020-01-02", " two ", "a;b", "#REF!", "-inf"]


UNKNOWN = "FILE has an unknown format: name it .csv, .tsv, .txt, .json, .jsonl or .parquet (.gz may follow)."


def written(path, content):
    data = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(gzip.compress(data) if path.suffix.lower() == ".gz" else data)
    return path


def cells(path, *columns):
    return [row if len(columns) > 1 else row[0] for _, row in rows_of(path, columns or ["text"])]


def refusal(path, *columns):
    with pytest.raises(DiffMaskError) as error:
        cells(path, *columns)
    assert "\n" not in str(error.value)
    return str(error.value).replace(str(path), "FILE").removeprefix("The data set FILE ")


@pytest.mark.parametrize("name", ["t.csv", "T.CSV", "t.tsv", "T.Tsv.Gz", "t.csv.gz", "t[1]?* ü.csv"])
def test_cells_are_the_characters_in_the_file(tmp_path, name):
    texts = [
        *WORDS,
        'say "yes"',
        "a,b\tc",
        "two\nlines\r\nand\ra third",
        "\u2028\x85\x0b",
        "x" * 200_000,
        "\ufeffmark",
    ]
    path = tmp_path / name
    with open(tmp_path / "plain", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter="\t" if "tsv" in name.lower() else ",")
        writer.writerows([["id", "text"], *enumerate(texts)])
    written(path, (tmp_path / "plain").read_bytes())
    assert list(rows_of(path, ["text"])) == [(number, (text,)) for number, text in enumerate(texts)]
    assert cells(path, "text", "id") == [(text, str(number)) for number, text in enumerate(texts)]
    path.unlink()
    with pytest.raises(DiffMaskError, match="There is no file"):
        cells(path)


def test_the_file_that_was_named(tmp_path):
    for name in ("data1.csv", "data[12].csv", "data*.csv", "a b?.csv", "ünïcode.csv"):
        written(tmp_path / name, f"text\n{name}\n")
        assert cells(tmp_path / name) == [name]
    (tmp_path / "other.csv").symlink_to(tmp_path / "data[12].csv")
    assert cells(tmp_path / "other.csv") == ["data[12].csv"]


def test_blank_lines_of_a_csv_are_no_rows_and_short_rows_have_empty_cells(tmp_path):
    path = written(tmp_path / "t.csv", "\r\n\nid,text,note\r\n\r\n1,one\r\n2\r\n3,three,,,\n\n")
    assert list(rows_of(path, ["text"])) == [(0, ("one",)), (1, ("",)), (2, ("three",))]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", "id;text\n1;one\n", "The columns of FILE are separated by semicolons: save it with commas."),
        ("t.csv", '"id";"text"\n1;one, two\n',
         "The columns of FILE are separated by semicolons: save it with commas."),
        ("t.tsv", "id;review\n", "The columns of FILE are separated by semicolons: save it with commas."),
        ("t.csv", "id\ttext\n", "The columns of FILE are separated by tabs: name it .tsv."),
        ("t.tsv", "id,text\n", "The columns of FILE are separated by commas: name it .csv."),
        ("t.csv", "", "is empty."),
        ("t.tsv", "\n\r\n", "is empty."),
        ("t.csv", "text,text\n1,2\n", "has 2 columns 'text': rename one."),
        ("t.csv", "id,body\n1,2\n",
         "has no column 'text'; it has id, body: name one with --text_column or --text_pair_column."),
        ("t.csv", "id,text\n1,one\n2,two, but three\n",
         "cannot be read (the row in line 3 has 3 cells, and the header 2: put cells with commas in quotation "
         "marks)."),
        ("t.csv", '\nid,text\n1,"two\nlines"\n2,"open\n\n3,closed\n',
         "cannot be read (the row that begins in line 5 is damaged: unexpected end of data; double the quotation "
         "marks inside a cell)."),
        ("t.csv", 'id,text\n1,"so" they say\n',
         "cannot be read (the row that begins in line 2 is damaged: ',' expected after '\"'; double the quotation "
         "marks inside a cell)."),
        ("t.csv", "id,text\n1,café\n".encode("latin-1"),
         "cannot be read (byte 0xE9 in line 2 is not UTF-8; in Windows-1252 (cp1252) it is 'é': save the file in "
         "UTF-8)."),
        ("t.json", "", "is empty."),
        ("t.json", "[]", "is empty."),
        ("t.json", " \n", "is empty."),
        ("t.jsonl", "\n", "is empty."),
        ("t.json", '[{"text": "one"}, 2]', "cannot be read (row 1 is no JSON object but of type int)."),
        ("t.json", '[{"text": "one"}, {"text": "two"]',
         "cannot be read (row 1 is no JSON: Expecting ',' delimiter)."),
        ("t.json", '[{"text": "one"}, ]', "cannot be read (row 1 is no JSON: Expecting value)."),
        ("t.json", '[{"text": "one"} {"text": "two"}]',
         "cannot be read (no comma and no end of the array follow row 0)."),
        ("t.json", '[{"text": "one"}', "cannot be read (no comma and no end of the array follow row 0)."),
        ("t.json", '[{"text": "one"}] x', "cannot be read (text follows its array)."),
        ("t.json", '{"text": ["one"], "n": [1]}\n{', "cannot be read (row 1 is no JSON: Expecting property name "
         "enclosed in double quotes)."),
        ("t.json", '{"n": 1}', "has no column 'text'; it has n: name one with --text_column or --text_pair_column."),
        ("t.jsonl", '{"n": 1}\n{"m": 2}\n',
         "has no column 'text'; it has n: name one with --text_column or --text_pair_column."),
        ("t.jsonl", '{"text": "one"}\n\n{"text": "half\n',
         "cannot be read (line 3 is no JSON: Invalid control character at)."),
        ("t.jsonl", '[{"text": "one"}]\n', "cannot be read (row 0 is no JSON object but of type list)."),
        ("t.txt", "", "is empty."),
        ("t.parquet", "no parquet",
         "cannot be read (Parquet magic bytes not found in footer. Either the file is corrupted or this is not a "
         "parquet file)."),
        ("t.xlsx", "x", UNKNOWN),
        ("texts", "x", UNKNOWN),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_sentence(tmp_path, name, content, message):
    assert refusal(written(tmp_path / name, content)) == message


def test_json_that_is_nested_too_deep_is_one_sentence(tmp_path):
    content = '{"text": "one", "n": ' + "[" * 100_000
    for name in ("t.json", "t.jsonl"):
        assert refusal(written(tmp_path / name, content)).startswith(
            "cannot be read (maximum recursion depth exceeded"
        )


def test_long_lists_of_columns_are_cut():
    with pytest.raises(DiffMaskError, match=r"it has 0, 1, .*, 18, 19 and 99980 more: name one"):
        check_columns("t.csv", [str(number) for number in range(100_000)], ["text"])


@pytest.mark.parametrize("name", ["t.txt", "T.TXT.gz"])
def test_lines_keep_their_number(tmp_path, name):
    path = written(tmp_path / name, "\ufeffgood film\r\n\ntext\u2028,note\r dull \n")
    assert list(rows_of(path, ["text"])) == [
        (1, ("good film",)),
        (2, ("",)),
        (3, ("text\u2028,note",)),
        (4, (" dull ",)),
    ]
    assert refusal(path, "body").startswith("has no column 'body'; it has text:")


TEXTS = ["good film", 'say \u2028 "yes" }, ] [{', "", None, "é" * 70_000, "None"]


@pytest.mark.parametrize(
    "content",
    [
        json.dumps([{"n": [number], "text": text} for number, text in enumerate(TEXTS)]),
        "\ufeff \n" + json.dumps([{"text": text} for text in TEXTS], indent=3, ensure_ascii=False) + "\r\n",
        "\n\n".join(json.dumps({"text": text, "n": 1}) for text in TEXTS),
        "".join(json.dumps({"text": text}, indent=1) for text in TEXTS),
        json.dumps({"text": TEXTS, "n": 1}),
        json.dumps({"n": {}, "text": dict(enumerate(TEXTS))}),
    ],
    ids=["array", "indented array", "lines", "sequence", "lists by column", "dicts by column"],
)  # fmt: skip
@pytest.mark.parametrize("name", ["t.json", "T.JSON.gz"])
def test_json_in_every_shape(tmp_path, name, content):
    assert list(rows_of(written(tmp_path / name, content), ["text"])) == [(k, (text,)) for k, text in enumerate(TEXTS)]


def test_json_with_one_row_and_with_columns_of_different_lengths(tmp_path):
    assert cells(written(tmp_path / "t.json", '{"text": "good film", "n": 3}')) == ["good film"]
    path = written(tmp_path / "t.json", '{"text": ["one"], "other": ["a", "b"]}')
    assert "its columns text and other have different lengths" in refusal(path, "text", "other")


@pytest.mark.parametrize("name", ["t.jsonl", "t.JSONL.GZ"])
def test_json_lines(tmp_path, name):
    lines = ['\ufeff{"text": "one"}', "", '{"other": 2}', ' {"text": "\x85\u2028", "other": NaN}\t', '{"text": "two"}']
    path = written(tmp_path / name, "\r\n".join(lines))
    assert list(rows_of(path, ["text"])) == [(0, ("one",)), (1, (None,)), (2, ("\x85\u2028",)), (3, ("two",))]
    assert [number for _, (_, number) in rows_of(path, ["text", "other"])][:2] == [None, 2]


def table(path, **columns):
    pyarrow.parquet.write_table(pa.table(columns), path, compression="none", use_dictionary=False)
    return path


def test_parquet(tmp_path):
    texts = [*WORDS, None, "é" * 1000]
    for kind in (pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())):
        path = table(tmp_path / "T.Parquet", n=range(len(texts)), text=pa.array(texts, kind))
        assert list(rows_of(path, ["text"])) == [(number, (text,)) for number, text in enumerate(texts)]
    assert cells(path, "text", "n", "text")[5] == ("0012", 5, "0012")
    assert cells(written(tmp_path / "t.parquet.gz", path.read_bytes())) == texts
    assert refusal(path, "body").startswith("has no column 'body'; it has n, text:")
    twice = pa.table([["a"], ["b"], ["c"]], names=["text", "text", "other"])
    pyarrow.parquet.write_table(twice, path)
    assert refusal(path) == "has 2 columns 'text': rename one." and cells(path, "other") == ["c"]


def test_parquet_reads_only_the_asked_columns(tmp_path):
    path = table(tmp_path / "t.parquet", text=["good", "dull"], note=["broken " * 9, "damaged"])
    place = pyarrow.parquet.read_metadata(path).row_group(0).column(1).data_page_offset
    content = bytearray(path.read_bytes())
    content[place : place + 40] = b"\xff" * 40
    path.write_bytes(content)
    assert cells(path) == ["good", "dull"]
    assert "cannot be read" in refusal(path, "note")


def test_a_parquet_file_that_repeats_a_text_takes_little_memory(tmp_path):
    pyarrow.parquet.write_table(pa.table({"text": ["x" * 100_000] * 400}), tmp_path / "t.parquet")
    before, rows = pa.total_allocated_bytes(), rows_of(tmp_path / "t.parquet", ["text"])
    assert len(next(rows)[1][0]) == 100_000
    assert pa.total_allocated_bytes() - before < 5e6, "400 texts would take 40 MB"


@pytest.mark.parametrize("name", ["t.csv", "t.json", "t.jsonl"])
def test_memory_does_not_grow_with_other_columns(tmp_path, name):
    rows = [{"text": f"film {number}", "note": "n" * 30_000} for number in range(200)]
    lines = [json.dumps(row) for row in rows]
    content = {
        ".csv": "\n".join(["text,note", *(",".join(row.values()) for row in rows)]),
        ".json": f"[{', '.join(lines)}]",
        ".jsonl": "\n".join(lines),
    }
    path = written(tmp_path / name, content[name.removeprefix("t")])
    assert path.stat().st_size > 6e6
    tracemalloc.start()
    try:
        assert cells(path) == [row["text"] for row in rows]
        assert tracemalloc.get_traced_memory()[1] < 1.5e6
    finally:
        tracemalloc.stop()


def test_what_stands_in_other_columns_does_no_harm(tmp_path):
    notes = ["", *["3"] * 50, "late text", '"[1, 2]"', "nan"]
    rows = "".join(f"good film,{note}\n" for note in notes)
    assert cells(written(tmp_path / "t.csv", f"text,note\n{rows}")) == ["good film"] * len(notes)
    mixed = [None, 3, "late", [1, {"a": 2}], {"b": None}, 1e400, True]
    lines = "\n".join(json.dumps({"text": "good film", "note": note}) for note in mixed)
    assert cells(written(tmp_path / "t.jsonl", lines)) == ["good film"] * len(mixed)


def test_pipes(tmp_path):
    with piped(b"\xef\xbb\xbfone\n\ntwo") as path:
        assert list(rows_of(path, ["text"])) == [(1, ("one",)), (2, ("",)), (3, ("two",))]
    for suffix, content in ((".csv", b"text\none\n"), (".json", b'[{"text": "one"}]'), (".jsonl", b'{"text": "one"}'),
                            (".parquet", table(tmp_path / "t.parquet", text=["one"]).read_bytes())):  # fmt: skip
        with piped(content) as path:
            assert list(rows_of(path, ["text"], suffix)) == [(0, ("one",))]


@pytest.mark.parametrize("name", ["t.json", "t.jsonl"])
def test_a_very_long_number_in_another_column_does_no_harm(tmp_path, name):
    path = tmp_path / name
    path.write_text(f'{{"text": "a warm film", "n": {"9" * 5000}}}\n{{"text": "dull", "n": 1}}\n')
    assert [cells for _, cells in rows_of(path, ["text"])] == [("a warm film",), ("dull",)]
