"""Tells whether a base model reads the input beside a state, so that masking the state hides nothing."""

import torch
from transformers import PreTrainedModel

from ..errors import DiffMaskError
from .dummies import CANNOT_RUN, dummy_input
from .padding import is_read
from .running import record, replace


@torch.no_grad()
def check_reads_state_only(model: PreTrainedModel, name: str) -> None:
    """
    Refuses a model whose output depends on the input when a state is given.

    The model runs three times: on a dummy input, and on two inputs with the state of the first. A model that cannot
    run on its dummy input is not refused.

    Args:
        model ([`~transformers.PreTrainedModel`]): The base model.
        name (`str`): The state.

    Raises:
        DiffMaskError: If the outputs of the two inputs differ.
    """
    given = dummy_input(model)
    try:
        # The first two tokens change places: lengths and ends stay, which models may read of the ids.
        ids = given["input_ids"]
        other = {**given, "input_ids": torch.cat([ids[:, :2].flip(1), ids[:, 2:]], dim=1)}
        _, (hidden,) = record(model, given, [name])
        outputs = [replace(model, features, name, hidden) for features in (given, other)]
    except CANNOT_RUN:
        return
    for key in filter(is_read, outputs[0]):
        one, two = (output[key] for output in outputs)
        noise = 200 * torch.finfo(one.dtype).eps * max(1.0, one.abs().max().item())
        if not torch.allclose(one, two, rtol=0, atol=noise):
            raise DiffMaskError(
                f"{type(model).__name__} reads the input beside the state {name!r}, so masking this state does not "
                "hide the input: train with input masking."
            )
