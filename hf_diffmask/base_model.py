"""Any model's hidden states: name, record, replace.

The base model is a guest. Nothing here changes its weights, its training mode, its dtype or its device.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

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
        raise DiffMaskError(
            f"{type(model).__name__} has no list of blocks: name its states by module path, with "
            "DiffMaskModel.from_base_model(..., states=[...])."
        )
    longest = max(outermost, key=len)
    if sum(len(module) == len(longest) for module in outermost) > 1:
        raise DiffMaskError(
            f"{type(model).__name__} keeps the parts of its blocks in lists of their own, so that no block can be run "
            "by itself: such a model is not supported."
        )
    return longest


def state_names(model: PreTrainedModel) -> list[str]:
    """
    Names of the `L + 2` states of a model with `L` blocks, in the order in which they are computed.

    Args:
        model ([`~transformers.PreTrainedModel`]): The base model.

    Returns:
        `list[str]`: `embeddings`, the input of each block, and the output of the last one.

    Raises:
        DiffMaskError: If the model has no list of blocks.
    """
    return names_of_blocks(len(find_blocks(model)))


def names_of_blocks(count: int) -> list[str]:
    """
    Names of the states of any model with so many blocks.

    Args:
        count (`int`): Blocks `L`, at least 1.

    Returns:
        `list[str]`: `L + 2` names.
    """
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


class _Site(NamedTuple):
    """Where a state is found: at a module, as its first argument or as its output."""

    module: nn.Module
    is_input: bool
    below: list[nn.Module]
    """Modules that need not run where the state is given: each would have to return it."""


def _blocks_for(model: PreTrainedModel, names: Sequence[str]) -> list[nn.Module]:
    """The blocks, where a state is named by one: finding them takes a walk over all modules."""
    return list(find_blocks(model)) if any(name.startswith("block.") for name in names) else []


def _site(model: PreTrainedModel, name: str, blocks: list[nn.Module]) -> _Site:
    if name == "embeddings":
        embeddings = model.get_input_embeddings()
        return _Site(embeddings, False, [embeddings])
    if match := re.fullmatch(r"block\.(\d+)\.(input|output)", name):
        number = int(match[1])
        if number >= len(blocks):
            raise DiffMaskError(f"{type(model).__name__} has {len(blocks)} blocks, so there is no state {name!r}.")
        is_input = match[2] == "input"
        return _Site(blocks[number], is_input, blocks[: number + (not is_input)])
    try:
        module = model.get_submodule(name)
    except AttributeError:
        raise DiffMaskError(
            f"{type(model).__name__} has no state {name!r}: name a module by its path, or one of embeddings, "
            "block.K.input and block.K.output."
        ) from None
    return _Site(module, False, [module])


def _hidden(output: Any) -> Tensor:
    return output if isinstance(output, Tensor) else output[0]


# How many values a module returns, the hidden state first and nothing after it; 0 for a bare tensor. Seen when it is
# recorded, and needed to stand in for it: a module that is not listed has to be run.
_returned: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()


def record(model: PreTrainedModel, features: dict[str, Tensor], names: Sequence[str]) -> tuple[Any, list[Tensor]]:
    """
    Runs the base model once and records its states on the way.

    Args:
        model ([`~transformers.PreTrainedModel`]): The base model.
        features (`dict[str, torch.Tensor]`): What its `forward` takes: `input_ids`, `attention_mask`, ... `(B, T)`.
        names (`Sequence[str]`):
            Which states (paper, section 3.1): `embeddings`, the output of the token-embedding table, `block.K.input`
            and `block.K.output`, or the path of a module, whose output is the state.

    Returns:
        `tuple`: The model's own output, and the states, `(B, T, d_s)` each.

    Raises:
        DiffMaskError: If there is no such state, or a forward pass does not compute each one once.
    """
    found: dict[str, list[Tensor]] = {name: [] for name in names}
    handles = []
    blocks = _blocks_for(model, names)
    below: dict[nn.Module, None] = {}

    def watch(name: str) -> None:
        site = _site(model, name, blocks)
        below.update(dict.fromkeys(site.below))

        def keep_input(module: nn.Module, args: tuple, kwargs: dict) -> None:
            found[name].append(args[0] if args else kwargs["hidden_states"])

        def keep_output(module: nn.Module, args: tuple, output: Any) -> None:
            found[name].append(_hidden(output))

        if site.is_input:
            handles.append(site.module.register_forward_pre_hook(keep_input, with_kwargs=True))
        else:
            handles.append(site.module.register_forward_hook(keep_output))

    def see(module: nn.Module, args: tuple, output: Any) -> None:
        if isinstance(output, Tensor):
            _returned[module] = 0
        elif isinstance(output, tuple) and all(value is None for value in output[1:]):
            _returned[module] = len(output)

    try:
        for name in names:
            watch(name)
        handles.extend(module.register_forward_hook(see) for module in below if module not in _returned)
        with as_guest(model):
            output = model(**features)
    finally:
        for handle in handles:
            handle.remove()
    for name, states in found.items():
        if len(states) != 1:
            raise DiffMaskError(
                f"{type(model).__name__} computed the state {name!r} {len(states)} times in one forward pass instead "
                "of once: such a model is not supported."
            )
    return output, [states[0] for states in found.values()]


@contextmanager
def _standing_in(module: nn.Module, hidden: Tensor) -> Iterator[None]:
    """Has a module return a hidden state, without being run where nothing else of it is needed."""
    if module not in _returned:
        handle = module.register_forward_hook(
            lambda module, args, output: hidden if isinstance(output, Tensor) else (hidden, *output[1:])
        )
        try:
            yield
        finally:
            handle.remove()
        return
    own = module.__dict__.get("forward")
    returned = (hidden, *[None] * (_returned[module] - 1)) if _returned[module] else hidden
    module.__dict__["forward"] = lambda *args, **kwargs: returned
    try:
        yield
    finally:
        if own is None:
            del module.__dict__["forward"]
        else:
            module.__dict__["forward"] = own


def replace(model: PreTrainedModel, features: dict[str, Tensor], name: str, hidden: Tensor) -> Any:
    """
    Runs the base model on from one of its states; the blocks below are not run.

    Args:
        model ([`~transformers.PreTrainedModel`]): The base model.
        features (`dict[str, torch.Tensor]`): What its `forward` takes.
        name (`str`): A state, see [`record`]. What is below it is skipped once the model has been recorded.
        hidden (`torch.Tensor` of shape `(B, T, d)`): What the model shall see in its place, in the state's own dtype.

    Returns:
        The model's own output.
    """
    site = _site(model, name, _blocks_for(model, [name]))
    with ExitStack() as stack:
        for module in site.below:
            stack.enter_context(_standing_in(module, hidden))
        if site.is_input:
            # Even where a block below returns it: some models have something between the two.
            def give(module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
                return ((hidden, *args[1:]), kwargs) if args else ((), {**kwargs, "hidden_states": hidden})

            stack.callback(site.module.register_forward_pre_hook(give, with_kwargs=True).remove)
        stack.enter_context(as_guest(model))
        return model(**features)


def state_widths(model: PreTrainedModel, names: Sequence[str]) -> list[int]:
    """
    Widths of state 0 and of the others, which share one, read off a pass over the model's dummy inputs.

    Args:
        model ([`~transformers.PreTrainedModel`]): The base model.
        names (`Sequence[str]`): Its states.

    Returns:
        `list[int]`: Two widths; the same twice where there is one state.

    Raises:
        DiffMaskError: If the others are of different widths.
    """
    dummies = {name: value.to(model.device) for name, value in model.dummy_inputs.items()}
    with torch.no_grad():
        _, states = record(model, dummies, names)
    first, *others = [state.shape[-1] for state in states]
    if len(set(others)) > 1:
        raise DiffMaskError(
            f"The states after the first must be of one width, but have {', '.join(map(str, others))} features."
        )
    return [first, others[0] if others else first]


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
