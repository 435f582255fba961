"""Architectures whose blocks are no modules that run alone, by the type in their config; one line each."""

from collections.abc import Callable

from torch import nn
from transformers import PreTrainedModel

from .reformer import outputs as reformer
from .squeezebert import outputs as squeezebert
from .xlm import outputs as xlm

BLOCK_OUTPUTS: dict[str, Callable[[PreTrainedModel], list[nn.Module]]] = {
    "flaubert": xlm,
    "reformer": reformer,
    "squeezebert": squeezebert,
    "xlm": xlm,
}


def block_outputs(model: PreTrainedModel) -> list[nn.Module] | None:
    """
    The modules whose outputs are the states of a model, where they are not the inputs and outputs of blocks.

    Args:
        model ([`~transformers.PreTrainedModel`]): The base model.

    Returns:
        `list[torch.nn.Module]` or `None`: `L + 1` modules: the input of each of the `L` blocks, and the output of the
        last one. `None` if the architecture is not listed.

    Raises:
        DiffMaskError: If no module has these outputs.
    """
    find = BLOCK_OUTPUTS.get(model.config.model_type)
    return None if find is None else find(model)
