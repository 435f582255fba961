"""Arranges states as `(batch, positions, features)`, in whatever order a model has them."""

from collections.abc import Iterable
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from .calling import call, prepared
from .dummies import CANNOT_RUN, dummy_input
from .taps import Taps

Order = tuple[int, int, int]
# Each is its own inverse.
ROWS_FIRST, POSITIONS_FIRST, FEATURES_FIRST = (0, 1, 2), (1, 0, 2), (0, 2, 1)

_orders: WeakKeyDictionary[nn.Module, Order] = WeakKeyDictionary()


def orders(model: PreTrainedModel, modules: Iterable[nn.Module]) -> dict[nn.Module, Order]:
    """
    The order of axes of some modules' outputs. The model runs on one dummy input, once for each module.

    Args:
        model ([`~transformers.PreTrainedModel`]): The base model.
        modules (`Iterable[torch.nn.Module]`): Modules that have a state as input or output.

    Returns:
        `dict`: `permute(*order)` arranges a state as `(batch, positions, features)`, and back. XLNet has
        `POSITIONS_FIRST`, SqueezeBERT `FEATURES_FIRST`. A module that the dummy input does not reach has `ROWS_FIRST`.
    """
    asked = list(dict.fromkeys(modules))
    if unknown := [module for module in asked if module not in _orders]:
        _orders.update(_measured(model, unknown))
    return {module: _orders[module] for module in asked}


def learn_order(module: nn.Module, state: Tensor, shape: torch.Size) -> None:
    """
    Notes that a module has rows first, if the shape of a state leaves no doubt. No run is needed then.

    Args:
        module (`torch.nn.Module`): A module that has a state as input or output.
        state (`torch.Tensor`): The state, in the model's order.
        shape (`torch.Size`): `(B, T)`.
    """
    if state.dim() == 3 and state.shape[:2] == shape and shape[1] not in (shape[0], state.shape[2]):
        _orders.setdefault(module, ROWS_FIRST)


@torch.no_grad()
def _measured(model: PreTrainedModel, modules: list[nn.Module]) -> dict[nn.Module, Order]:
    found = dict.fromkeys(modules, ROWS_FIRST)
    seen: dict[nn.Module, torch.Size] = {}

    def see(module: nn.Module, args: tuple, output: Any) -> None:
        value = output if isinstance(output, Tensor) else output[0]
        seen.setdefault(module, value.shape)

    taps = Taps()
    for module in modules:
        taps.on_output(module, partial(see, module))
    try:
        inputs = dummy_input(model)
        length = inputs["input_ids"].shape[1]
        call(model, *prepared(model, inputs, torch.ones_like(inputs["input_ids"], dtype=torch.bool)), taps)
    except CANNOT_RUN:
        return found
    for module, shape in seen.items():
        if len(shape) == 3 and shape[:2] == (length, 1) != (1, length):
            found[module] = POSITIONS_FIRST
        elif len(shape) == 3 and shape[1] != length == shape[2]:
            found[module] = FEATURES_FIRST
    return found


def arranged(state: Tensor, order: Order, length: int) -> Tensor:
    """
    A state as `(batch, positions, features)`, without positions that the model added.

    Args:
        state (`torch.Tensor`): The state, in the model's order.
        order (`tuple[int, int, int]`): Result of [`orders`].
        length (`int`): Positions `T` of the input. Longformer adds some, to fill its window.

    Returns:
        `torch.Tensor` of shape `(B, T, d)`, or the state itself if it has not three axes.
    """
    return state.permute(order)[:, :length] if state.dim() == 3 else state


def as_before(hidden: Tensor, order: Order, original: Tensor) -> Tensor:
    """
    A new state in the model's order, with the positions that the model added.

    Args:
        hidden (`torch.Tensor` of shape `(B, T, d)`): The new state.
        order (`tuple[int, int, int]`): Result of [`orders`].
        original (`torch.Tensor`): The state that it replaces, in the model's order.

    Returns:
        `torch.Tensor` of the shape of `original`.
    """
    added = original.permute(order)[:, hidden.shape[1] :] if original.dim() == 3 else hidden[:, :0]
    whole = torch.cat([hidden, added.to(hidden.dtype)], dim=1) if added.shape[1] else hidden
    return whole.permute(order) if hidden.dim() == 3 else whole
