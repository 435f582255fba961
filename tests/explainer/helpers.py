"""Helpers for explainer tests."""

import torch

from hf_diffmask.training.recipes.fast import FastObjective
from hf_diffmask.training.recipes.lagrangian import Drawn


def drawn(explainer, states, noise, checks=True, objective=FastObjective):
    """Masks of a training step for given states and noise."""
    config = explainer.config
    return Drawn(objective(config.num_states, 0.1, 0.02, config.masks_inputs), states, noise, checks)


def uniform(explainer, batch):
    """Uniform noise for [`drawn`]."""
    return torch.rand(*batch["input_ids"].shape, max(3, explainer.config.num_states))


def base_features(batch):
    return {name: value for name, value in batch.items() if name != "special_tokens_mask"}
