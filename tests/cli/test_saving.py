"""A run that cannot write its folder ends in one sentence and leaves no half file."""

import errno
import os

import pytest

import hf_diffmask
from hf_diffmask import DiffMaskError
from hf_diffmask.cli.saving import saving
from tests.data.test_writing import full_disk
from tests.helpers import refused


def run_of(data, folder, *more):
    return ["train", "--base_model", hf_diffmask.BUNDLED_CLASSIFIER, "--dataset", str(data), "--output_dir",
            str(folder), "--recipe", "paper", "--baseline_steps", "1", "--max_steps", "1", "--warmup_steps", "0",
            "--use_cpu", "--per_device_train_batch_size", "8", "--disable_tqdm", "True", "--report_to", "none",
            *more]  # fmt: skip


ROOM = "make room on its disk, or name another place"


def files_of(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("size", [300_000, 400_000])
def test_a_full_disk_while_a_checkpoint_is_saved(capsys, data, tmp_path, size):
    """The lower limit cuts the tokenizer's file (339 kB), the other one the optimiser's (438 kB)."""
    out = tmp_path / "out"
    with full_disk(size):
        said = refused(capsys, run_of(data, out, "--save_steps", "1", "--eval_steps", "1"))
    assert said.startswith(f"hf-diffmask: {out} cannot be written (") and said.endswith(f"): {ROOM}.")
    assert not out.exists()


def test_a_full_disk_while_the_explainer_is_saved(capsys, data, tmp_path):
    out = tmp_path / "out"
    with full_disk(300_000):
        refused(capsys, run_of(data, out, "--save_strategy", "no", "--load_best_model_at_end", "False"), ROOM)
    assert files_of(out) == ["config.json", "model.safetensors", "tokenizer_config.json"]


def test_a_folder_that_cannot_be_written_is_refused_before_training(capsys, data, tmp_path, monkeypatch):
    # The administrator may write everything, so the system's answer is a stand-in here.
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    monkeypatch.setattr("hf_diffmask.cli.train.load_base", lambda *_: pytest.fail("it went on"))
    refused(capsys, run_of(data, tmp_path / "out"), "out cannot be written (Permission denied)")
    assert not (tmp_path / "out").exists()


def half_written(folder):
    """A folder with whole files, half files and checkpoints of this run, besides what was there before."""
    for name, text in (
        ("config.json", '{"whole": 1}'), ("tokenizer.json", '{"half": '), ("old.json", '{"half as it was": '),
        ("notes.txt", "{"), ("checkpoint-1/trainer_state.json", "{}"), ("checkpoint-1/optimizer.pt", "whole"),
        ("checkpoint-2/optimizer.pt", "half"), ("checkpoint-3/trainer_state.json", "{"),
    ):  # fmt: skip
        path = folder / name
        path.parent.mkdir(exist_ok=True, parents=True)
        if name != "old.json":
            path.write_text(text)


def test_half_files_go_and_whole_ones_stay(tmp_path):
    for name, text in (("old.json", '{"half as it was": '), ("checkpoint-0/optimizer.pt", "as it was")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with pytest.raises(DiffMaskError) as error, saving(tmp_path, "then go on"):
        half_written(tmp_path)
        raise OSError(errno.ENOSPC, "full")
    assert str(error.value) == f"{tmp_path} cannot be written (No space left on device): {ROOM}; then go on."
    assert files_of(tmp_path) == [
        "checkpoint-0/optimizer.pt", "checkpoint-1/optimizer.pt", "checkpoint-1/trainer_state.json", "config.json",
        "notes.txt", "old.json",
    ]  # fmt: skip


def test_a_folder_with_nothing_whole_is_not_left(tmp_path):
    out = tmp_path / "out"
    with pytest.raises(DiffMaskError, match=r"name another place\.$"), saving(out, "then go on"):
        (out / "checkpoint-2").mkdir(parents=True)
        (out / "checkpoint-2" / "optimizer.pt").write_text("half")
        raise OSError(errno.ENOSPC, "full")
    assert not out.exists()


@pytest.mark.parametrize(
    "error", [ValueError("a bug"), KeyboardInterrupt(), BrokenPipeError(errno.EPIPE, "gone"), DiffMaskError("Mine.")]
)
def test_other_errors_are_none_of_its_business(tmp_path, error):
    with pytest.raises(type(error)) as raised, saving(tmp_path):
        half_written(tmp_path)
        raise error
    assert raised.value is error and "tokenizer.json" in files_of(tmp_path)
