"""Helpers for explainer tests."""

import json

import torch
from safetensors.torch import load_file, save_file

from hf_diffmask.training.recipes.paper import Drawn


def drawn(explainer, states, noise):
    """Masks of a training step for given states and noise."""
    return Drawn(states, noise, explainer.masks.nested)


def uniform(explainer, batch):
    """Uniform noise for [`drawn`]."""
    return torch.rand(*batch["input_ids"].shape, explainer.config.num_states)


def base_features(batch):
    return {name: value for name, value in batch.items() if name != "special_tokens_mask"}


def indexed(folder, name, index="model.safetensors.index.json"):
    """Moves a folder's weights to another file, which an index names. A name that ends in `.bin` is a pickle."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    if not name.startswith("/") and name.endswith(".bin"):
        torch.save(tensors, folder / name)
    elif name.startswith((folder.parent.as_posix(), "../o")) or "/" not in name:
        save_file(tensors, folder / name, metadata={"format": "pt"})
    (folder / index).write_text(json.dumps({"metadata": {}, "weight_map": dict.fromkeys(tensors, name)}))


def changed(folder, **fields):
    """Changes fields of a folder's config."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **fields}))
