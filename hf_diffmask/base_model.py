"""Any model's hidden states: name, record, replace.

The base model is a guest. Nothing here changes its weights, its training mode, its dtype or its device.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from .errors import DiffMaskError


def find_blocks(model: PreTrainedModel) -> nn.ModuleList:
    """
    Finds the list of blocks: the longest outermost `nn.ModuleList` whose members are of one class.

    Args:
        model ([`~transformers.PreTrainedModel`]): The base model.

    Returns:
        `nn.ModuleList`: Its `L` blocks, first to last.

    Raises:
        DiffMaskError: If the model has an encoder and a decoder, or no list of blocks.
    """
    if getattr(model.config, "is_encoder_decoder", False):
        raise DiffMaskError(
            f"{type(model).__name__} has an encoder and a decoder: only models with one stack of blocks are supported."
        )
    lists = {name: module for name, module in model.named_modules() if isinstance(module, nn.ModuleList)}
    outermost = [
        module
        for name, module in lists.items()
        if not any(name.startswith(f"{other}.") for other in lists) and len({type(block) for block in module}) == 1
    ]
    if not outermost:
        raise DiffMaskError(f"{type(model).__name__} has no list of blocks, so it has no hidden states to read.")
    return max(outermost, key=len)


def state_names(model: PreTrainedModel) -> list[str]:
    """
    Names of the `L + 2` states of a model, in the order of [`record`].

    Args:
        model ([`~transformers.PreTrainedModel`]): The base model, with `L` blocks.

    Returns:
        `list[str]`: `embeddings`, the input of each block, and the output of the last one.
    """
    count = len(find_blocks(model))
    return ["embeddings", *(f"block.{k}.input" for k in range(count)), f"block.{count - 1}.output"]


@contextmanager
def as_guest(model: PreTrainedModel) -> Iterator[None]:
    """Runs a model in eval mode and without gradients for its weights, then leaves it as it was found."""
    training = [module for module in model.modules() if module.training]
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for module in training:
        module.training = False
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for module in training:
            module.training = True
        for parameter in trainable:
            parameter.requires_grad_(True)


def _hidden(output: Any) -> Tensor:
    return output if isinstance(output, Tensor) else output[0]


def record(model: PreTrainedModel, features: dict[str, Tensor]) -> tuple[Any, list[Tensor]]:
    """
    Runs the base model once and records its states on the way.

    Args:
        model ([`~transformers.PreTrainedModel`]): The base model.
        features (`dict[str, torch.Tensor]`): What its `forward` takes: `input_ids`, `attention_mask`, ... `(B, T)`.

    Returns:
        `tuple`: The model's own output, and `L + 2` states, each `(B, T, d_s)`: the output of the token-embedding
        table, the input of each block, the output of the last block (paper, section 3.1).

    Raises:
        DiffMaskError: If a forward pass does not run every block once, so that the states cannot be told apart.
    """
    blocks = find_blocks(model)
    states: list[Tensor] = []

    def keep_input(module: nn.Module, args: tuple, kwargs: dict) -> None:
        states.append(args[0] if args else kwargs["hidden_states"])

    handles = [model.get_input_embeddings().register_forward_hook(lambda module, args, output: states.append(output))]
    handles += [block.register_forward_pre_hook(keep_input, with_kwargs=True) for block in blocks]
    handles.append(blocks[-1].register_forward_hook(lambda module, args, output: states.append(_hidden(output))))
    try:
        with as_guest(model):
            output = model(**features)
    finally:
        for handle in handles:
            handle.remove()
    if len(states) != len(blocks) + 2:
        raise DiffMaskError(
            f"{type(model).__name__} ran its {len(blocks)} blocks and its embeddings {len(states) - 1} times in one "
            "forward pass instead of once each: such a model is not supported."
        )
    return output, states


def replace(model: PreTrainedModel, features: dict[str, Tensor], change: Callable[[Tensor], Tensor]) -> Any:
    """
    Runs the base model with the output of its token-embedding table changed.

    Args:
        model ([`~transformers.PreTrainedModel`]): The base model.
        features (`dict[str, torch.Tensor]`): What its `forward` takes.
        change (`Callable[[torch.Tensor], torch.Tensor]`):
            Maps state 0, `(B, T, d)`, to what the model shall see instead; the result is cast back to its dtype.

    Returns:
        The model's own output.
    """
    handle = model.get_input_embeddings().register_forward_hook(
        lambda module, args, output: change(output).to(output.dtype)
    )
    try:
        with as_guest(model):
            return model(**features)
    finally:
        handle.remove()


def fingerprint(model: PreTrainedModel, dtype: torch.dtype) -> str:
    """
    Hash of the names, shapes and fixed slices of a model's tensors.

    At most 16 evenly spaced values of each tensor are read, rounded to `dtype`, so that a model has the same
    fingerprint in that precision and in any higher one, and the cost is a few milliseconds.

    Args:
        model ([`~transformers.PreTrainedModel`]): The base model.
        dtype (`torch.dtype`): The precision to compare in.

    Returns:
        `str`: 16 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        values = tensor.detach().reshape(-1)
        picked = values[:: max(1, values.numel() // 16)][:16]
        digest.update(picked.to(dtype).to(torch.float64).cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
