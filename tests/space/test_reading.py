"""Untrusted files are read within limits of rows, characters, columns, bytes and memory."""

import os
import tracemalloc

import pytest

pytest.importorskip("gradio", reason="the Space needs hf-diffmask[space]")
pa = pytest.importorskip("pyarrow", reason="the Space needs hf-diffmask[space]")

import pyarrow.parquet as pq  # noqa: E402

from hf_diffmask.space.reading import answer  # noqa: E402

ROWS, CHARACTERS = 20, 300


def read(path, *columns):
    """Texts of a file, or the refusal."""
    found = answer({"path": str(path), "columns": columns or ["text"], "most": ROWS, "characters": CHARACTERS})
    return found.get("rows") or found["refused"]


@pytest.mark.parametrize(
    "name, content, rows",
    [
        ("t.csv", "\ufefftext\nNone\n0012\nNA\n", [["None"], ["0012"], ["NA"]]),
        ("t.csv", 'a,text\r\n1,"x, ""y""\r\nz"\r\n\r\n2,w\r\n3\r\n', [['x, "y"\r\nz'], ["w"], [""]]),
        ("t.CSV", "text,text\na,b\n", [["a"]]),
        ("t.csv", "text\na", [["a"]]),
        ("t.jsonl", '\ufeff{"text": "a"}\r\n\n{"other": [1], "text": "b"}', [["a"], ["b"]]),
        ("t.jsonl", '{"text": "a", "n": %s}\n{}\n{"text": 5}' % ("9" * 9000), [["a"], [""], [""]]),
    ],
)
def test_cells_are_texts_as_they_stand(tmp_path, name, content, rows):
    (tmp_path / name).write_text(content, newline="", encoding="utf-8")
    assert read(tmp_path / name) == rows


# A character of a text may be written in 12, and other columns have 100,000: 103,600 for a row.
@pytest.mark.parametrize(
    "name, content, says",
    [
        ("t.csv", b"a," * 100_000 + b"text\n", "The header has more than 103,600 characters: leave out what is not"),
        ("t.csv", b"a," * 1000 + b"text\nx\n", "The file has 1,001 columns, and the limit is 1,000: leave out some."),
        ("t.csv", b"a,b\n1,2\n", "The file has no column 'text'; it has a, b."),
        ("t.csv", b"text;label\ngood;1\n", "The columns are separated by semicolons: save the file with commas."),
        ("t.csv", b'text\n"' + b"a\n" * 60_000, "Row 1 has more than 103,600 characters"),
        ("t.csv", b"text,b\nx,1\nhi, you,2\n", "Row 2 has 3 cells, and the header 2: put quotes around texts with"),
        ("t.csv", b'text\n"open\n', "The file cannot be read (unexpected end of data)."),
        ("t.csv", "text\ncafé\n".encode("latin-1"), "The file cannot be read as UTF-8 (invalid continuation byte at"),
        (
            "t.csv",
            "text\nx\n".encode("utf-16"),
            "The file cannot be read as UTF-8 (invalid start byte at byte 0):",
        ),
        ("t.csv", b"", "The file cannot be read: it is empty."),
        ("t.csv", b"text\n\n", "The file has no rows."),
        ("t.jsonl", b"", "The file has no rows."),
        ("t.jsonl", b'{"a": 1}\n{"b": 2}\n', "The file has no column 'text'; it has a."),
        ("t.jsonl", b'{"text": "x"}\n[1]\n', "Row 2 is no JSON object: write one with the columns as its keys."),
        ("t.jsonl", b'{"text": "x"}\n{"text": \n', "Row 2 cannot be read as JSON (Expecting value"),
        ("t.jsonl", b"[" * 90_000, "Row 1 cannot be read as JSON (maximum recursion depth exceeded"),
        ("t.jsonl", b'{"text": "x", "n": "' + b"y" * 110_000 + b'"}', "Row 1 has more than 103,600 characters"),
        ("t.parquet", b"PAR1 no", "The file cannot be read ("),
        ("t.parquet", b"PAR1" + b"\xff" * 3 + b"\0PAR1", "The footer of the parquet file has 16,777,215 bytes, and"),
        ("t.parquet", b"", "The file cannot be read ("),
    ],
)
def test_what_cannot_be_read_is_a_sentence(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    said = read(tmp_path / name)
    assert said.startswith(says) and said.endswith(".")


@pytest.mark.parametrize(
    "name, begin, row, end",
    [
        ("t.csv", b"text\n", b"%s\n", b"\xff\n"),
        ("t.jsonl", b"", b'{"text": "%s"}\n', b"{\xff\n"),
    ],
)
def test_reading_stops_at_the_first_text_that_is_too_long_or_row_too_many(tmp_path, name, begin, row, end):
    long = [b"x" * 300, b"x" * 301]
    (tmp_path / name).write_bytes(begin + b"".join(row % text for text in long) + b" " * 50_000 + end)
    assert read(tmp_path / name) == "Row 2: The text has 301 characters, and the limit is 300."
    (tmp_path / name).write_bytes(begin + row % b"x" * 21 + b" " * 50_000 + end)
    assert read(tmp_path / name) == "The file has more rows than the limit of 20: upload a part of it."


@pytest.mark.parametrize("name, begin", [("t.csv", b"text\n"), ("t.csv", b'text\n"'), ("t.jsonl", b'{"text": "')])
def test_a_cell_of_100_megabytes_is_not_taken_into_memory(tmp_path, name, begin):
    (tmp_path / name).write_bytes(begin)
    os.truncate(tmp_path / name, 100_000_000)  # the rest are zero characters, which take no room on the disk
    tracemalloc.start()
    said = read(tmp_path / name)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert said == "Row 1 has more than 103,600 characters: leave out what is not needed." and peak < 2e6


def written(path, names=("text",), columns=((),), **options):
    pq.write_table(pa.table([pa.array(column) for column in columns], names=list(names)), path, **options)
    return path


def blank(path, column=0):
    """Overwrites the data of a column, so that reading it fails."""
    chunk = pq.ParquetFile(path).metadata.row_group(0).column(column)
    raw = bytearray(path.read_bytes())
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    raw[start : start + chunk.total_compressed_size] = bytes(chunk.total_compressed_size)
    path.write_bytes(raw)


@pytest.mark.parametrize("options", [{"use_dictionary": False}, {}], ids=["plain", "dictionary"])
def test_what_unpacks_to_too_much_is_refused_by_the_footer(tmp_path, options):
    texts = [chr(97 + k) * 1_000_000 for k in range(20)]
    path = written(tmp_path / "t.parquet", ["text", "b"], [texts, ["x"] * 20], compression="zstd", **options)
    assert path.stat().st_size < 20_000
    blank(path)
    # 20 texts of 300 characters have at most 24,000 bytes; a million more is room for the format.
    says = "The texts unpack to 20 MB, and 20 texts of 300 characters have at most 1 MB: upload a part of them."
    assert read(path) == says
    assert read(path, "b", "text") == says and read(path, "b") == [["x"]] * 20


def test_a_long_text_that_a_dictionary_repeats_is_unpacked_once(tmp_path):
    path = written(tmp_path / "t.parquet", columns=[["x" * 900_000] * 20], compression="zstd")
    assert path.stat().st_size < 2000
    before, counting = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())
    pa.set_memory_pool(counting)
    try:
        assert read(path) == "Row 1: The text has 900,000 characters, and the limit is 300."
    finally:
        pa.set_memory_pool(before)
    assert 900_000 < counting.max_memory() < 6e6  # all rows have 18 MB


def test_only_asked_columns_are_read(tmp_path):
    names = ["text", "text.old", "n", "none"]
    path = written(tmp_path / "t.parquet", names, [["a", None], ["b", "c"], [1, 2], pa.nulls(2)])
    assert read(path, "text.old", "text") == [["b", "a"], ["c", ""]] and read(path, "text", "text")[0] == ["a", "a"]
    assert read(path, "none") == [[""], [""]]
    assert read(path, "n") == "The column 'n' holds int64, and a column of texts is needed."
    assert read(path, "m") == "The file has no column 'm'; it has text, text.old, n, none."
    blank(path, column=1)
    assert read(path, "none") == [[""], [""]] and "cannot be read" in read(path, "text.old")
    categories = written(tmp_path / "c.parquet", columns=[pa.array(["a", "b", "a"]).dictionary_encode()])
    assert read(categories) == [["a"], ["b"], ["a"]]
    # pyarrow takes `text.old` for a part of `text`, and reads both.
    wide = written(tmp_path / "w.parquet", names[:2], [["a"], ["b" * 2_000_000]])
    assert read(wide).startswith("The texts unpack to 2 MB") and read(wide, "text.old").startswith("The texts unpack")
    near = written(tmp_path / "r.parquet", ["text", "texts"], [["a"], ["b" * 2_000_000]])
    assert read(near) == [["a"]]


def test_limits_of_parquet_files(tmp_path):
    columns = [["x"]] * 1001
    wide = written(tmp_path / "w.parquet", [f"c{k}" for k in range(1000)] + ["text"], columns)
    assert read(wide) == "The file has 1,001 columns, and the limit is 1,000: leave out some."
    groups = written(tmp_path / "g.parquet", columns=[["x"] * 21], row_group_size=3)
    assert read(groups) == "The file cannot be read: it has 21 rows, and the limit is 20."
    assert read(written(tmp_path / "n.parquet", columns=[pa.array([], pa.string())])) == "The file has no rows."
    lists = written(tmp_path / "l.parquet", columns=[[["x"]]])
    assert read(lists).startswith("The column 'text' holds list<element: string>")
