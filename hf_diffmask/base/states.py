"""Names and modules of a model's states."""

import re
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import nn
from transformers import PreTrainedModel

from ..errors import DiffMaskError
from .calling import call, prepared
from .taps import Taps


def has_decoder(model: PreTrainedModel) -> bool:
    """
    Whether a model has an encoder and a decoder. Its units are those of the encoder.

    Args:
        model ([`~transformers.PreTrainedModel`]): The base model.

    Returns:
        `bool`
    """
    return bool(getattr(model.config, "is_encoder_decoder", False))


def embedding_tables(model: PreTrainedModel) -> list[nn.Module]:
    """
    The modules that embed the input: one table, and that of a decoder, which reads the input as well.

    Args:
        model ([`~transformers.PreTrainedModel`]): The base model.

    Returns:
        `list[torch.nn.Module]`: State 0 is the output of the first one. An encoder and its decoder may share one.
    """
    if not has_decoder(model):
        return [model.get_input_embeddings()]
    return [part.get_input_embeddings() for part in (model.get_encoder(), model.get_decoder())]


# Blocks of models that run a block several times, as found by a run.
_repeated: WeakKeyDictionary[PreTrainedModel, tuple[list[nn.Module], list[nn.Module]]] = WeakKeyDictionary()


def find_blocks(model: PreTrainedModel) -> list[nn.Module]:
    """
    The blocks in the order in which they run. A block that all layers share, as in ALBERT, is there once for each run.

    They are the longest outermost `nn.ModuleList` with members of one class; in an encoder-decoder, the encoder's. If
    the config counts more layers than it has members, the model runs on its dummy inputs, and the calls are counted.

    Args:
        model ([`~transformers.PreTrainedModel`]): The base model.

    Returns:
        `list[torch.nn.Module]`: The `L` blocks, first to last.

    Raises:
        DiffMaskError: If the model has no list of blocks, or several longest lists.
    """
    blocks = list(_list_of_blocks(model))
    if (getattr(model.config, "num_hidden_layers", None) or 0) <= len(blocks):
        return blocks
    if model not in _repeated or _repeated[model][0] != blocks:
        _repeated[model] = blocks, _in_order_of_calls(model, blocks)
    return _repeated[model][1]


def _call_of(called: list[nn.Module], block: nn.Module, args: tuple, output: Any) -> None:
    called.append(block)


@torch.no_grad()
def _in_order_of_calls(model: PreTrainedModel, blocks: list[nn.Module]) -> list[nn.Module]:
    """The blocks as a run calls them; the list itself if the model cannot run on its dummy inputs."""
    inputs = {name: value[:1].to(model.device) for name, value in model.dummy_inputs.items()}
    called: list[nn.Module] = []
    taps = Taps()
    for block in blocks:
        taps.on_output(block, partial(_call_of, called, block))
    try:
        call(model, *prepared(model, inputs, torch.ones_like(inputs["input_ids"], dtype=torch.bool)), taps)
    except (RuntimeError, IndexError, TypeError, ValueError, AttributeError, KeyError):
        return blocks
    return called


def _list_of_blocks(model: PreTrainedModel) -> nn.ModuleList:
    """The longest outermost list with members of one class; that of the encoder, if there is a decoder beside it."""
    stack = model.get_encoder() if has_decoder(model) else model
    lists = {name: module for name, module in stack.named_modules() if isinstance(module, nn.ModuleList)}
    outermost = [
        module
        for name, module in lists.items()
        if not any(name.startswith(f"{other}.") for other in lists) and len({type(block) for block in module}) == 1
    ]
    if not outermost:
        raise DiffMaskError(
            f"{type(model).__name__} has no list of blocks: name its states by module path, with "
            "DiffMaskModel.from_base_model(..., states=[...])."
        )
    longest = max(outermost, key=len)
    if sum(len(module) == len(longest) for module in outermost) > 1:
        raise DiffMaskError(
            f"{type(model).__name__} keeps parts of its blocks in separate lists, so no block can run alone: this "
            "model is not supported."
        )
    return longest


def state_names(model: PreTrainedModel) -> list[str]:
    """
    Names of the `L + 2` states of a model with `L` blocks, in the order of computation.

    Args:
        model ([`~transformers.PreTrainedModel`]): The base model.

    Returns:
        `list[str]`: `embeddings`, the input of each block, and the output of the last one.

    Raises:
        DiffMaskError: If the list of blocks cannot be found, see [`find_blocks`].
    """
    return names_of_blocks(len(find_blocks(model)))


def names_of_blocks(count: int) -> list[str]:
    """
    Names of the states of a model with `L` blocks.

    Args:
        count (`int`): Number `L` of blocks, at least 1.

    Returns:
        `list[str]`: `L + 2` names.
    """
    return ["embeddings", *(f"block.{k}.input" for k in range(count)), f"block.{count - 1}.output"]


class _Site(NamedTuple):
    """The module that has a state as its first argument or as its output."""

    module: nn.Module
    is_input: bool
    is_table: bool
    """Whether the module is the embedding table."""
    below: list[nn.Module]
    """Modules that need not run if the state is replaced: each returns the new state instead."""
    call: int = 0
    """Number of the module's call in a run that has the state."""
    calls: int = 1
    """How often a run calls the module."""


def _blocks_for(model: PreTrainedModel, names: Sequence[str]) -> list[nn.Module]:
    """The blocks, or an empty list if no name needs a block: the search visits all modules."""
    return find_blocks(model) if any(name.startswith("block.") for name in names) else []


def _site(model: PreTrainedModel, name: str, blocks: list[nn.Module]) -> _Site:
    if name == "embeddings":
        return _Site(embedding_tables(model)[0], False, True, [])
    if match := re.fullmatch(r"block\.(\d+)\.(input|output)", name):
        number = int(match[1])
        if number >= len(blocks):
            raise DiffMaskError(f"{type(model).__name__} has {len(blocks)} blocks, so there is no state {name!r}.")
        is_input, block = match[2] == "input", blocks[number]
        below = blocks[: number + (not is_input)]
        # A block that runs again above the state cannot be left out.
        below = [one for one in below if one not in blocks[len(below) :]]
        return _Site(block, is_input, False, below, blocks[:number].count(block), blocks.count(block))
    try:
        module = model.get_submodule(name)
    except AttributeError:
        raise DiffMaskError(
            f"{type(model).__name__} has no state {name!r}: name a module by its path, or one of embeddings, "
            "block.K.input and block.K.output."
        ) from None
    return _Site(module, False, False, [module])
