"""XLM and FlauBERT: a block is a member of each of four lists."""

from torch import nn
from transformers import PreTrainedModel

from ...errors import DiffMaskError


def outputs(model: PreTrainedModel) -> list[nn.Module]:
    """
    The modules whose outputs are the states: the normalisation after each feed-forward layer ends a block.

    Args:
        model ([`~transformers.PreTrainedModel`]): The base model.

    Returns:
        `list[torch.nn.Module]`: See [`~hf_diffmask.base.families.registry.block_outputs`].

    Raises:
        DiffMaskError: If the model normalises before its layers: then no module gives the sum that a block ends with.
    """
    body = model.base_model
    if getattr(body, "pre_norm", False):
        raise DiffMaskError(
            f"{type(model).__name__} normalises before its layers (`pre_norm`), so no module gives the output of a "
            "block: this model is not supported."
        )
    return [body.layer_norm_emb, *body.layer_norm2]
