"""Vectors of the state `embeddings`, as the embedding table gives them: some tables scale their rows."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from .frozen import as_guest
from .states import embedding_tables

ROWS = 4096  # embedded at once


def token_embeddings(model: PreTrainedModel, tokens: Sequence[int]) -> Tensor:
    """
    The state `embeddings` of some tokens. Gemma's table multiplies its rows by the square root of their width.

    Args:
        model ([`~transformers.PreTrainedModel`]): The base model.
        tokens (`Sequence[int]`): `N` token ids.

    Returns:
        `torch.Tensor` of shape `(N, d)`: In the dtype of the table, without gradients.
    """
    return _embedded(model, torch.tensor(list(tokens), device=model.device))


def mean_embedding(model: PreTrainedModel) -> Tensor:
    """
    The mean of the state `embeddings` over all tokens of the vocabulary.

    Args:
        model ([`~transformers.PreTrainedModel`]): The base model.

    Returns:
        `torch.Tensor` of shape `(d,)`: In `float32`.
    """
    table = embedding_tables(model)[0]
    if type(table) is nn.Embedding:
        return table.weight.detach().float().mean(0)
    ids = torch.arange(len(table.get_parameter("weight")), device=model.device)
    return torch.stack([_embedded(model, part).float().sum(0) for part in ids.split(ROWS)]).sum(0) / len(ids)


@torch.no_grad()
def _embedded(model: PreTrainedModel, ids: Tensor) -> Tensor:
    table = embedding_tables(model)[0]
    with as_guest(table):
        found = table(ids[None])
    # I-BERT's table gives the scale of its quantised numbers as well.
    return (found if isinstance(found, Tensor) else found[0])[0].clone()
