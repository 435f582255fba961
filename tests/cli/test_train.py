"""`hf-diffmask train` as a user runs it: output, files and refusals."""

import json
import os
import subprocess
import sys

from safetensors.torch import load_file
from transformers import BertForNextSentencePrediction

import hf_diffmask
from hf_diffmask.errors import RETIRED, retired
from hf_diffmask.testbeds.grammar import sentences
from hf_diffmask_entry import main
from tests.helpers import CONTEXT, QUESTION, READ, ROOT, base_on, command, refused

BASE = hf_diffmask.BUNDLED_CLASSIFIER
SHORT = ["--max_steps", "4", "--masks", "2", "--per_device_train_batch_size", "8", "--use_cpu", "--warmup_steps", "0"]


def test_train_then_explain(capsys, data, tmp_path):
    out = str(tmp_path / "out")
    settings = [*SHORT, "--dtype", "bfloat16"]
    assert main(["train", "--base_model", BASE, "--dataset", str(data), "--output_dir", out, *settings]) == 0
    assert json.loads((tmp_path / "out" / "config.json").read_text())["base_model_dtype"] == "bfloat16"
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
    refused(capsys, arguments(recipe="slow"), "recipe", "ablation, paper")
    for recipe in RETIRED:
        said = refused(capsys, arguments(recipe=recipe))
        assert said == f"hf-diffmask: {retired(recipe)}"
    refused(capsys, arguments(masking="hidden"), "train an explainer with hidden masking by --recipe paper")
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


def test_a_base_without_a_trained_head_is_refused(capsys, data, classifier, tokenizer, tmp_path):
    BertForNextSentencePrediction(classifier.config).save_pretrained(tmp_path / "encoder")
    tokenizer.save_pretrained(tmp_path / "encoder")
    arguments = ["train", "--base_model", str(tmp_path / "encoder"), "--dataset", str(data), "--output_dir",
                 str(tmp_path / "out")]  # fmt: skip
    refused(capsys, arguments, "is a BertForNextSentencePrediction", "no task covers")
    config = json.loads((tmp_path / "encoder" / "config.json").read_text())
    config["architectures"] = ["BertForSequenceClassification"]
    (tmp_path / "encoder" / "config.json").write_text(json.dumps(config))
    refused(capsys, arguments, "is not trained", "classifier.weight")


def test_seed_settles_a_run(data, tmp_path):

    for name in ("a", "b"):
        arguments = ["train", "--base_model", BASE, "--dataset", str(data), "--output_dir", str(tmp_path / name)]
        assert main([*arguments, *SHORT]) == 0
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("a", "b"))
    assert all((one[name] == other[name]).all() for name in one)


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


def test_train_then_explain_questions(answerer, tokenizer, tmp_path):
    answerer.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    start = CONTEXT.index("1902")
    records = [
        {"id": str(k), "question": QUESTION, "answers": [{"text": "1902", "answer_start": start + (k == 3)}]}
        for k in range(12)
    ]
    squad = {"data": [{"title": "mill", "paragraphs": [{"context": CONTEXT, "qas": records}]}]}
    (tmp_path / "squad.json").write_text(json.dumps(squad))
    records[5]["question"] = "why " * 40
    (tmp_path / "with_long.json").write_text(json.dumps(squad))

    def command(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "hf_diffmask.cli", *arguments], capture_output=True, text=True, cwd=tmp_path
        )

    done = command(
        "train", "--base_model", "base", "--dataset", "with_long.json", "--output_dir", "explainer", "--margin", "1",
        "--max_steps", "4", "--per_device_train_batch_size", "4", "--use_cpu", "--report_to", "none",
        "--masking", "hidden", "--recipe", "paper",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "1 of 12" in done.stderr, "a wrong offset is reported and counted"
    assert "1 of 10 questions leave no room" in done.stderr
    assert "masking: hidden" in (tmp_path / "explainer" / "README.md").read_text()
    done = command("explain", "--model", "explainer", "--text_pair", CONTEXT, "--format", "json", QUESTION)
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout)
    assert CONTEXT[result["start"] : result["end"]] == result["answer"]
    done = command("explain", "--model", "explainer", "--file", "squad.json", "--format", "json")
    assert done.returncode == 0, done.stderr[-2000:]
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == 11 and found[0]["answer"] == result["answer"]
    done = command("explain", "--model", "explainer", QUESTION)
    assert done.returncode == 2 and "no question with a context" in done.stderr and "Traceback" not in done.stderr


def test_who_may_not_is_told_before_training(hub, tmp_path):
    base_on(hub)
    data = tmp_path / "texts.jsonl"
    data.write_text("\n".join(json.dumps({"text": text}) for text in sentences(40)))
    train = ["train", "--base_model", "acme/base", "--dataset", data, "--output_dir", tmp_path / "out"]
    train += ["--push_to_hub", "--hub_model_id", "acme/explainer", "--report_to", "none"]
    for token in (READ, "hf_unknown_token"):
        status, said = command(hub, *train, token=token)
        assert status == 2 and "token" in said and token not in said and "Traceback" not in said
    assert not (tmp_path / "out" / "model.safetensors").exists()
    status, said = command(hub, *train, "--hub_strategy", "every_save")
    assert status == 2 and "--hub_strategy must be end or checkpoint" in said
