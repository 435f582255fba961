"""One forward pass of the base model: records states, or replaces one and runs the rest."""

from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..errors import DiffMaskError
from .attention_read import AttentionReader
from .calling import call, prepared
from .states import _blocks_for, _site, find_blocks
from .taps import Taps


def _hidden(output: Any) -> Tensor:
    return output if isinstance(output, Tensor) else output[0]


# Modules that `replace` can skip, filled by `record`: the length of the output tuple (hidden state, then only `None`),
# or 0 for a bare tensor. Other modules have to run.
_returned: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()


def record_once(
    model: PreTrainedModel,
    features: dict[str, Tensor],
    names: Sequence[str],
    units: Tensor,
    reader: AttentionReader | None = None,
) -> tuple[Any, list[Tensor]]:
    """
    Output and states of the base model, for a batch that runs as it is.

    Args:
        model ([`~transformers.PreTrainedModel`]): The base model.
        features (`dict[str, torch.Tensor]`): Features, `(B, T)` each.
        names (`Sequence[str]`): States to record, see [`record`].
        units (`torch.Tensor` of shape `(B, T)`, `bool`): `False` at padding.
        reader ([`AttentionReader`], *optional*): Reads attention in this pass.

    Returns:
        `tuple`: The model's output, and the states, `(B, T, d_s)` each.

    Raises:
        DiffMaskError: If a state does not exist, or a forward pass does not compute it exactly once.
    """
    found: dict[str, list[Tensor]] = {name: [] for name in names}
    blocks, taps = _blocks_for(model, names), Taps()
    view, inputs = prepared(model, features, units)

    def keep_input(name: str, args: tuple, kwargs: dict[str, Any]) -> None:
        found[name].append(args[0] if args else kwargs["hidden_states"])

    def keep_output(name: str, args: tuple, output: Any) -> None:
        found[name].append(_hidden(output))

    def keep_embeddings(name: str, args: tuple, output: Any) -> None:
        if _are_ids(args, inputs):
            found[name].append(_hidden(output).clone())  # a copy, see replace_once

    def see(module: nn.Module, args: tuple, output: Any) -> None:
        if isinstance(output, Tensor):
            _returned[module] = 0
        elif isinstance(output, tuple) and all(value is None for value in output[1:]):
            _returned[module] = len(output)

    below: dict[nn.Module, None] = {}
    for name in names:
        site = _site(model, name, blocks)
        below.update(dict.fromkeys(site.below))
        if site.is_input:
            taps.on_input(site.module, partial(keep_input, name))
        else:
            taps.on_output(site.module, partial(keep_embeddings if site.is_table else keep_output, name))
    for module in below:
        if module not in _returned:
            taps.on_output(module, partial(see, module))
    if reader is not None:
        reader.tap(taps, blocks or list(find_blocks(model)))
    with reader or nullcontext():
        output = call(model, view, inputs, taps)
    for name, states in found.items():
        if len(states) != 1:
            raise DiffMaskError(
                f"{type(model).__name__} computed the state {name!r} {len(states)} times in one forward pass instead "
                "of once: this model is not supported."
            )
        if states[0].shape[:2] != units.shape:
            raise DiffMaskError(
                f"{type(model).__name__} has the state {name!r} in the shape {tuple(states[0].shape)} for an input of "
                f"{tuple(units.shape)}: models with one vector for each token are supported."
            )
    return output, [states[0] for states in found.values()]


def replace_once(model: PreTrainedModel, features: dict[str, Tensor], name: str, hidden: Tensor, units: Tensor) -> Any:
    """
    Output of the base model after a state is replaced, for a batch that runs as it is.

    Args:
        model ([`~transformers.PreTrainedModel`]): The base model.
        features (`dict[str, torch.Tensor]`): Features, `(B, T)` each.
        name (`str`): A state, see [`record`].
        hidden (`torch.Tensor` of shape `(B, T, d)`): Replaces the state.
        units (`torch.Tensor` of shape `(B, T)`, `bool`): `False` at padding.

    Returns:
        The model's output.
    """
    site, taps = _site(model, name, _blocks_for(model, [name])), Taps()
    view, inputs = prepared(model, features, units)

    def give_output(args: tuple, output: Any) -> Any:
        given = hidden.clone() if site.is_table else hidden  # a copy: CTRL scales its embeddings in place
        return given if isinstance(output, Tensor) else (given, *output[1:])

    def give_embeddings(args: tuple, output: Any) -> Any:
        return give_output(args, output) if _are_ids(args, inputs) else None

    def give_input(args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        return ((hidden, *args[1:]), kwargs) if args else ((), {**kwargs, "hidden_states": hidden})

    if site.is_table:
        taps.on_output(site.module, give_embeddings)
    for module in site.below:
        length = _returned.get(module)
        if length is None:
            taps.on_output(module, give_output)
        else:
            taps.instead[module] = (hidden, *[None] * (length - 1)) if length else hidden
    if site.is_input:  # always needed: some models change the state between two blocks
        taps.on_input(site.module, give_input)
    return call(model, view, inputs, taps)


def _are_ids(args: tuple, inputs: dict[str, Tensor]) -> bool:
    """Whether the embedding table is called with `input_ids`: GPT-2 looks up `token_type_ids` as well."""
    found, ids, kinds = args[0], inputs["input_ids"], inputs.get("token_type_ids")
    if found.data_ptr() == ids.data_ptr():
        return True
    if kinds is not None and found.data_ptr() == kinds.data_ptr():  # a text of token 0 has equal ids and types
        return False
    return found.shape == ids.shape and torch.equal(found, ids.to(found.device))
