"""One forward pass of the base model: records states, or replaces one and runs the rest."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import count
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..errors import DiffMaskError
from .attention_read import AttentionReader
from .calling import call, prepared
from .layout import arranged, as_before, learn_order, orders
from .states import _blocks_for, _Site, _site, embedding_tables, find_blocks
from .taps import Taps


def _hidden(output: Any) -> Tensor:
    return output if isinstance(output, Tensor) else output[0]


# Modules that `replace` can skip, filled by `record`: the length of the output tuple (hidden state, then only `None`),
# or 0 for a bare tensor. `None`, and other modules: they have to run.
_returned: WeakKeyDictionary[nn.Module, int | None] = WeakKeyDictionary()


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
    found: dict[tuple, list[Tensor]] = {}  # by module and kind of site, one state for each call
    places: dict[str, _Site] = {}
    blocks, taps = _blocks_for(model, names), Taps()
    view, inputs = prepared(model, features, units)

    def keep_input(kept: list[Tensor], args: tuple, kwargs: dict[str, Any]) -> None:
        kept.append(args[0] if args else kwargs["hidden_states"])

    def keep_output(kept: list[Tensor], args: tuple, output: Any) -> None:
        kept.append(_hidden(output))

    def keep_embeddings(kept: list[Tensor], args: tuple, output: Any) -> None:
        if not kept and _are_ids(args, inputs):  # a decoder may use the same table later
            kept.append(_hidden(output).clone())  # a copy, see replace_once

    def see(module: nn.Module, args: tuple, output: Any) -> None:
        if _hidden(output).shape[:2] != units.shape:  # the model has its own order, or has padded the input
            _returned[module] = None
        elif isinstance(output, Tensor):
            _returned[module] = 0
        elif isinstance(output, tuple) and all(value is None for value in output[1:]):
            _returned[module] = len(output)

    below: dict[nn.Module, None] = {}
    for name in names:
        site = places[name] = _site(model, name, blocks)
        below.update(dict.fromkeys(site.below))
        if site[:3] in found:  # another call of a module
            continue
        kept = found[site[:3]] = []
        if site.is_input:
            taps.on_input(site.module, partial(keep_input, kept))
        else:
            taps.on_output(site.module, partial(keep_embeddings if site.is_table else keep_output, kept))
    for module in below:
        if _returned.get(module, 0) is not None:
            taps.on_output(module, partial(see, module))
    if reader is not None:
        reader.tap(taps, blocks or find_blocks(model))
    with reader or nullcontext():
        output = call(model, view, inputs, taps)
    states = []
    for name, site in places.items():
        computed = found[site[:3]]
        if len(computed) != site.calls:
            expected = "once" if site.calls == 1 else f"{site.calls} times"
            raise DiffMaskError(
                f"{type(model).__name__} computed the state {name!r} {len(computed)} times in one forward pass "
                f"instead of {expected}: this model is not supported."
            )
        learn_order(site.module, computed[site.call], units.shape)
        order = orders(model, [site.module])[site.module]
        state = arranged(computed[site.call], order, units.shape[1])
        if state.shape[:2] != units.shape:
            raise DiffMaskError(
                f"{type(model).__name__} has the state {name!r} in the shape {tuple(state.shape)} for an input of "
                f"{tuple(units.shape)}: models with one vector for each token are supported."
            )
        states.append(state)
    return output, states


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
    order = orders(model, [site.module])[site.module]

    def give_output(args: tuple, output: Any) -> Any:
        # A copy: CTRL scales its embeddings in place, XLM its states.
        given = as_before(hidden, order, _hidden(output)).clone()
        return given if isinstance(output, Tensor) else (given, *output[1:])

    def give_embeddings(args: tuple, output: Any) -> Any:
        if _are_ids(args, inputs):
            return give_output(args, output)
        if len(tables) < 2:
            return None
        if _are_shifted_ids(args, inputs):
            return torch.cat([_hidden(output)[:, :1], hidden[:, :-1].to(_hidden(output).dtype)], dim=1)
        raise DiffMaskError(
            f"The decoder of {type(model).__name__} does not read the input one position later, so masked units "
            "cannot be hidden from it: this model is not supported."
        )

    def give_input(args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        given = as_before(hidden, order, args[0] if args else kwargs["hidden_states"])
        return ((given, *args[1:]), kwargs) if args else ((), {**kwargs, "hidden_states": given})

    tables = embedding_tables(model) if site.is_table else []
    for table in dict.fromkeys(tables):
        taps.on_output(table, give_embeddings)
    for module in site.below:
        length = _returned.get(module)
        if length is None:
            taps.on_output(module, give_output)
        else:
            given = hidden.permute(order)
            taps.instead[module] = (given, *[None] * (length - 1)) if length else given
    if site.is_input:  # always needed: some models change the state between two blocks
        taps.on_input(site.module, _at_call(site.call, give_input))
    elif not site.is_table and site.module not in site.below:
        taps.on_output(site.module, _at_call(site.call, give_output))
    return call(model, view, inputs, taps)


def _are_shifted_ids(args: tuple, inputs: dict[str, Tensor]) -> bool:
    """Whether the embedding table is called with `input_ids` one position later, as decoders of classifiers do."""
    found, ids = args[0], inputs["input_ids"]
    return found.shape == ids.shape and torch.equal(found[:, 1:], ids[:, :-1].to(found.device))


def _at_call(number: int, tap: Callable) -> Callable:
    """The tap, only at one call of its module, from 0."""
    calls = count()
    return lambda *given: tap(*given) if next(calls) == number else None


def _are_ids(args: tuple, inputs: dict[str, Tensor]) -> bool:
    """Whether the embedding table is called with `input_ids`: GPT-2 looks up `token_type_ids` as well."""
    found, ids, kinds = args[0], inputs["input_ids"], inputs.get("token_type_ids")
    if found.data_ptr() == ids.data_ptr():
        return True
    if kinds is not None and found.data_ptr() == kinds.data_ptr():  # a text of token 0 has equal ids and types
        return False
    # XLNet has positions first, and Longformer pads.
    looks = (found, found.T) if found.dim() == 2 else (found,)
    return any(
        one.shape[:1] == ids.shape[:1] and torch.equal(one[:, : ids.shape[1]], ids.to(found.device)) for one in looks
    )
