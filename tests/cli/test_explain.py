"""`hf-diffmask explain` as a user runs it: output, files and refusals."""

import io
import json
import os
import re
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import hf_diffmask
from hf_diffmask_entry import main
from tests.helpers import ROOT, refused

BASE = hf_diffmask.BUNDLED_CLASSIFIER


@pytest.fixture
def explainer_folder(explainer, tokenizer, tmp_path):
    explainer.save_pretrained(tmp_path / "explainer")
    tokenizer.save_pretrained(tmp_path / "explainer")
    return str(tmp_path / "explainer")


def test_explain_formats_files_and_stdin(capsys, explainer_folder, data, tmp_path, monkeypatch):
    arguments = ["explain", "--model", explainer_folder]
    assert main([*arguments, "a warm <b>film</b>"]) == 0
    assert "nats" in capsys.readouterr().out
    page = tmp_path / "page.html"
    assert main([*arguments, "--file", str(data), "--format", "html", "--output", str(page)]) == 0
    assert page.read_text().count("<section>") == 60
    lines = tmp_path / "lines.txt"
    lines.write_text("a warm film\n\nnot bad\n")
    assert main([*arguments, "--file", str(lines), "--format", "json", "--aggregation", "word", "--no_verify"]) == 0
    results = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [result["line"] for result in results] == [1, 3] and "divergence" not in results[0]
    assert main([*arguments, "--file", str(lines), "--no_verify"]) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("line ")] == ["line 1", "line 3"]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("\n a dull café\n".encode())))
    assert main([*arguments, "--format", "json", "--state", "0"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["state"], result["line"]) == ("embeddings", 2)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a dull film \xff\n")))
    refused(capsys, arguments, "Standard input cannot be read (byte 0xFF in line 1 is not UTF-8")
    monkeypatch.setattr("sys.stdin", None)
    refused(capsys, arguments, "Standard input is closed")


def test_flags_leave_texts_alone(capsys, explainer_folder):
    def explained(*arguments):
        assert main(["explain", "--model", explainer_folder, "--format", "json", *arguments]) == 0
        return [
            " ".join(token["token"] for token in json.loads(line)["tokens"] if not token["special"])
            for line in capsys.readouterr().out.splitlines()
        ]

    assert explained("--no_verify", "good film") == ["good film"]
    assert explained("true", "--no_verify", "good film", "--batch_size", "2", "no") == ["true", "good film", "no"]
    assert explained("--no_verify", "--", "-5 degrees", "--no_verify") == ["- 5 degrees", "- - no _ ve ##ri ##fy"]
    for text in ("-5 degrees", "-hello", "--modern times", "-"):
        refused(capsys, ["explain", "--model", explainer_folder, text], repr(text), "write -- before it")


@pytest.mark.parametrize(
    "margin, asked, state, mark, opens",
    [
        (50.0, [], "holds", "[+]", "Holds"),
        (1e-7, [], "does not hold", "[!]", "Does not hold. Dropping "),
        (0.1, ["--no_verify"], "not checked", "[?]", "Not checked. The mask drops "),
    ],
)
def test_every_format_says_whether_the_check_holds(capsys, explainer_folder, margin, asked, state, mark, opens):
    config = Path(explainer_folder) / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "margin": margin}))
    arguments = ["explain", "the plot is dull and the cast is warm", "--model", explainer_folder, *asked, "--format"]
    shown = {}
    for format in ("text", "json", "html"):
        assert main([*arguments, format]) == 0
        shown[format] = capsys.readouterr().out
    result = json.loads(shown["json"])
    assert result["certificate"] == state and result["margin"] == margin
    assert result.get("within_margin") == {"holds": True, "does not hold": False}.get(state)
    if "divergence" in result:
        assert (result["divergence"] <= margin) == (state == "holds")
    assert shown["text"].splitlines()[2].startswith(f"{mark} {opens}")
    states = re.findall(r'data-state="([a-z ]+)">', shown["html"])
    assert states.count(state) == (len(result["states"]) if state == "not checked" else 1)
    assert set(states) == {state, "not checked"}, "other states were not checked"


def test_output_is_never_overwritten_unasked(capsys, explainer_folder, tmp_path):
    target = tmp_path / "precious.json"
    target.write_text("mine")
    arguments = ["explain", "--model", explainer_folder, "--output", str(target), "--format", "json", "a film"]
    refused(capsys, arguments, "exists", "--overwrite")
    assert target.read_text() == "mine"
    assert main([*arguments, "--overwrite"]) == 0 and "tokens" in target.read_text()
    # A failure half-way leaves the old file unchanged.
    bad = ["explain", "--model", explainer_folder, "--output", str(target), "--format", "json", "fine", "\u200b"]
    kept = target.read_text()
    refused(capsys, [*bad, "--overwrite"], "holds no token")
    assert target.read_text() == kept


def test_bad_explain_input_is_one_sentence(capsys, explainer_folder, tmp_path, monkeypatch):
    refused(capsys, ["explain", "--model", explainer_folder, ""], "empty")
    refused(capsys, ["explain", "--model", explainer_folder, "film", ""], "Input 1 is empty")
    numbers = tmp_path / "numbers.jsonl"
    numbers.write_text('{"text": 3}\n')
    refused(capsys, ["explain", "--file", str(numbers)], "Input 0 is no text but of type int: give a string")
    refused(capsys, ["explain", "--model", BASE, "film"], "not an explainer")
    refused(
        capsys, ["explain", "--model", str(tmp_path / "nothing"), "film"], "cannot be loaded", "no folder of this name"
    )
    refused(capsys, ["explain", "--model", explainer_folder, "--state", "block.77", "film"], "There is no state")
    refused(capsys, ["explain", "--model", explainer_folder, "--file", str(tmp_path / "gone.txt")], "no file")
    config = Path(explainer_folder) / "config.json"
    values = json.loads(config.read_text())
    config.write_text(json.dumps({**values, "base_model_name_or_path": "./gone"}))
    refused(capsys, ["explain", "--model", explainer_folder, "film"], "base model", "cannot be loaded")
    config.write_text(json.dumps({**values, "base_model_fingerprint": "0" * 16}))
    refused(capsys, ["explain", "--model", explainer_folder, "film"], "weights fingerprint")
    config.write_text(json.dumps({**values, "margin": -1.0}))
    refused(capsys, ["explain", "--model", explainer_folder, "film"], "margin")


def test_a_truncated_file_of_weights_is_one_sentence(capsys, explainer_folder):
    weights = Path(explainer_folder) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    refused(
        capsys, ["explain", "--model", explainer_folder, "film"], "The weights of", "are damaged (model.safetensors: "
    )


def test_rows_without_text_are_refused_when_explaining(capsys, explainer_folder, tmp_path):
    path = tmp_path / "texts.csv"
    path.write_text("text,other\na film,1\n  ,2\n")
    refused(capsys, ["explain", "--model", explainer_folder, "--file", str(path)], "Input 1 is")
    refused(capsys, ["explain", "--model", explainer_folder, "--output", str(tmp_path / "no" / "x"), "film"], "folder")


def test_refusals_leave_no_traceback_in_a_real_process(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "hf_diffmask.cli", "explain", "--file", str(tmp_path / "gone.txt")],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2 and "Traceback" not in done.stderr and "There is no file" in done.stderr


def test_output_goes_where_it_is_named(capfd, tmp_path):
    """A link stays a link, a pipe and stdout take lines, and others may read a new file."""
    arguments = ["explain", "--format", "json", "a film", "--output"]
    (tmp_path / "link").symlink_to("target")
    assert main([*arguments, str(tmp_path / "link")]) == 0
    assert (tmp_path / "link").is_symlink() and json.loads((tmp_path / "target").read_text())["task"]
    before = os.umask(0)
    os.umask(before)
    assert stat.S_IMODE((tmp_path / "target").stat().st_mode) == 0o666 & ~before
    os.mkfifo(tmp_path / "pipe")
    read = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_text()))
    reader.start()
    assert main([*arguments, str(tmp_path / "pipe")]) == 0
    reader.join()
    capfd.readouterr()
    assert main([*arguments, "/dev/stdout"]) == 0
    assert read[0] == capfd.readouterr().out == (tmp_path / "target").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "pipe", "target"]
    assert main([*arguments, "/dev/full"]) == 2
    said = capfd.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("hf-diffmask: /dev/full cannot be written (No space left on device)")


def test_a_state_that_looks_almost_like_a_number_is_one_sentence(capsys):
    for state in ("--2", "\u00b2", "1_0"):
        refused(capsys, ["explain", f"--state={state}", "a film"], "There is no state")
