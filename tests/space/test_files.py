"""Files are read within limits; attributions are written in three forms."""

import json
import subprocess
import sys

import numpy as np
import pytest

from hf_diffmask import DiffMaskError
from hf_diffmask.space.settings import Settings

pd = pytest.importorskip("pandas", reason="the Space needs hf-diffmask[space]")
pa = pytest.importorskip("pyarrow", reason="the Space needs hf-diffmask[space]")

import pyarrow.parquet as pq  # noqa: E402

from hf_diffmask.space import files, reading  # noqa: E402
from hf_diffmask.space.files import read_rows, write_results  # noqa: E402

LIMITS = Settings(rows=20, upload_megabytes=0.01)
TEXTS = ["dull", "warm , <b> & 'x'", "Å 漢 \U0001f642"]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_rows_of_each_kind(tmp_path, kind):
    table, path = pd.DataFrame({"text": TEXTS, "other": ["a", "b", "c"]}), tmp_path / f"t.{kind}"
    if kind == "csv":
        table.to_csv(path, index=False)
    elif kind == "jsonl":
        table.to_json(path, orient="records", lines=True)
    else:
        table.to_parquet(path)
    assert read_rows(path, "", "", LIMITS) == [[text] for text in TEXTS]
    assert read_rows(path, " other ", "text", LIMITS) == [["a", TEXTS[0]], ["b", TEXTS[1]], ["c", TEXTS[2]]]
    with pytest.raises(DiffMaskError, match="no column 'body'; it has text, other"):
        read_rows(path, "body", "", LIMITS)


def test_what_is_no_string_is_empty(tmp_path):
    (tmp_path / "t.jsonl").write_text('{"text": "dull"}\n{"text": null}\n{"text": 5}\n')
    assert read_rows(tmp_path / "t.jsonl", "", "", LIMITS) == [["dull"], [""], [""]]


@pytest.mark.parametrize(
    "name, content, says",
    [
        ("t.exe", b"text\nx\n", "must be one of .csv, .jsonl, .parquet, but this is 't.exe'"),
        ("t.csv", b"text\n" + b"x" * 20_000, "larger than the limit of 0.01 MB"),
        ("t.csv", b"text\n" + b"x\n" * 21, "more rows than the limit of 20"),
        ("t.csv", b"text\n", "no rows"),
        ("t.csv", b"\xff\xfe\x00", "cannot be read"),
        ("t.csv", b"", "cannot be read"),
        ("t.jsonl", b"{", "cannot be read"),
        ("t.parquet", b"PAR1 no", "cannot be read"),
    ],
)
def test_files_that_are_refused(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DiffMaskError, match=says):
        read_rows(tmp_path / name, "", "", LIMITS)


def test_a_parquet_file_with_too_many_rows(tmp_path):
    pd.DataFrame({"text": ["x"] * 21}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DiffMaskError, match="it has 21 rows, and the limit is 20"):
        read_rows(tmp_path / "t.parquet", "", "", LIMITS)


def varint(number, width=0):
    """A number as Thrift writes it, perhaps with more bytes than it needs."""
    number, found = 2 * number, []
    while number or len(found) < width or not found:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found[:-1], found[-1] & 127])


def test_a_footer_that_lies_about_its_size(tmp_path):
    size = 100_000_000
    text = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(np.array([0, size], np.int32)), pa.py_buffer(bytes(size))]
    )
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"text": text}), path, compression="zstd", write_statistics=False)
    assert path.stat().st_size < 10_000
    with pytest.raises(DiffMaskError, match="The texts unpack to 100 MB, and 20 texts of 5,000 characters have at"):
        read_rows(path, "", "", LIMITS)
    true = varint(pq.ParquetFile(path).metadata.row_group(0).column(0).total_uncompressed_size)
    path.write_bytes(path.read_bytes().replace(true, varint(1000, len(true))))
    assert pq.ParquetFile(path).metadata.row_group(0).column(0).total_uncompressed_size == 1000
    # Now only the limit on memory is left.
    with pytest.raises(DiffMaskError, match="Reading the file takes more than 300 MB of memory: upload a part of"):
        read_rows(path, "", "", LIMITS)


def test_reading_has_a_time_limit_and_can_fail_alone(tmp_path, monkeypatch):
    (tmp_path / "t.csv").write_text("text\nx\n")
    with pytest.raises(DiffMaskError, match=r"longer than the limit of 0\.0001 seconds: upload a part"):
        read_rows(tmp_path / "t.csv", "", "", Settings(seconds=0.0001))
    (tmp_path / "broken.py").write_text("import os; os.abort()")
    monkeypatch.setattr(files.reading, "__file__", str(tmp_path / "broken.py"))
    with pytest.raises(DiffMaskError, match="The file cannot be read: it is damaged, or takes too much memory"):
        read_rows(tmp_path / "t.csv", "", "", LIMITS)


def test_the_program_that_reads_imports_no_package_of_ours():
    loaded = subprocess.run(
        [sys.executable, "-P", "-X", "importtime", reading.__file__],
        input='{"path": "none.csv", "columns": ["text"], "most": 1, "characters": 1}',
        capture_output=True,
        text=True,
    )
    assert json.loads(loaded.stdout) == {
        "refused": "The file cannot be read ([Errno 2] No such file or directory: 'none.csv')."
    }
    modules = {line.split("|")[-1].strip() for line in loaded.stderr.splitlines()}
    assert "csv" in modules and not modules & {"hf_diffmask", "torch", "transformers", "gradio", "pandas", "pyarrow"}


def test_results_are_written_in_three_forms(service, tmp_path):
    inputs = [{"text": text} for text in TEXTS]
    results = list(service.batch(inputs))
    files = write_results(results, inputs, tmp_path)
    assert [path.name for path in files] == ["attributions.parquet", "attributions.jsonl", "attributions.html"]
    back = pd.read_parquet(files[0])
    assert back["text"].tolist() == TEXTS and back["label"].tolist() == [result["label"] for result in results]
    assert [token["token"] for token in back["tokens"][1]] == [token["token"] for token in results[1]["tokens"]]
    assert [json.loads(line) for line in files[1].read_text().splitlines()] == results
    assert "<b>" not in files[2].read_text() and files[2].read_text().count("<section>") == 3
