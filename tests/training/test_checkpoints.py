"""A checkpoint holds objective and settings; damaged ones are passed over."""

import json
import logging
import os
import subprocess
import sys

import pytest
import torch

from hf_diffmask import DiffMaskConfig, DiffMaskError
from hf_diffmask.training.checkpoints import (
    damage,
    finish_checkpoint,
    is_last,
    last_whole,
    load_objective,
    no_empty_folder,
    rotate,
    save_beside,
    sole_run,
)
from hf_diffmask.training.recipes.paper import PaperObjective
from hf_diffmask.training.resuming import check_output_dir
from tests.training.helpers import arguments, save


def test_objective_and_settings_round_trip(tmp_path):
    objective, again = PaperObjective(3, 0.1, 0.3), PaperObjective(3, 0.1, 0.3)
    for number, value in enumerate(objective.state_dict().values()):
        value.copy_(torch.full_like(value, number + 1))
    args = arguments(tmp_path, recipe="paper", margin=0.25)
    save_beside(str(tmp_path), objective, args, DiffMaskConfig(masking="hidden"))
    load_objective(str(tmp_path), again)
    assert again.state_dict().keys() == objective.state_dict().keys()
    for name, value in objective.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    settings = json.loads((tmp_path / "training_args.json").read_text())
    assert (settings["recipe"], settings["margin"], settings["masking"]) == ("paper", 0.25, "hidden")
    assert str(tmp_path) not in json.dumps(settings)


@pytest.mark.parametrize("cut", ["gone", "empty", "half", "last byte"])
@pytest.mark.parametrize(
    "name",
    ["model.safetensors", "objective.safetensors", "config.json", "trainer_state.json", "optimizer.pt", "scheduler.pt",
     "rng_state.pth"],
)  # fmt: skip
def test_a_damaged_checkpoint_is_passed_over(checkpoint, tmp_path, caplog, monkeypatch, name, cut):
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    assert damage(str(checkpoint)) is None
    size = (checkpoint / name).stat().st_size
    if cut == "gone":
        (checkpoint / name).unlink()
        if name == "rng_state.pth":  # training draws nothing from it
            assert damage(str(checkpoint)) is None
            return
    else:
        os.truncate(checkpoint / name, {"empty": 0, "half": size // 2, "last byte": size - 1}[cut])
    assert damage(str(checkpoint)) == name
    run, earlier = arguments(tmp_path / "run"), str(tmp_path / "run" / "checkpoint-2")
    assert check_output_dir(run, True) == earlier
    assert f"{checkpoint} is damaged ({name}): training goes on from {earlier}." in caplog.text
    if cut != "gone":
        with pytest.raises(DiffMaskError) as error:
            check_output_dir(run, str(checkpoint))
        assert str(error.value) == (
            f"{checkpoint} is damaged ({name}): name another checkpoint, or go on from the last whole one with "
            "--resume_from_checkpoint True."
        )
    os.truncate(tmp_path / "run" / "checkpoint-2" / "trainer_state.json", 3)
    with pytest.raises(
        DiffMaskError, match=r"^No checkpoint in .*run is whole: .*checkpoint-10 is damaged .* Train ag"
    ):
        check_output_dir(run, True)


def test_a_checkpoint_without_the_optimizer_is_whole_if_it_was_saved_so(checkpoint):
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        (checkpoint / name).unlink()
    assert damage(str(checkpoint)) is None
    assert damage(str(checkpoint / "gone")) == "config.json"


def test_what_a_killed_run_left_unfinished_is_no_checkpoint(checkpoint, tmp_path):
    run = tmp_path / "run"
    save(run / "unfinished-checkpoint-12" / "checkpoint-12")
    (run / "unfinished-notes.txt").write_text("mine")
    assert check_output_dir(arguments(run), True) == str(checkpoint)
    save(tmp_path / "new" / "unfinished-checkpoint-2" / "checkpoint-2")
    assert check_output_dir(arguments(tmp_path / "new"), None) is None, "as good as empty"
    with pytest.raises(DiffMaskError, match="holds no checkpoint"):
        check_output_dir(arguments(tmp_path / "new"), True)
    with sole_run(str(run)):
        assert sorted(os.listdir(run)) == ["checkpoint-10", "checkpoint-2", "unfinished-notes.txt"]


def test_two_runs_do_not_write_into_one_folder(tmp_path):
    folder = str(tmp_path / "run")
    with sole_run(folder):
        with pytest.raises(
            DiffMaskError, match=r"^Another run is writing into .*run: wait until it has ended, or name"
        ):
            with sole_run(folder):
                pass
        with sole_run(str(tmp_path / "other")):
            pass
    code = "import fcntl, os, sys; fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX); print(1, flush=True)"
    other = subprocess.Popen([sys.executable, "-c", f"{code}; input()", folder], stdin=-1, stdout=-1)
    other.stdout.readline()
    with pytest.raises(DiffMaskError, match="Another run"), sole_run(folder):
        pass
    other.kill()
    other.wait()
    with sole_run(folder):
        pass


def test_a_checkpoint_gets_its_name_when_it_is_whole(checkpoint, tmp_path):
    for number, files in ((10, {"new.json"}), (12, {"new.json"})):
        unfinished = tmp_path / "run" / f"unfinished-checkpoint-{number}" / f"checkpoint-{number}"
        unfinished.mkdir(parents=True)
        (unfinished / "new.json").write_text("{}")
        finish_checkpoint(str(unfinished), str(tmp_path / "run" / f"checkpoint-{number}"))
        assert set(os.listdir(tmp_path / "run" / f"checkpoint-{number}")) == files and not unfinished.exists()


@pytest.mark.parametrize(
    ("limit", "kept", "left"),
    [
        (None, {3}, {400, 1, 2, 3}),
        (0, {3}, {400, 1, 2, 3}),
        (4, {3}, {400, 1, 2, 3}),
        (2, {3}, {2, 3}),  # 400 is the oldest: of an earlier run
        (1, {3}, {3}),
        (1, {1, 3}, {1, 3}),
        (2, {1, 3}, {1, 3}),
        (3, {1, 3}, {1, 2, 3}),
    ],
)
def test_the_oldest_are_deleted_but_never_the_newest_or_the_best(tmp_path, limit, kept, left):
    for age, number in enumerate([400, 1, 2, 3]):
        folder = tmp_path / f"checkpoint-{number}"
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        os.utime(folder, (age, age))
    (tmp_path / "checkpoint-best").mkdir()
    rotate(str(tmp_path), limit, {str(tmp_path / f"checkpoint-{number}") for number in kept})
    assert set(os.listdir(tmp_path)) == {"checkpoint-best", *(f"checkpoint-{number}" for number in left)}


def test_no_empty_folder_stays_after_an_error(tmp_path):
    (tmp_path / "mine").mkdir()
    for path, files, left in (
        ("a/b/c", [], ["mine"]),
        ("mine", [], ["mine"]),
        ("mine/d", [], ["mine"]),
        ("e/f", ["notes"], ["e", "e/f", "e/f/notes", "mine"]),
    ):
        with pytest.raises(KeyboardInterrupt), no_empty_folder(str(tmp_path / path)):
            (tmp_path / path).mkdir(parents=True, exist_ok=True)
            for name in files:
                (tmp_path / path / name).write_text("")
            raise KeyboardInterrupt
        assert sorted(str(one.relative_to(tmp_path)) for one in tmp_path.rglob("*")) == left
    with no_empty_folder(str(tmp_path / "g")):
        (tmp_path / "g").mkdir()
    assert (tmp_path / "g").is_dir()


def test_the_last_checkpoint_is_the_one_of_the_highest_number(checkpoint, tmp_path):
    """A run that is interrupted names its checkpoint if `True` would take another run's."""
    assert is_last(str(checkpoint)) and not is_last(str(tmp_path / "run" / "checkpoint-2"))
    assert is_last(str(tmp_path / "none" / "checkpoint-2"))


@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_is_no_folder_does_not_end_a_run(tmp_path, kind):
    save(tmp_path / "run" / "checkpoint-2")
    for name in ("checkpoint-10", "checkpoint-99", "unfinished-checkpoint-3"):
        path = tmp_path / "run" / name
        path.write_text("x") if kind == "file" else path.symlink_to(tmp_path / "nowhere")
    assert last_whole(arguments(tmp_path / "run")) == str(tmp_path / "run" / "checkpoint-2")
    with sole_run(str(tmp_path / "run")):
        assert not os.path.lexists(tmp_path / "run" / "unfinished-checkpoint-3")
        made = tmp_path / "run" / "unfinished-checkpoint-10" / "checkpoint-10"
        save(made)
        finish_checkpoint(str(made), str(tmp_path / "run" / "checkpoint-10"))
        rotate(str(tmp_path / "run"), 1, {str(tmp_path / "run" / "checkpoint-10")})
    assert (tmp_path / "run" / "checkpoint-10" / "config.json").is_file()
    assert not (tmp_path / "run" / "checkpoint-2").exists()
