"""stdout may lack characters, be full, or have no reader: a command says so in one sentence, with status 2."""

import html
import io
import json
import os
import sys

import pytest

from hf_diffmask.cli.streams import fail, prepare, sentence_of
from hf_diffmask_entry import main


@pytest.fixture
def lands(folder):
    """An explainer whose classes have names that ASCII lacks."""
    config = json.loads((folder.parent / "classifier" / "config.json").read_text())
    config |= {"id2label": {"0": "schlecht ✗", "1": "für gut ✓"}, "label2id": {"schlecht ✗": 0, "für gut ✓": 1}}
    (folder.parent / "classifier" / "config.json").write_text(json.dumps(config))
    return str(folder)


def full():
    return open("/dev/full", "w")


def closed():
    """A pipe whose reader has gone."""
    reader, writer = os.pipe()
    os.close(reader)
    return os.fdopen(writer, "w")


@pytest.mark.parametrize(("stream", "why"), [(full, "No space left on device"), (closed, "Broken pipe")])
@pytest.mark.parametrize("arguments", [["explain", "--format", "json", "a film"], ["--help"], ["--version"]])
def test_what_cannot_be_printed_is_one_sentence(capsys, monkeypatch, stream, why, arguments):
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream())
        assert main(arguments) == 2
        sys.stdout.close()  # as at the end of a process: raises if anything is left
    said = capsys.readouterr().err.strip().splitlines()
    assert said[-1].startswith(f"hf-diffmask: The output cannot be written ({why}): ")
    assert "Traceback" not in "".join(said)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_any_encoding_shows_every_character(monkeypatch, lands, encoding):
    printed = {}
    for shape in ("text", "json", "html"):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
            assert main(["explain", "--model", lands, "--format", shape, "a warm and funny film"]) == 0
            printed[shape] = sys.stdout.buffer.getvalue()
    assert json.loads(printed["json"].decode(encoding))["label"] == "für gut ✓"
    # A page says that it is UTF-8, whatever stdout is.
    assert "für gut ✓" in html.unescape(printed["html"].decode("utf-8"))
    expected = {"ascii": "f\\xfcr gut \\u2713", "utf-8": "für gut ✓"}.get(encoding, "für gut \\u2713")
    assert printed["text"].decode(encoding).startswith(expected)


def test_streams_that_were_closed_before_the_start(monkeypatch):
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    assert main(["explain", "--format", "json", "a film"]) == 0
    assert main(["explain", "--state", "block.77", "a film"]) == 2


def test_a_sentence_that_cannot_be_said_ends_with_status_2_all_the_same(monkeypatch):
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, closed())
    prepare()
    print("lost")
    assert fail("It is so.") == 2
    sys.stdout.close()
    sys.stderr.close()


def test_only_what_cannot_be_written_becomes_a_sentence():
    assert sentence_of(ValueError("a bug")) is None and sentence_of(FileNotFoundError(2, "gone", "x")) is None
    assert sentence_of(OSError(28, "full", "/mnt/x")) == (
        "/mnt/x cannot be written (No space left on device): make room on its disk, or name another place."
    )
    assert sentence_of(PermissionError(13, "no")) == (
        "The output cannot be written (Permission denied): name a place where you may write."
    )
