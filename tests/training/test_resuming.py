"""A run goes on from a checkpoint of its kind; folders are not overwritten unasked."""

import json

import pytest

from hf_diffmask import DiffMaskConfig, DiffMaskError
from hf_diffmask.errors import RETIRED
from hf_diffmask.training.resuming import check_output_dir, check_same_kind
from tests.training.helpers import arguments


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


def test_a_checkpoint_of_another_kind_of_explainer_is_refused(tmp_path):
    sizes = {"hidden_size": 8, "embedding_size": 8, "vocab_size": 60, "objective": "path"}
    saved = DiffMaskConfig(state_names=["embeddings", "block.0.input"], **sizes)
    (tmp_path / "config.json").write_text(json.dumps(saved.to_dict()))
    saved.margin = 2.0
    check_same_kind(str(tmp_path), saved)
    other = DiffMaskConfig(state_names=["embeddings", "block.1.input"], **sizes)
    with pytest.raises(DiffMaskError, match=r"run with state_names=.*block\.0.*, and this run has .*block\.1\.input"):
        check_same_kind(str(tmp_path), other)


@pytest.mark.parametrize("recipe", RETIRED)
def test_a_run_of_a_retired_recipe_does_not_go_on(checkpoint, tmp_path, recipe):
    (checkpoint / "training_args.json").write_text(json.dumps({"recipe": recipe}))
    for resume in (True, str(checkpoint)):
        with pytest.raises(DiffMaskError) as error:
            check_output_dir(arguments(tmp_path / "run"), resume)
        assert str(error.value) == (
            f"Going on from {checkpoint} needs the recipe {recipe!r}, which trains no explainers any more, only its "
            "saved explainers still load: train with --recipe ablation."
        )
    assert check_output_dir(arguments(tmp_path / "run", overwrite_output_dir=True), None) is None
    earlier = str(tmp_path / "run" / "checkpoint-2")
    assert check_output_dir(arguments(tmp_path / "run"), earlier) == earlier
    (checkpoint / "training_args.json").unlink()
    assert check_output_dir(arguments(tmp_path / "run"), True) == str(checkpoint), "of an unknown recipe"
