"""Replacements that an explainer saw in training, and those that it did not."""

import torch
from transformers import PreTrainedTokenizerBase

from ..ablations.running import ATTENTION
from ..base.embeddings import mean_embedding, token_embeddings
from ..explainer.modeling_diffmask import DiffMaskModel

# Replacements to measure beside a preset's, the first choice first. Training never deletes tokens.
_BESIDE = ("attention", "delete", "pad", "unk")


def seen_replacements(explainer: DiffMaskModel, tokenizer: PreTrainedTokenizerBase) -> tuple[str, ...]:
    """
    The replacements of [`~hf_diffmask.base.removal.without`] that training used.

    A learned baseline is none of them. A baseline that was not learned is the embedding of a token or the mean
    embedding, which is then seen.

    Args:
        explainer ([`DiffMaskModel`]): With its base model.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): The base model's tokenizer.

    Returns:
        `tuple[str, ...]`
    """
    base = explainer.base
    baseline = explainer.baseline_at(0).detach().float()
    tokens = {name: getattr(tokenizer, f"{name}_token_id") for name in ("mask", "pad", "unk")}
    vectors = {name: token_embeddings(base, [token])[0].float() for name, token in tokens.items() if token is not None}
    vectors["mean"] = mean_embedding(base)
    seen = [name for name, vector in vectors.items() if torch.equal(vector, baseline)]
    return (*seen, "attention") if ATTENTION in explainer.config.replacements else tuple(seen)


def unseen_beside(explainer: DiffMaskModel, tokenizer: PreTrainedTokenizerBase, replacement: str) -> str:
    """
    An unseen replacement, to measure beside another one.

    Args:
        explainer ([`DiffMaskModel`]): With its base model.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): The base model's tokenizer.
        replacement (`str`): The other replacement.

    Returns:
        `str`: No attention to the token; if it was seen, deletion.
    """
    taken = {replacement, *seen_replacements(explainer, tokenizer)}
    return next(name for name in _BESIDE if name not in taken)
