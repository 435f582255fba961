"""The command line as a user runs it: what it prints, writes and refuses."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import hf_diffmask
from hf_diffmask.cli import main
from hf_diffmask.demo import sentences

ROOT = Path(__file__).parent.parent
BASE = hf_diffmask.BUNDLED_CLASSIFIER
SHORT = ["--max_steps", "4", "--per_device_train_batch_size", "8", "--use_cpu", "--warmup_steps", "0"]


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in sentences(60)))
    return path


@pytest.fixture
def explainer_folder(explainer, tokenizer, tmp_path):
    explainer.save_pretrained(tmp_path / "explainer")
    tokenizer.save_pretrained(tmp_path / "explainer")
    return str(tmp_path / "explainer")


def refused(capsys, arguments, *parts):
    """Runs a command that must end with status 2 and one sentence, without a traceback."""
    assert main(arguments) == 2
    captured = capsys.readouterr()
    message = captured.err.strip().splitlines()[-1]
    assert message.startswith("hf-diffmask: ") and "Traceback" not in captured.err
    for part in parts:
        assert part in message
    return message


def test_train_then_explain(capsys, data, tmp_path):
    out = str(tmp_path / "out")
    assert main(["train", "--base_model", BASE, "--dataset", str(data), "--output_dir", out, *SHORT]) == 0
    printed = capsys.readouterr().out
    assert "| state | kept | divergence | same prediction | within margin |" in printed
    assert all(f"| {name} |" in printed for name in ("embeddings", "block.0.input"))
    saved = json.loads((tmp_path / "out" / "eval_results.json").read_text())
    assert saved["eval_kept_share"] >= 0
    assert main(["explain", "--model", out, "--format", "json", "a warm film", "dull !"]) == 0
    results = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(results) == 2 and [token["token"] for token in results[0]["tokens"]][1:-1] == ["a", "warm", "film"]


def test_train_on_pairs(capsys, tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("premise,hypothesis\n" + "a warm film,it is good\na dull plot,it is bad\n" * 10)
    arguments = ["train", "--base_model", BASE, "--dataset", str(path), "--text_column", "premise",
                 "--text_pair_column", "hypothesis", "--output_dir", str(tmp_path / "out"), *SHORT]  # fmt: skip
    assert main(arguments) == 0


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
    assert len(results) == 2 and "divergence" not in results[0]
    import io

    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a dull film \xff\n")))
    assert main([*arguments, "--format", "json", "--state", "0"]) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "embeddings"


def test_output_is_never_overwritten_unasked(capsys, explainer_folder, tmp_path):
    target = tmp_path / "precious.json"
    target.write_text("mine")
    arguments = ["explain", "--model", explainer_folder, "--output", str(target), "--format", "json", "a film"]
    refused(capsys, arguments, "exists", "--overwrite")
    assert target.read_text() == "mine"
    assert main([*arguments, "--overwrite"]) == 0 and "tokens" in target.read_text()
    # A failure half-way leaves what was there.
    bad = ["explain", "--model", explainer_folder, "--output", str(target), "--format", "json", "fine", "\u200b"]
    kept = target.read_text()
    refused(capsys, [*bad, "--overwrite"], "holds no token")
    assert target.read_text() == kept


def test_bad_training_input_is_one_sentence(capsys, data, tmp_path):
    def arguments(**changes):
        values = {"base_model": BASE, "dataset": str(data), "output_dir": str(tmp_path / "out"), **changes}
        return ["train", *(part for name, value in values.items() for part in (f"--{name}", value)), *SHORT]

    refused(capsys, arguments(text_column="body"), "no column 'body'", "text")
    refused(capsys, arguments(dataset=str(tmp_path / "gone.csv")), "no file")
    empty = tmp_path / "empty.csv"
    empty.write_text("text\n")
    refused(capsys, arguments(dataset=str(empty)), "empty.csv")
    refused(capsys, arguments(margin="0"), "margin must be greater than 0")
    refused(capsys, arguments(recipe="slow"), "recipe", "fast, paper")
    refused(capsys, arguments(typo="1"), "options", "--typo")
    refused(capsys, arguments(lr_scheduler_type="bumpy"), "options cannot be used", "bumpy")
    refused(capsys, arguments(resume_from_checkpoint=str(tmp_path)), "is no checkpoint")
    refused(capsys, arguments(base_model=str(tmp_path / "nothing")), "cannot be loaded")
    folder = tmp_path / "full"
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine")
    refused(capsys, arguments(output_dir=str(folder)), "not empty", "--overwrite_output_dir")
    assert (folder / "thesis.txt").read_text() == "mine"
    assert main([*arguments(output_dir=str(folder)), "--overwrite_output_dir"]) == 0
    assert (folder / "thesis.txt").read_text() == "mine"
    refused(capsys, arguments(output_dir=str(data)), "is a file")


def test_bad_explain_input_is_one_sentence(capsys, explainer_folder, tmp_path, monkeypatch):
    refused(capsys, ["explain", "--model", explainer_folder, ""], "empty")
    refused(capsys, ["explain", "--model", explainer_folder, "film", ""], "Input 1 is empty")
    numbers = tmp_path / "numbers.jsonl"
    numbers.write_text('{"text": 3}\n')
    refused(capsys, ["explain", "--file", str(numbers)], "Input 0 is no text but of type int: give a string")
    refused(capsys, ["explain", "--model", BASE, "film"], "is no explainer")
    refused(capsys, ["explain", "--model", str(tmp_path / "nothing"), "film"], "cannot be loaded")
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
    refused(capsys, ["explain", "--model", explainer_folder, "film"], "cannot be loaded")


def test_a_base_without_a_trained_head_is_refused(capsys, data, classifier, tokenizer, tmp_path):
    classifier.bert.save_pretrained(tmp_path / "encoder")
    tokenizer.save_pretrained(tmp_path / "encoder")
    arguments = ["train", "--base_model", str(tmp_path / "encoder"), "--dataset", str(data), "--output_dir",
                 str(tmp_path / "out")]  # fmt: skip
    refused(capsys, arguments, "is not trained", "classifier.weight")


def test_rows_without_text_are_refused_when_explaining(capsys, explainer_folder, tmp_path):
    path = tmp_path / "texts.csv"
    path.write_text("text,other\na film,1\n  ,2\n")
    refused(capsys, ["explain", "--model", explainer_folder, "--file", str(path)], "Input 1 is")
    refused(capsys, ["explain", "--model", explainer_folder, "--output", str(tmp_path / "no" / "x"), "film"], "folder")


def test_seed_settles_a_run(data, tmp_path):
    from safetensors.torch import load_file

    for name in ("a", "b"):
        arguments = ["train", "--base_model", BASE, "--dataset", str(data), "--output_dir", str(tmp_path / name)]
        assert main([*arguments, *SHORT]) == 0
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("a", "b"))
    assert all((one[name] == other[name]).all() for name in one)


def test_help_teaches(capsys):
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert all(command in printed for command in ("train", "explain", "demo"))
    assert main([]) == 2 and main(["fly"]) == 2
    for command in ("train", "explain", "demo"):
        with pytest.raises(SystemExit) as stop:
            main([command, "--help"])
        assert stop.value.code == 0
    assert "--text_column" in capsys.readouterr().out


def test_accelerate_launch_trains(data, tmp_path):
    arguments = ["train", "--base_model", BASE, "--dataset", str(data), "--output_dir", str(tmp_path / "out"), *SHORT]
    command = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "1"]
    done = subprocess.run(
        [*command, "-m", "hf_diffmask.cli", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "| block.0.input |" in done.stdout and (tmp_path / "out" / "model.safetensors").exists()


def test_refusals_leave_no_traceback_in_a_real_process(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "hf_diffmask.cli", "explain", "--file", str(tmp_path / "gone.txt")],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2 and "Traceback" not in done.stderr and "There is no file" in done.stderr


def test_demo_runs_the_whole_way(capsys, tmp_path):
    folder = tmp_path / "demo"
    assert main(["demo", "--output_dir", str(folder), "--max_steps", "6", "--num_sentences", "60"]) == 0
    printed = capsys.readouterr().out
    assert "small\n   grammar of our own" in printed and "heatmap.html" in printed
    assert (folder / "heatmap.html").read_text().count("<section>") == 3
    refused(capsys, ["demo", "--output_dir", str(folder), "--max_steps", "6", "--num_sentences", "60"], "not empty")
