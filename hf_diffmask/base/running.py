"""Runs the base model: records its states, or replaces a state and runs the rest."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..errors import DiffMaskError
from .states import _blocks_for, _site


@dataclass(frozen=True)  # no tuple: moving a batch to a device splits tuples
class Batch:
    """A batch of inputs, with marks of the units that can be masked."""

    inputs: dict[str, Tensor]
    """Arguments of the base model's `forward`, `(B, T)` each."""
    maskable: Tensor
    """`(B, T)`, `bool`: units that can be masked."""
    special: Tensor
    """`(B, T)`, `bool`: special tokens."""
    example_ids: Tensor | None = None
    """`(B,)`: number of each example in its data set, for training."""

    @property
    def units(self) -> Tensor:
        """`(B, T)`, `bool`: `False` at padding."""
        mask = self.inputs.get("attention_mask")
        return torch.ones_like(self.maskable) if mask is None else mask.bool()

    @property
    def features(self) -> dict[str, Tensor]:
        """The inputs and `special_tokens_mask`, as arguments for methods."""
        return {**self.inputs, "special_tokens_mask": self.special}

    def rows(self, pick: Tensor) -> "Batch":
        """
        A selection of the examples.

        Args:
            pick (`torch.Tensor`): Numbers of examples, which may repeat, or a `bool` mask of shape `(B,)`.

        Returns:
            [`Batch`]
        """
        return Batch(
            {name: value[pick] for name, value in self.inputs.items()},
            self.maskable[pick],
            self.special[pick],
            None if self.example_ids is None else self.example_ids[pick],
        )


class Recorded(NamedTuple):
    """The base model's output and states for whole inputs."""

    target: Tensor
    """`(B, C)`, `(B, 2, T)` for start and end, or `(B, 1)` for a number: the output, see [`Task.target`]."""
    states: list[Tensor]
    """`S` hidden states, `(B, T, d_s)` each."""
    batch: Batch
    """The inputs."""

    def rows(self, pick: Tensor, state: int | None = None) -> "Recorded":
        """
        A selection of the examples.

        Args:
            pick (`torch.Tensor`): Numbers of examples, which may repeat, or a `bool` mask of shape `(B,)`.
            state (`int`, *optional*):
                The only state to select from. Other states keep all examples, which saves memory.

        Returns:
            [`Recorded`]
        """
        states = [one[pick] if state in (None, number) else one for number, one in enumerate(self.states)]
        return Recorded(self.target[pick], states, self.batch.rows(pick))


def masked_state(hidden: Tensor, keep: Tensor, replacement: Tensor) -> Tensor:
    """
    Replaces units of a state, `z * h + (1 - z) * b` (paper, equations 2 and 7).

    Args:
        hidden (`torch.Tensor` of shape `(B, T, d)`): `h`, the state for the whole inputs.
        keep (`torch.Tensor` of shape `(B, T)` or `(B, T, d)`): `z`, in [0, 1] or `bool`; 1 keeps a unit.
        replacement (`torch.Tensor` of shape `(d,)` or `(B, T, d)`): `b`, replaces masked units.

    Returns:
        `torch.Tensor` of shape `(B, T, d)`, in the higher precision of `hidden` and `replacement`.
    """
    share = (keep if keep.dim() == hidden.dim() else keep[..., None]).to(replacement.dtype)
    return share * hidden + (1 - share) * replacement


@contextmanager
def as_guest(model: PreTrainedModel) -> Iterator[None]:
    """Puts a model into eval mode with frozen weights, and restores it afterwards."""
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


# Modules that `replace` can skip, filled by `record`: the length of the output tuple (hidden state, then only `None`),
# or 0 for a bare tensor. Other modules have to run.
_returned: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()


def record(model: PreTrainedModel, features: dict[str, Tensor], names: Sequence[str]) -> tuple[Any, list[Tensor]]:
    """
    Output and states of the base model, from one forward pass.

    Args:
        model ([`~transformers.PreTrainedModel`]): The base model.
        features (`dict[str, torch.Tensor]`): Arguments of the base model: `input_ids`, `attention_mask`, ... `(B, T)`.
        names (`Sequence[str]`):
            States to record (paper, section 3.1): `embeddings` (output of the token-embedding table),
            `block.K.input`, `block.K.output`, or the path of a module (output of this module).

    Returns:
        `tuple`: The model's output, and the states, `(B, T, d_s)` each.

    Raises:
        DiffMaskError: If a state does not exist, or a forward pass does not compute it exactly once.
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
                "of once: this model is not supported."
            )
    return output, [states[0] for states in found.values()]


@contextmanager
def _standing_in(module: nn.Module, hidden: Tensor) -> Iterator[None]:
    """Makes a module return a hidden state. Modules in `_returned` do not run."""
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
    Output of the base model after a state is replaced.

    Args:
        model ([`~transformers.PreTrainedModel`]): The base model.
        features (`dict[str, torch.Tensor]`): Arguments of the base model, `(B, T)` each.
        name (`str`): A state, see [`record`]. Blocks below the state do not run if [`record`] has seen them.
        hidden (`torch.Tensor` of shape `(B, T, d)`): Replaces the state; in the state's dtype.

    Returns:
        The model's output.
    """
    site = _site(model, name, _blocks_for(model, [name]))
    with ExitStack() as stack:
        for module in site.below:
            stack.enter_context(_standing_in(module, hidden))
        if site.is_input:
            # Always needed: some models change the state between two blocks.
            def give(module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
                return ((hidden, *args[1:]), kwargs) if args else ((), {**kwargs, "hidden_states": hidden})

            stack.callback(site.module.register_forward_pre_hook(give, with_kwargs=True).remove)
        stack.enter_context(as_guest(model))
        return model(**features)


def state_widths(model: PreTrainedModel, names: Sequence[str]) -> list[int]:
    """
    Width of state 0 and shared width of the other states, from a forward pass on the model's dummy inputs.

    Args:
        model ([`~transformers.PreTrainedModel`]): The base model.
        names (`Sequence[str]`): The states of the base model.

    Returns:
        `list[int]`: Two widths; equal if there is only one state.

    Raises:
        DiffMaskError: If the other states differ in width.
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
