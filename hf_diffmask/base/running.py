"""Runs the base model: records its states, or replaces a state and runs the rest."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..errors import DiffMaskError
from .frozen import as_guest
from .states import _blocks_for, _site
from .taps import Taps


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
    blocks, taps = _blocks_for(model, names), Taps()

    def keep_input(name: str, args: tuple, kwargs: dict[str, Any]) -> None:
        found[name].append(args[0] if args else kwargs["hidden_states"])

    def keep_output(name: str, output: Any) -> None:
        found[name].append(_hidden(output))

    def see(module: nn.Module, output: Any) -> None:
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
            taps.on_output(site.module, partial(keep_output, name))
    for module in below:
        if module not in _returned:
            taps.on_output(module, partial(see, module))
    with as_guest(model), taps.active():
        output = model(**features)
    for name, states in found.items():
        if len(states) != 1:
            raise DiffMaskError(
                f"{type(model).__name__} computed the state {name!r} {len(states)} times in one forward pass instead "
                "of once: this model is not supported."
            )
    return output, [states[0] for states in found.values()]


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
    site, taps = _site(model, name, _blocks_for(model, [name])), Taps()

    def give_output(output: Any) -> Any:
        return hidden if isinstance(output, Tensor) else (hidden, *output[1:])

    def give_input(args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        return ((hidden, *args[1:]), kwargs) if args else ((), {**kwargs, "hidden_states": hidden})

    for module in site.below:
        length = _returned.get(module)
        if length is None:
            taps.on_output(module, give_output)
        else:
            taps.instead[module] = (hidden, *[None] * (length - 1)) if length else hidden
    if site.is_input:  # always needed: some models change the state between two blocks
        taps.on_input(site.module, give_input)
    with as_guest(model), taps.active():
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
