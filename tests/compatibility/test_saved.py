"""Explainers of earlier versions load and give the same numbers; checkpoints resume, if their recipe still trains."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hf_diffmask.errors import RETIRED, DiffMaskError

from .make import SAVED, numbers, train

NUMBERS = json.loads((SAVED / "numbers.json").read_text())
EXPLAINERS = [name for name in NUMBERS if not name.startswith("run-")]
RUNS = [name for name in NUMBERS if name.startswith("run-") and name.removeprefix("run-") not in RETIRED]


@pytest.fixture(autouse=True)
def one_thread():
    """Uses one thread, as the saved numbers did: another order of sums changes the last digits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def assert_same(found, wanted, where=""):
    """
    Compares to 5e-6. Fields that a later version adds are allowed.

    The numbers are in single precision. A processor without AVX-512 gave 51 of all 10,711 another sixth digit: 2.6e-6
    at most, with the code that gave the saved numbers on another processor.
    """
    if isinstance(wanted, dict):
        assert wanted.keys() <= found.keys(), where
        for name, value in wanted.items():
            assert_same(found[name], value, f"{where}.{name}")
    elif isinstance(wanted, list):
        assert len(found) == len(wanted), where
        for number, (one, other) in enumerate(zip(found, wanted, strict=True)):
            assert_same(one, other, f"{where}[{number}]")
    elif isinstance(wanted, float):
        assert found == pytest.approx(wanted, abs=5e-6, rel=5e-6), where
    else:
        assert found == wanted, where


@pytest.mark.parametrize("name", EXPLAINERS)
def test_a_saved_explainer_says_what_it_said(name):
    recipe = name.split("-")[1]
    assert_same(numbers(SAVED / name, recipe, name.startswith("question")), NUMBERS[name], name)


@pytest.mark.parametrize("name", EXPLAINERS)
def test_a_saved_explainer_is_saved_with_the_same_weights_and_fields(name, tmp_path):
    from hf_diffmask import DiffMaskModel

    DiffMaskModel.from_pretrained(SAVED / name).save_pretrained(tmp_path)
    before, after = (load_file(folder / "model.safetensors") for folder in (SAVED / name, tmp_path))
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    fields = [json.loads((folder / "config.json").read_text()) for folder in (SAVED / name, tmp_path)]
    named = {"base_model_name_or_path", "transformers_version", "use_cache"}  # a trainer adds `use_cache`
    assert {k: v for k, v in fields[0].items() if k not in named} == {
        k: fields[1].get(k) for k in fields[0] if k not in named
    }


@pytest.mark.parametrize("name", RUNS)
def test_a_saved_checkpoint_resumes_to_the_same_weights(name, tmp_path):
    run = Path(shutil.copytree(SAVED / name, tmp_path / name))
    settings = {"save_strategy": "steps", "save_steps": 2}
    trainer = train(run, "text-classification", name.split("-")[1], "input", None, **settings)
    trainer.train(resume_from_checkpoint=str(run / "checkpoint-2"))
    assert trainer.state.global_step == 4
    end = load_file(run / "checkpoint-4" / "model.safetensors")
    assert end.keys() == NUMBERS[name].keys()
    for key, value in NUMBERS[name].items():
        torch.testing.assert_close(end[key], torch.tensor(value), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("recipe", RETIRED)
def test_a_saved_checkpoint_of_a_retired_recipe_is_refused(recipe, tmp_path):
    run = Path(shutil.copytree(SAVED / f"run-{recipe}", tmp_path / "run"))
    trainer = train(run, "text-classification", "ablation", "input", None)
    for resume in (True, str(run / "checkpoint-2")):
        with pytest.raises(DiffMaskError) as error:
            trainer.train(resume_from_checkpoint=resume)
        assert str(error.value) == (
            f"Going on from {run}/checkpoint-2 needs the recipe {recipe!r}, which trains no explainers any more, only "
            "its saved explainers still load: train with --recipe ablation."
        )
