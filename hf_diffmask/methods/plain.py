"""The untrained explainer that methods other than DiffMask run on."""

from transformers import PreTrainedTokenizerBase

from ..explainer.from_base import named_states
from ..explainer.modeling_diffmask import DiffMaskModel


def plain_explainer(explainer: DiffMaskModel, tokenizer: PreTrainedTokenizerBase) -> DiffMaskModel:
    """
    An untrained explainer for the same base model, states and task constants; its baseline is the mask token.

    Args:
        explainer ([`DiffMaskModel`]): The trained explainer, holding its base model.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): Gives the mask token.

    Returns:
        [`DiffMaskModel`]: In eval mode, on the device of the base model. Shares the base model.

    Raises:
        DiffMaskError: If the base model cannot be loaded or does not match.
    """
    states = named_states(explainer.base, explainer.config.state_names)
    plain = DiffMaskModel.from_base_model(explainer.base, tokenizer, states).eval()
    # A number is explained in its direction from the mean, which is a constant.
    plain.set_constants(explainer.config.task_constants or {})
    return plain
