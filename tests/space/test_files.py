"""Files are read within limits; attributions are written in three forms."""

import json

import pytest

from hf_diffmask import DiffMaskError
from hf_diffmask.space.settings import Settings

pd = pytest.importorskip("pandas", reason="the Space needs hf-diffmask[space]")
pq = pytest.importorskip("pyarrow.parquet", reason="the Space needs hf-diffmask[space]")

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
