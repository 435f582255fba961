"""`hf-diffmask ablate` makes ablations, goes on, tells the cost, and says each fault in one sentence."""

import json
import os
import re
import subprocess
import sys

import pytest

import hf_diffmask
from hf_diffmask.ablations.store import Ablations
from hf_diffmask.testbeds.grammar import sentences
from hf_diffmask_entry import main
from tests.helpers import CONTEXT, QUESTION, ROOT, refused

BASE = hf_diffmask.BUNDLED_CLASSIFIER
SHORT = ["--masks", "4", "--baseline_steps", "2", "--use_cpu", "--disable_tqdm"]


def arguments(data, folder, *more):
    return ["ablate", "--base_model", BASE, "--dataset", str(data), "--output_dir", str(folder), *SHORT, *more]


def content(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_ablations_are_made_once(capsys, data, tmp_path):
    out = tmp_path / "out"
    assert main(arguments(data, out, "--max_samples", "40")) == 0
    said = f"4 masks of 36 inputs are in {out}; left-out tokens: baseline, attention.\n"
    assert capsys.readouterr().out == said
    before = content(out)
    assert list(before) == [
        "ablations.json", "baseline.safetensors", "shard-00000.parquet",
        "validation/ablations.json", "validation/baseline.safetensors", "validation/shard-00000.parquet",
    ]  # fmt: skip
    assert len(Ablations(out / "validation")) == 4, "a tenth of the inputs"
    texts = {json.loads(line)["text"] for line in data.read_text().splitlines()}
    assert not any(text.encode() in one for text in texts for one in before.values()), "texts are not stored"
    assert main(arguments(data, out, "--max_samples", "40")) == 0 and content(out) == before
    refused(capsys, arguments(data, out), "another number of inputs (36 instead of 54) and another data set (")
    refused(capsys, arguments(data, out, "--max_samples", "40", "--seed", "1"), "another seed (42 instead of 1)")
    refused(capsys, arguments(data, out, "--max_samples", "40", "--masks", "6"), "masks (4 instead of 6)")
    assert content(out) == before


def test_a_dry_run_writes_nothing(capsys, data, tmp_path):
    assert main(arguments(data, tmp_path / "out", "--dry_run")) == 0
    said = capsys.readouterr().out
    # 54 inputs with 4 masks, 6 validation inputs with 8, and two steps of 32 inputs that take four passes each.
    assert re.fullmatch(
        r"580 forward passes of one input, about \d+\.\d minutes and \d+\.\d kB, for 4 masks of 54 inputs; nothing is "
        r"written\.\n",
        said,
    )
    assert not (tmp_path / "out").exists()


def test_questions(capsys, answerer, tokenizer, tmp_path):
    answerer.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    (tmp_path / "rows.jsonl").write_text(json.dumps({"question": QUESTION, "context": CONTEXT}) + "\n")
    given = arguments(tmp_path / "rows.jsonl", tmp_path / "out")
    given[2] = str(tmp_path / "base")
    given += ["--validation_dataset", str(tmp_path / "rows.jsonl")]
    assert main(given) == 0
    assert Ablations(tmp_path / "out").batch([0], _maskable(tokenizer))[1].shape == (1, 4, 1)


def _maskable(tokenizer):
    features = tokenizer(QUESTION, CONTEXT, return_tensors="pt", return_special_tokens_mask=True)
    return ~features["special_tokens_mask"].bool()


def test_faults_are_one_sentence(capsys, data, tmp_path):
    out = tmp_path / "out"
    for masks in ("0", "1", "3"):
        refused(capsys, arguments(data, out, "--masks", masks), f"must be even and at least 2, since a mask and its "
                f"complement are drawn together, but is {masks}.")  # fmt: skip
    refused(capsys, arguments(data, out, "--batch_size", "0"), "--batch_size must be at least 1, but is 0.")
    refused(capsys, arguments(data, out, "--baseline_steps", "-1"), "--baseline_steps must be 0 or more")
    refused(capsys, arguments(tmp_path / "gone.csv", out), "no file")
    refused(capsys, arguments(data, out, "--typo", "1"), "--typo")
    refused(capsys, arguments(data, data), f"{data} is a file: name a folder.")
    assert not out.exists()
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    for more in ([], ["--dry_run"]):
        refused(capsys, arguments(data, out, *more), f"The folder {out} holds no ablations but something else")
    assert content(out) == {"thesis.txt": b"mine"}


def test_launched_processes_share_the_work(tmp_path):
    """300 inputs are two shards, a tenth of them one more. A launched run needs no --use_cpu without a GPU."""
    data = tmp_path / "texts.jsonl"
    data.write_text("".join(json.dumps({"text": text}) + "\n" for text in sentences(300)))
    assert main(arguments(data, tmp_path / "one")) == 0
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m"]

    done = subprocess.run(
        [*launcher, "hf_diffmask.cli", *arguments(data, tmp_path / "two")],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("4 masks of 270 inputs") == 1
    assert content(tmp_path / "two") == content(tmp_path / "one")


@pytest.mark.parametrize("dtype", ["bfloat16"])
def test_lower_precision(capsys, data, tmp_path, dtype):
    assert main(arguments(data, tmp_path / "out", "--dtype", dtype)) == 0
    assert Ablations(tmp_path / "out").description.base_model_dtype == dtype


def test_training_learns_from_the_ablations_of_the_same_data(capsys, data, tmp_path):
    out, trained = tmp_path / "out", tmp_path / "trained"
    assert main(arguments(data, out)) == 0
    before = content(out)
    given = ["train", "--recipe", "ablation", "--base_model", BASE, "--dataset", str(data), "--ablations", str(out),
             "--max_steps", "4", "--use_cpu", "--report_to", "none", "--disable_tqdm", "True"]  # fmt: skip
    assert main([*given, "--output_dir", str(trained)]) == 0
    assert "| explanation |" in capsys.readouterr().out
    assert content(out) == before and not (trained / "ablations").exists()
    results = json.loads((trained / "all_results.json").read_text())
    assert {"eval_r2", "eval_embeddings_r2", "eval_explanation_r2"} <= results.keys()
    assert json.loads((trained / "config.json").read_text())["replacements"] == ["baseline", "attention"]
    minutes = json.loads((trained / "explainer_results.json").read_text())["training"]["minutes_of"]
    assert list(minutes) == ["preparation", "fit", "calibration", "report"], "the baseline is that of the ablations"
    other = [*given, "--output_dir", str(tmp_path / "other")]
    refused(capsys, [*other, "--seed", "1"], "another data set (")
    refused(capsys, [*other, "--max_samples", "30"], "another number of inputs (54 instead of 27)")
    shard = out / "shard-00000.parquet"
    shard.write_bytes(shard.read_bytes()[:-20])
    refused(capsys, other, "shard-00000.parquet")
