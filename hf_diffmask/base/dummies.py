"""One input with which any base model can be tried before it sees a text."""

from torch import Tensor
from transformers import PreTrainedModel

CANNOT_RUN = (RuntimeError, IndexError, TypeError, ValueError, AttributeError, KeyError, AssertionError)
"""What models raise that cannot run on a dummy input, such as Longformer for questions, which wants separators."""


def dummy_input(model: PreTrainedModel) -> dict[str, Tensor]:
    """
    The first of a model's dummy inputs, on its device.

    Args:
        model ([`~transformers.PreTrainedModel`]): The base model.

    Returns:
        `dict[str, torch.Tensor]`: Features of one input. XLM names languages that it does not have; they are left out.
        A decoder gets no input of its own, as in use, and finds the end of a text, if the config has one.
    """
    given = {
        name: value[:1].to(model.device)
        for name, value in model.dummy_inputs.items()
        if value is not None and not name.startswith("decoder_")
    }
    end = getattr(model.config, "eos_token_id", None)
    if getattr(model.config, "is_encoder_decoder", False) and isinstance(end, int) and "input_ids" in given:
        given["input_ids"] = given["input_ids"].clone()
        given["input_ids"][:, -1] = end
    return given
