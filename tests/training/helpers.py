"""Settings and checkpoints of runs."""

import json

import torch
from safetensors.torch import save_file

from hf_diffmask import DiffMaskConfig, DiffMaskTrainingArguments
from hf_diffmask.training.checkpoints import save_beside
from hf_diffmask.training.recipes.paper import PaperObjective


def arguments(folder, **settings):
    return DiffMaskTrainingArguments(output_dir=str(folder), use_cpu=True, **settings)


def save(folder):
    """Writes small files of the kinds that a checkpoint has."""
    folder.mkdir(parents=True)
    save_beside(str(folder), PaperObjective(3, 0.1, 0.3), arguments(folder.parent), DiffMaskConfig())
    save_file({"weight": torch.arange(9.0)}, folder / "model.safetensors")
    for name in ("config.json", "trainer_state.json"):
        (folder / name).write_text(json.dumps({"step": 2}))
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        torch.save({"state": torch.arange(5)}, folder / name)
