"""SqueezeBERT: calls `forward` of its blocks, which no hook sees."""

from torch import nn
from transformers import PreTrainedModel


def outputs(model: PreTrainedModel) -> list[nn.Module]:
    """
    The modules whose outputs are the states: the last convolution of each block.

    Args:
        model ([`~transformers.PreTrainedModel`]): The base model.

    Returns:
        `list[torch.nn.Module]`: See [`~hf_diffmask.base.families.registry.block_outputs`].
    """
    body = model.base_model
    return [body.embeddings, *(block.output for block in body.encoder.layers)]
