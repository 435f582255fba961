"""Names and modules of a model's states."""

import re
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from ..errors import DiffMaskError
from .calling import call, prepared
from .dummies import CANNOT_RUN, dummy_input
from .families.registry import block_outputs
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

    Raises:
        DiffMaskError: If there is none, or encoder and decoder have different weights, as in T5Gemma: then what masks
            a unit of the encoder masks none of the decoder.
    """
    if not has_decoder(model):
        return [_table_that_is_called(model)]
    tables = [embedding_table(part) for part in (model.get_encoder(), model.get_decoder())]
    if len({table.get_parameter("weight").data_ptr() for table in tables}) > 1:
        raise DiffMaskError(
            f"The decoder of {type(model).__name__} embeds the input with weights of its own, so masked units cannot "
            "be hidden from it: this model is not supported."
        )
    return tables


def _table_that_is_called(model: PreTrainedModel) -> nn.Module:
    """The table, or the encoder's module with the same weights, as in a T5 without a decoder."""
    table, encoder = embedding_table(model), model.get_encoder()
    if not isinstance(encoder, PreTrainedModel) or encoder is model:
        return table
    inner = encoder.get_input_embeddings()
    return inner if getattr(inner, "weight", None) is table.weight else table


def embedding_table(model: PreTrainedModel) -> nn.Module:
    """
    The module with one vector for each token id.

    Args:
        model ([`~transformers.PreTrainedModel`]): The base model, or a part of it.

    Returns:
        `torch.nn.Module`: Its `weight` is the table.

    Raises:
        DiffMaskError: If there is none, as in CANINE, which hashes characters.
    """
    try:
        table = model.get_input_embeddings()
    except (NotImplementedError, AttributeError):
        table = None
    if not isinstance(table, nn.Module) or not isinstance(getattr(table, "weight", None), torch.Tensor):
        raise DiffMaskError(
            f"{type(model).__name__} has no table with one vector for each token (`get_input_embeddings` gives none), "
            "so no token can be masked: this model is not supported."
        )
    return table


def hidden_size(model: PreTrainedModel) -> int:
    """
    Width of the states after the first, as the config of the text has it.

    Args:
        model ([`~transformers.PreTrainedModel`]): The base model. In an encoder-decoder the encoder counts, and in a
            model of text and images the text.

    Returns:
        `int`
    """
    reads = model.get_encoder() if has_decoder(model) else model
    return reads.config.get_text_config().hidden_size


# Blocks of models that run a block several times, as found by a run.
_repeated: WeakKeyDictionary[PreTrainedModel, tuple[list[nn.Module], list[nn.Module]]] = WeakKeyDictionary()


def find_blocks(model: PreTrainedModel) -> list[nn.Module]:
    """
    The blocks in the order in which they run. A block that all layers share, as in ALBERT, is there once for each run.

    They are the longest outermost `nn.ModuleList` with members of one kind, in the innermost part of the model that
    holds the embedding table: in an encoder-decoder the encoder, in a model of text and images the text's part. If the
    config counts more layers than the list has members, the model runs on its dummy inputs, and the calls are counted.

    Args:
        model ([`~transformers.PreTrainedModel`]): The base model.

    Returns:
        `list[torch.nn.Module]`: The `L` blocks, first to last.

    Raises:
        DiffMaskError: If the model has no list of blocks, or several longest lists.
    """
    outputs = block_outputs(model)
    if outputs is not None:
        return outputs[1:]
    blocks = _list_of_blocks(model)
    if (getattr(model.config.get_text_config(), "num_hidden_layers", None) or 0) <= len(blocks):
        return blocks
    if model not in _repeated or _repeated[model][0] != blocks:
        _repeated[model] = blocks, _in_order_of_calls(model, blocks)
    return _repeated[model][1]


def _call_of(called: list[nn.Module], block: nn.Module, args: tuple, output: Any) -> None:
    called.append(block)


@torch.no_grad()
def _in_order_of_calls(model: PreTrainedModel, blocks: list[nn.Module]) -> list[nn.Module]:
    """The blocks as a run calls them; the list itself if the model cannot run on its dummy inputs."""
    inputs = dummy_input(model)
    called: list[nn.Module] = []
    taps = Taps()
    for block in blocks:
        taps.on_output(block, partial(_call_of, called, block))
    try:
        call(model, *prepared(model, inputs, torch.ones_like(inputs["input_ids"], dtype=torch.bool)), taps)
    except CANNOT_RUN:
        return blocks
    return called


def _list_of_blocks(model: PreTrainedModel) -> list[nn.Module]:
    """The longest outermost list, in the innermost part with the embedding table that has such lists."""
    found: list[nn.ModuleList] = []
    for part in _around(embedding_tables(model)[0], model.get_encoder() if has_decoder(model) else model):
        found = _outermost_lists(part)
        if found:
            break
    if not found:
        raise DiffMaskError(
            f"{type(model).__name__} has no list of blocks of one kind (`torch.nn.ModuleList`): name its states by "
            "module path, with DiffMaskModel.from_base_model(..., states=[...])."
        )
    longest = max(found, key=len)
    if sum(len(one) == len(longest) for one in found) > 1:
        raise DiffMaskError(
            f"{type(model).__name__} keeps parts of its blocks in separate lists, so no block can run alone: name its "
            "states by module path, with DiffMaskModel.from_base_model(..., states=[...])."
        )
    stages = [block for block in longest if isinstance(block, nn.ModuleList)]  # as in Funnel
    return [block for stage in stages for block in stage] if stages else list(longest)


def _around(table: nn.Module, whole: nn.Module) -> list[nn.Module]:
    """The modules that hold the table, from the innermost to the whole model."""
    path = next((name for name, module in whole.named_modules() if module is table), "")
    folders = path.split(".")[:-1]
    return [whole.get_submodule(".".join(folders[:depth])) for depth in range(len(folders), -1, -1)]


def _outermost_lists(part: nn.Module) -> list[nn.ModuleList]:
    """Lists of modules of one kind that are in no other list. Tables for layouts and the like are no blocks."""
    lists = {name: module for name, module in part.named_modules() if isinstance(module, nn.ModuleList)}
    return [
        module
        for name, module in lists.items()
        if not any(name.startswith(f"{other}.") for other in lists) and _are_blocks(module)
    ]


def _are_blocks(members: nn.ModuleList) -> bool:
    kinds = {type(member) for member in members}
    of_one_kind = len(kinds) == 1 or all(issubclass(kind, GradientCheckpointingLayer) for kind in kinds)
    return len(members) > 0 and of_one_kind and not issubclass(next(iter(kinds)), nn.Embedding)


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
        outputs = block_outputs(model)
        if outputs is not None:
            return _Site(outputs[number + (not is_input)], False, False, [])
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
