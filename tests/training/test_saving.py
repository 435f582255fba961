"""A checkpoint is whole or not there, and the last whole one stays until the next is whole."""

import os
import shutil

import pytest
import torch

from hf_diffmask.training import saving
from hf_diffmask.training.checkpoints import damage, last_whole
from tests.helpers import make_trainer


@pytest.fixture
def make(classifier, tokenizer, tmp_path):
    def make(folder="run", **settings):
        settings = {
            "max_steps": 4, "baseline_steps": 1, "save_strategy": "steps", "save_steps": 2, "save_total_limit": 1,
            "eval_strategy": "no", "load_best_model_at_end": False, **settings,
        }  # fmt: skip
        return make_trainer(classifier, tokenizer, tmp_path / folder, "paper", **settings)

    return make


def test_a_failure_while_saving_leaves_the_last_whole_checkpoint(make, tmp_path, monkeypatch):
    run = tmp_path / "run"
    make(max_steps=2).train()
    assert os.listdir(run) == ["checkpoint-2"] and damage(str(run / "checkpoint-2")) is None
    points = [
        (saving, "save_beside"), (saving.SavingTrainer, "_save_optimizer_and_scheduler"),
        (saving.SavingTrainer, "_save_rng_state"), (os, "fsync"), (saving, "finish_checkpoint"),
    ]  # fmt: skip
    for place, name in points:
        done, seen = getattr(place, name), []

        def fail(*given, done=done, seen=seen, **more):
            seen.append(sorted(os.listdir(run)))
            done(*given, **more)
            raise OSError("no space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(place, name, fail)
            with pytest.raises(OSError, match="no space left"):
                make().train(resume_from_checkpoint=True)
        assert seen == [["checkpoint-2", "unfinished-checkpoint-4"]], "written beside, and nothing is deleted yet"
        assert damage(str(run / "checkpoint-2")) is None
        left = ["checkpoint-2", "checkpoint-4"] if name == "finish_checkpoint" else ["checkpoint-2"]
        assert sorted(os.listdir(run)) == left, "the last failure came after the checkpoint had its name"
    assert damage(str(run / "checkpoint-4")) is None


def test_the_older_checkpoint_goes_when_the_newer_is_whole(make, tmp_path, monkeypatch):
    run, rotate = tmp_path / "run", saving.rotate
    seen = []

    def rotated(*given):
        seen.append({name: damage(str(run / name)) for name in os.listdir(run) if name.startswith("checkpoint")})
        rotate(*given)

    monkeypatch.setattr(saving, "rotate", rotated)
    trainer = make()
    trainer.train()
    assert seen == [{"checkpoint-2": None}, {"checkpoint-2": None, "checkpoint-4": None}]
    assert os.listdir(run) == ["checkpoint-4"]
    names = set(os.listdir(run / "checkpoint-4"))
    assert {"optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json", "objective.safetensors"} <= names
    # A checkpoint cut off by an earlier version: the run goes on from the one before, and replaces it.
    shutil.copytree(run / "checkpoint-4", run / "checkpoint-6")
    os.truncate(run / "checkpoint-6" / "optimizer.pt", 100)
    resumed = make(max_steps=6)
    resumed.train(resume_from_checkpoint=True)
    assert seen[-1] == {"checkpoint-4": None, "checkpoint-6": None} and os.listdir(run) == ["checkpoint-6"]
    assert last_whole(resumed.args) == str(run / "checkpoint-6")


def test_the_best_checkpoint_is_kept_and_found_after_the_folder_has_moved(make, tmp_path, caplog):
    settings = {"eval_strategy": "steps", "eval_steps": 2, "load_best_model_at_end": True}

    def scored(trainer):
        def evaluate(*given, **more):
            metrics = {"eval_selection": {2: 0.1}.get(trainer.state.global_step, 0.5)}
            trainer.callback_handler.on_evaluate(trainer.args, trainer.state, trainer.control, metrics)
            return metrics

        trainer.evaluate = evaluate
        return trainer

    whole = scored(make(**settings))
    whole.train()
    run = tmp_path / "run"
    assert sorted(os.listdir(run)) == ["checkpoint-2", "checkpoint-4"], "the best, and the last for resuming"
    assert whole.state.best_model_checkpoint == str(run / "checkpoint-2")
    run.rename(tmp_path / "moved")
    trainer = scored(make("moved", **settings))
    trainer.train(resume_from_checkpoint=True)
    assert trainer.state.best_model_checkpoint == str(tmp_path / "moved" / "checkpoint-2")
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, trainer.model.state_dict()[name]), name
    os.truncate(tmp_path / "moved" / "checkpoint-2" / "model.safetensors", 100)
    trainer = scored(make("moved", **settings))
    trainer.train(resume_from_checkpoint=True)
    assert trainer.state.best_model_checkpoint is None, "damaged: the run ends with the last step's weights"


def test_a_checkpoint_is_published_when_it_is_whole(make, tmp_path, monkeypatch):
    published = []
    trainer = make(max_steps=2)
    trainer.args.push_to_hub = True
    monkeypatch.setattr(
        saving.PublishingTrainer, "_push_from_checkpoint", lambda self, folder: published.append(folder)
    )
    trainer.train()
    assert published == [str(tmp_path / "run" / "checkpoint-2")]
