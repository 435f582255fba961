"""A checkpoint holds objective and settings; folders are not overwritten without the setting."""

import json

import pytest
import torch

from hf_diffmask import DiffMaskConfig, DiffMaskError, DiffMaskTrainingArguments
from hf_diffmask.training.checkpoints import check_output_dir, load_objective, save_beside
from hf_diffmask.training.recipes.fast import FastObjective
from hf_diffmask.training.recipes.paper import PaperObjective
from hf_diffmask.training.recipes.path import PathObjective


def arguments(folder, **settings):
    return DiffMaskTrainingArguments(output_dir=str(folder), use_cpu=True, **settings)


@pytest.fixture
def checkpoint(tmp_path):
    """The newer of two checkpoints of a run in `run`."""
    for number in (2, 10):
        folder = tmp_path / "run" / f"checkpoint-{number}"
        folder.mkdir(parents=True)
        save_beside(str(folder), PathObjective(3), arguments(tmp_path / "run"), DiffMaskConfig())
    return folder


@pytest.mark.parametrize(
    "make",
    [lambda: FastObjective(3, 0.1, 0.02), lambda: PaperObjective(3, 0.1, 0.3), lambda: PathObjective(3)],
    ids=["fast", "paper", "path"],
)
def test_objective_and_settings_round_trip(tmp_path, make):
    objective, again = make(), make()
    for number, value in enumerate(objective.state_dict().values()):
        value.copy_(torch.full_like(value, number + 1))
    args = arguments(tmp_path, recipe="fast", margin=0.25)
    save_beside(str(tmp_path), objective, args, DiffMaskConfig(masking="hidden"))
    load_objective(str(tmp_path), again, "cpu")
    assert again.state_dict().keys() == objective.state_dict().keys()
    for name, value in objective.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    settings = json.loads((tmp_path / "training_args.json").read_text())
    assert (settings["recipe"], settings["margin"], settings["masking"]) == ("fast", 0.25, "hidden")
    assert str(tmp_path) not in json.dumps(settings)


def test_a_folder_that_is_new_or_empty_or_may_be_written_into(tmp_path):
    assert check_output_dir(arguments(tmp_path / "new"), None) is None
    (tmp_path / "empty").mkdir()
    assert check_output_dir(arguments(tmp_path / "empty"), False) is None
    (tmp_path / "empty" / "thesis.txt").write_text("mine")
    assert check_output_dir(arguments(tmp_path / "empty", overwrite_output_dir=True), None) is None


def test_what_is_resumed_from(checkpoint, tmp_path):
    run = arguments(tmp_path / "run")
    assert check_output_dir(run, True) == check_output_dir(run, "True") == str(checkpoint), "10 is after 2"
    earlier = str(tmp_path / "run" / "checkpoint-2")
    assert check_output_dir(run, earlier) == earlier
    (tmp_path / "link").symlink_to(tmp_path / "run")
    assert check_output_dir(run, str(tmp_path / "link" / "checkpoint-2")) == str(tmp_path / "link" / "checkpoint-2")
    assert check_output_dir(arguments(tmp_path / "other"), earlier) == earlier
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    assert check_output_dir(arguments(tmp_path / "other", overwrite_output_dir=True), earlier) == earlier
    with pytest.raises(DiffMaskError, match="is not empty"):
        check_output_dir(arguments(tmp_path / "other"), earlier)


def test_what_is_refused(checkpoint, tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "empty").mkdir()
    for folder, resume, message in (
        ("file", None, f"{tmp_path}/file is a file: name a folder with --output_dir."),
        ("empty", True, f"The folder {tmp_path}/empty holds no checkpoint to resume from."),
        ("none", "true", f"The folder {tmp_path}/none holds no checkpoint to resume from."),
        ("run", "nowhere", "nowhere is no checkpoint: name a folder checkpoint-N of a run."),
        ("run", f"{tmp_path}/run", f"{tmp_path}/run is no checkpoint: name a folder checkpoint-N of a run."),
        ("run", None, f"The folder {tmp_path}/run is not empty: name another with --output_dir, write into it with "
         "--overwrite_output_dir, or go on with --resume_from_checkpoint True."),
    ):  # fmt: skip
        with pytest.raises(DiffMaskError) as error:
            check_output_dir(arguments(tmp_path / folder), resume)
        assert str(error.value) == message
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["checkpoint-10", "checkpoint-2"]
