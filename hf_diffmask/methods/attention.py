"""Attention weights of the base model: a comparison of the paper, not a measure of the units that the output needs."""

import copy
import re

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..base.calling import call, prepared
from ..errors import DiffMaskError
from ..explainer.modeling_diffmask import DiffMaskModel
from ..tasks.heads import widen


@torch.no_grad()
def attention(explainer: DiffMaskModel, features: dict[str, Tensor], state: int = 0) -> Tensor:
    """
    Attention that each unit receives in the block that reads the state, a mean over heads and queries.

    Block `K` reads `block.K.input`; the first block reads `embeddings`. All units except padding are queries. Special
    tokens are queries as well, because a model may pool one of them. No unit is masked, so `state` can be any
    state that a block reads. In a causal model the first units receive more attention: more queries see them.

    Args:
        explainer ([`DiffMaskModel`]): Holds the base model, which runs once with eager attention.
        features (`dict[str, torch.Tensor]`): Arguments of the base model, `(B, T)` each, and `special_tokens_mask`.
        state (`int`, *optional*, defaults to 0): Number of the state.

    Returns:
        `torch.Tensor` of shape `(B, T)`: Mean attention weight, in [0, 1]; 0 at units that cannot be masked. These
        units receive the rest of the sum of 1.

    Raises:
        DiffMaskError: If the state does not exist, no block reads it, or the base model cannot return its attention.
    """
    names, model = explainer.config.state_names, explainer.base
    if not -len(names) <= state < len(names):
        raise DiffMaskError(f"There is no state {state}: the base model has {len(names)}.")
    blocks = [name for name in names if re.fullmatch(r"block\.\d+\.input", name)]
    reader = next((name for name in names[state % len(names) :] if name != "embeddings"), None)
    if reader not in blocks:
        raise DiffMaskError(
            f"No block reads the state {names[state]!r} of {type(model).__name__}, so nothing attends to it: use "
            "the embeddings or the input of a block."
        )
    block = blocks.index(reader)
    batch = explainer.batch(**features)
    real = batch.units
    eager = _returning_attention(model)
    view, inputs = prepared(eager, batch.inputs, real)
    weights = call(eager, view, inputs).get("attentions") or ()
    if len(weights) != len(blocks) or weights[block].shape[-2:] != (real.shape[1], real.shape[1]):
        raise DiffMaskError(
            f"{type(model).__name__} does not return the attention of its {len(blocks)} blocks between all units: use "
            "another method."
        )
    per_query = widen(weights[block]).mean(1)
    received = (per_query * real[..., None]).sum(1) / real.sum(-1, keepdim=True).clamp(min=1)
    return received * batch.maskable


def _returning_attention(model: PreTrainedModel) -> PreTrainedModel:
    """
    A model of the same weights that returns its attention weights, which only the eager implementation computes.

    The implementation is a field of the config that all modules share. Modules and config are copied, so that other
    threads may use the base model meanwhile. Weights are not copied.
    """
    weights = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    eager = copy.deepcopy(model, weights)
    eager.set_attn_implementation("eager")
    if eager.config._attn_implementation != "eager":
        raise DiffMaskError(
            f"{type(model).__name__} cannot return attention in its implementation "
            f'{model.config._attn_implementation!r}: load it with attn_implementation="eager".'
        )
    eager.config.output_attentions = True
    return eager
