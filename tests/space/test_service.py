"""The service explains as the pipeline does, within its limits."""

import json

import pandas as pd
import pytest

import hf_diffmask
from hf_diffmask import DiffMaskError
from hf_diffmask.space.service import Service, write_results
from hf_diffmask.space.settings import Settings
from tests.helpers import TEXT

pytest.importorskip("gradio", reason="the Space needs hf-diffmask[space]")


@pytest.fixture(scope="module")
def service():
    made = Service(Settings(rows=20, characters=300, upload_megabytes=0.01, tokens=40))
    yield made
    made.batcher.close()


def test_explains_masks_and_compares_as_the_pipeline_does(service):
    explain = service.shelf.get("").explain
    result = service.explain(TEXT)
    expected = explain(TEXT)
    assert result.keys() == expected.keys() and result["drop"] == pytest.approx(expected["drop"], abs=1e-6)
    assert service.explain(TEXT, margin=0.5)["kept_share"] <= result["kept_share"]
    assert service.explain(TEXT, state=0, on_violation="search")["state"] == "embeddings"
    kept = [number for number, token in enumerate(result["tokens"]) if token["kept"]]
    assert service.what_if(TEXT, kept)["drop"] == pytest.approx(result["drop"], abs=1e-6)
    methods = service.compare(TEXT)
    assert [one["passes"] for one in methods] == [1, 12, 64]
    evidence = [token["evidence"] for token in result["tokens"]]
    assert [token["score"] for token in methods[0]["tokens"]] == pytest.approx(evidence, abs=1e-5)
    # Leave-one-out by hand: how much less log-probable the class is without "dull".
    dull = [token["token"] for token in methods[1]["tokens"]].index("dull")
    assert methods[1]["tokens"][dull]["score"] == max(token["score"] for token in methods[1]["tokens"])
    assert all(one["bare_seconds"] > 0 and one["comprehensiveness"] > one["sufficiency"] for one in methods)


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda s: s.explain(" "), "There is no text"),
        (lambda s: s.explain("x" * 200, "y" * 101), "301 characters, and the limit is 300"),
        (lambda s: s.explain(5), "must be a string"),
        (lambda s: s.explain(TEXT, margin=-1.0), "must be greater than 0"),
        (lambda s: s.explain(TEXT, state="top"), "no state 'top'"),
        (lambda s: s.explain(TEXT, on_violation="<b>"), "must be one of keep"),
        (lambda s: s.explain(TEXT, explainer="org/name"), "'org/name' is not served here: choose one of bundled"),
        (lambda s: s.explain(TEXT, explainer="../../etc"), "no id of an explainer"),
        (lambda s: s.explain(TEXT, explainer=hf_diffmask.BUNDLED_CLASSIFIER), "no id of an explainer"),
        (lambda s: s.what_if(TEXT, [99]), "no token 99"),
        (lambda s: s.what_if(TEXT, ["1"]), "list of the numbers"),
        (lambda s: s.compare("dull " * 50), "52 tokens, and methods are compared on up to 40"),
    ],
)
def test_refusals_are_sentences(service, call, says):
    with pytest.raises(DiffMaskError, match=says):
        call(service)


def test_files(service, tmp_path):
    texts = ["dull", "warm , <b> & 'x'", "Å 漢 \U0001f642"]
    table = pd.DataFrame({"text": texts, "other": ["a", "b", "c"]})
    table.to_csv(tmp_path / "t.csv", index=False)
    table.to_parquet(tmp_path / "t.parquet")
    table.to_json(tmp_path / "t.jsonl", orient="records", lines=True)
    for kind in ("csv", "parquet", "jsonl"):
        assert service.read(tmp_path / f"t.{kind}") == [{"text": text} for text in texts]
        pairs = service.read(tmp_path / f"t.{kind}", "other", "text")
        assert pairs[1] == {"text": "b", "text_pair": texts[1]}
        with pytest.raises(DiffMaskError, match="no column 'body'"):
            service.read(tmp_path / f"t.{kind}", "body")
    inputs = service.read(tmp_path / "t.csv")
    results = list(service.batch(inputs * 10))
    assert len(results) == 30 and results[3]["score"] == pytest.approx(results[0]["score"], abs=1e-5)
    parquet, lines, page = write_results(results[:3], inputs, tmp_path)
    back = pd.read_parquet(parquet)
    assert back["text"].tolist() == texts and back["label"].tolist() == [result["label"] for result in results[:3]]
    assert [token["token"] for token in back["tokens"][1]] == [token["token"] for token in results[1]["tokens"]]
    assert [json.loads(line) for line in lines.read_text().splitlines()] == results[:3]
    assert "<b>" not in page.read_text()


@pytest.mark.parametrize(
    "name, content, says",
    [
        ("t.exe", b"text\nx\n", "must be one of .csv, .jsonl, .parquet"),
        ("t.csv", b"text\n" + b"x" * 20_000, "larger than the limit of 0.01 MB"),
        ("t.csv", b"text\n" + b"x\n" * 21, "more rows than the limit of 20"),
        ("t.csv", b"text\nx\n\"\"\n", "Row 2: There is no text"),
        ("t.csv", b"text\n", "no rows"),
        ("t.csv", b"text\n" + b"x" * 301, "Row 1: The text has 301 characters"),
        ("t.csv", b"\xff\xfe\x00", "cannot be read"),
        ("t.csv", b"", "cannot be read"),
        ("t.jsonl", b"{", "cannot be read"),
        ("t.parquet", b"PAR1 no", "cannot be read"),
    ],
)  # fmt: skip
def test_files_that_are_refused(service, tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DiffMaskError, match=says):
        service.read(tmp_path / name)


def test_a_tokenizer_without_padding(service, monkeypatch):
    held = service.shelf.get("")
    sizes = []
    explain = type(held.explain).__call__
    monkeypatch.setattr(
        type(held.explain), "__call__", lambda *args, **kw: sizes.append(kw["batch_size"]) or explain(*args, **kw)
    )
    inputs = [{"text": "dull"}, {"text": "a warm film"}]
    expected = list(service.batch(inputs))
    token = held.explain.tokenizer.pad_token
    held.explain.tokenizer.pad_token = None
    try:
        alone = list(service.batch(inputs))
    finally:
        held.explain.tokenizer.pad_token = token
    assert sizes == [2, 1] and [one["score"] for one in alone] == pytest.approx([one["score"] for one in expected])
