"""The service explains like the pipeline, within its limits."""

import pytest

import hf_diffmask
from hf_diffmask import DiffMaskError
from tests.helpers import TEXT

pytest.importorskip("gradio", reason="the Space needs hf-diffmask[space]")


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
    # Leave-one-out by hand: the drop in log-probability without "dull".
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
        (lambda s: s.what_if(TEXT, None), "list of the numbers"),
        (lambda s: s.what_if("dull " * 38 + "x", [1]), "41 tokens, and tokens are chosen from up to 40"),
        (lambda s: s.what_if("dull " * 30, [1], "dull " * 20), "53 tokens, and tokens are chosen from up to 40"),
        (lambda s: s.explain("\ud83d"), "half a character"),
        (lambda s: s.explain(TEXT, margin="1"), "`margin` must be a number"),
        (lambda s: s.explain(TEXT, explainer=None), "`explainer` must be a string"),
        (lambda s: s.compare(TEXT, explainer=5), "`explainer` must be a string"),
        (lambda s: s.compare("dull " * 50), "52 tokens, and methods are compared on up to 40"),
    ],
)
def test_refusals_are_sentences(service, call, says):
    with pytest.raises(DiffMaskError, match=says):
        call(service)


def test_a_file_is_read_and_explained(service, tmp_path):
    (tmp_path / "t.csv").write_text("text,other\ndull,a\nwarm,\n")
    inputs = service.read(tmp_path / "t.csv")
    assert inputs == [{"text": "dull"}, {"text": "warm"}]
    assert service.read(tmp_path / "t.csv", "text", "other") == [{"text": "dull", "text_pair": "a"}, {"text": "warm"}]
    results = list(service.batch(inputs * 15))
    assert len(results) == 30 and results[2]["score"] == pytest.approx(results[0]["score"], abs=1e-5)


@pytest.mark.parametrize(
    "content, says",
    [
        ('text\nx\n""\n', "Row 2: There is no text"),
        ("text\n" + "x" * 301, "Row 1: The text has 301 characters, and the limit is 300"),
        ("text\n" + "x\n" * 21, "more rows than the limit of 20"),
    ],
)
def test_files_that_are_refused(service, tmp_path, content, says):
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(DiffMaskError, match=says):
        service.read(tmp_path / "t.csv")


def test_reading_counts_towards_the_time_limit(service):
    inputs = [{"text": "dull"}] * 17
    assert len(list(service.batch(inputs, seconds=30.0))) == 17
    with pytest.raises(DiffMaskError, match="longer than the limit of 60 seconds"):
        next(service.batch(inputs, seconds=60.0))


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
