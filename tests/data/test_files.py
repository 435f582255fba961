"""Files are opened as they were named; other encodings than UTF-8 are refused by name, never replaced."""

import gzip
import io
import os
import threading

import pytest

from hf_diffmask import DiffMaskError
from hf_diffmask.data.files import PIECE, is_file, lines_of, opened, pieces_of, suffix_of, unreadable
from tests.helpers import piped


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("texts.csv", ".csv"), ("TEXTS.CSV", ".csv"), ("a.b/Texts.v2.Csv.GZ", ".csv"),
        ("data[12] (x)?*.jsonl", ".jsonl"),
        ("texts.csv.bak", ".bak"), ("texts", ""), ("texts.gz", ""), ("a.csv/texts", ""),
        ("/dev/stdin", ""), ("été.tsv", ".tsv"),
    ],
)  # fmt: skip
def test_suffixes(name, suffix):
    assert suffix_of(name) == suffix


def test_what_is_a_file(tmp_path):
    (tmp_path / "texts").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "texts")
    os.mkfifo(tmp_path / "pipe")
    assert all(is_file(tmp_path / name) for name in ("texts", "link", "pipe"))
    assert not any(is_file(name) for name in (tmp_path, str(tmp_path / "absent"), "x" * 5000, "a\0b", ""))


@pytest.mark.parametrize("name", ["plain", "plain.gz", "PLAIN.GZ", "[1]*? ü.txt.gz", "packed.txt"])
def test_gzip_is_unpacked_by_name_and_by_content(tmp_path, name):
    path = tmp_path / name
    content = b"good film\n"
    path.write_bytes(content if name == "plain" else gzip.compress(content))
    with opened(path) as file:
        assert list(lines_of(file)) == ["good film\n"]


def test_damaged_gzip_is_one_sentence(tmp_path):
    packed = gzip.compress(b"good film\n" * 50)
    for content in (b"good film", packed[:-9], packed[:12] + b"\xff\xff\xff" + packed[15:], packed + b"more"):
        (tmp_path / "d.gz").write_bytes(content)
        with pytest.raises(DiffMaskError, match=r"^d\.gz cannot be read \(.+\)\.$"):
            with unreadable("d.gz cannot be read"), opened(tmp_path / "d.gz") as file:
                list(lines_of(file))


def test_lines_end_at_line_feeds_and_carriage_returns_only():
    lines = ["a\x0bb\x0cc\n", "\n", "d\x1c\x85e\r\n", "f\u2028g\u2029\r", "\r", "h"]
    file = io.BytesIO("".join(lines).encode())
    assert list(lines_of(file)) == lines
    assert not file.closed


@pytest.mark.parametrize("read", [lines_of, pieces_of])
def test_a_byte_order_mark_is_no_text(read):
    assert list(read(io.BytesIO(b"\xef\xbb\xbfgood film"))) == ["good film"]
    assert list(read(io.BytesIO(b""))) == list(read(io.BytesIO(b"\xef\xbb\xbf"))) == []


def test_pieces_are_bounded():
    text = "é" * PIECE + "\r\nend"
    pieces = list(pieces_of(io.BytesIO(text.encode())))
    assert "".join(pieces) == text and [len(piece) for piece in pieces] == [PIECE, 5]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("good film\r\n".encode("utf-16"), "it is in UTF-16: save it in UTF-8"),
        (b"\xfe\xff" + "dull".encode("utf-16-be"), "it is in UTF-16: save it in UTF-8"),
        ("good film".encode("utf-32"), "it is in UTF-32: save it in UTF-8"),
        (b"\0\0\xfe\xff" + "dull".encode("utf-32-be"), "it is in UTF-32: save it in UTF-8"),
        ("one\ngood film".encode("utf-16-le")[8:],
         "line 1 holds a NUL character: it is in UTF-16 without a byte-order mark, or no text; save it in UTF-8"),
        ("one\ncafé\n".encode("cp1252"),
         "byte 0xE9 in line 2 is not UTF-8; in Windows-1252 (cp1252) it is 'é': save the file in UTF-8"),
        (b"one\r\ntwo\r\n\x81", "byte 0x81 in line 3 is not UTF-8: save the file in UTF-8"),
        ("映画".encode()[:-1],
         "byte 0xE7 in line 1 is not UTF-8; in Windows-1252 (cp1252) it is 'ç': save the file in UTF-8"),
        (b"ok\n" * 5000 + b"\xff\xfe",
         "byte 0xFF in line 5001 is not UTF-8; in Windows-1252 (cp1252) it is 'ÿ': save the file in UTF-8"),
    ],
)  # fmt: skip
def test_other_encodings_are_refused_by_name(content, message):
    for read in (lines_of, pieces_of):
        with pytest.raises(ValueError) as error:
            list(read(io.BytesIO(content)))
        assert str(error.value) == message


def test_lines_before_a_damage_far_below_come_out():
    lines = lines_of(io.BytesIO(b"good film\n" * 100_000 + b"\xff"))
    assert next(lines) == "good film\n"


def test_pipes_are_read_once(tmp_path):
    for content in (b"good film\n", gzip.compress(b"good film\n")):
        with piped(content) as path, opened(path) as file:
            assert list(lines_of(file)) == ["good film\n"]
    named = tmp_path / "pipe.txt"
    os.mkfifo(named)
    writer = threading.Thread(target=named.write_text, args=("dull film\n",))
    writer.start()
    with opened(named) as file:
        assert list(lines_of(file)) == ["dull film\n"]
    writer.join()


def test_errors_of_reading_are_one_sentence():
    for raised in (OSError(5, "Input/output error"), ValueError("odd.\nmore"), EOFError(), RecursionError("too deep")):
        with pytest.raises(DiffMaskError, match=r"^t\.csv cannot be read \([^\n]*[^.\n]\)\.$"):
            with unreadable("t.csv cannot be read"):
                raise raised
    with pytest.raises(DiffMaskError, match=r"^There is none\.$"), unreadable("t.csv cannot be read"):
        raise DiffMaskError("There is none.")
    with pytest.raises(TypeError), unreadable("t.csv cannot be read"):
        raise TypeError("a bug stays a bug")
