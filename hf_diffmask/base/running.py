"""Runs the base model: records its states, or replaces a state and runs the rest."""

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace as replaced
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..errors import DiffMaskError
from .attention_read import Attention, AttentionReader
from .calling import free_id, needs_padding_id
from .dummies import dummy_input
from .flow import Flow
from .one_pass import record_once, replace_once
from .padding import Part, depends_on_padding, joined, parts_of, spread
from .units import first_tokens, pooled
from .units import spread as spread_units


@dataclass(frozen=True)  # no tuple: moving a batch to a device splits tuples
class Batch:
    """A batch of inputs, with marks of the units that can be masked."""

    inputs: dict[str, Tensor]
    """Arguments of the base model's `forward`, `(B, T)` each."""
    maskable: Tensor
    """`(B, T)`, `bool`: units that can be masked. The first token of a unit of several tokens stands for it."""
    special: Tensor
    """`(B, T)`, `bool`: special tokens."""
    example_ids: Tensor | None = None
    """`(B,)`: number of each example in its data set, for training."""
    explained: Tensor | None = None
    """`(B, T)`, `bool`: the positions whose output is explained, for a task with outputs at positions."""
    unit_of: Tensor | None = None
    """`(B, T)`: position of the first token of each token's unit; without it each token is a unit."""

    @property
    def units(self) -> Tensor:
        """`(B, T)`, `bool`: `False` at padding."""
        mask = self.inputs.get("attention_mask")
        return torch.ones_like(self.maskable) if mask is None else mask.bool()

    @property
    def features(self) -> dict[str, Tensor]:
        """The inputs, and the marks of tokens, as arguments for methods."""
        marks = {"special_tokens_mask": self.special, "explained_mask": self.explained, "unit_of": self.unit_of}
        return {**self.inputs, **{name: value for name, value in marks.items() if value is not None}}

    def in_units(self, numbers: Tensor | None) -> "Batch":
        """
        The batch with units of several tokens.

        Args:
            numbers (`torch.Tensor` of shape `(B, T)`, *optional*): Number of each token's unit.

        Returns:
            [`Batch`]: Without numbers the batch itself.
        """
        if numbers is None:
            return self
        first = first_tokens(numbers, self.units)
        is_first = first == torch.arange(first.shape[1], device=first.device)
        return replaced(self, maskable=self.maskable & is_first, unit_of=first)

    def spread(self, values: Tensor) -> Tensor:
        """
        Values of units at all their tokens, see [`~hf_diffmask.base.units.spread`].

        Args:
            values (`torch.Tensor` of shape `(B, T, ...)`): Values, read at the first token of each unit.

        Returns:
            `torch.Tensor` of the shape of `values`
        """
        return spread_units(values, self.unit_of)

    def pooled(self, values: Tensor) -> Tensor:
        """
        Sums over the tokens of each unit, see [`~hf_diffmask.base.units.pooled`].

        Args:
            values (`torch.Tensor` of shape `(B, T, ...)`): Values of tokens.

        Returns:
            `torch.Tensor` of the shape of `values`: At the first token of each unit; 0 at the others.
        """
        return pooled(values, self.unit_of)

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
            None if self.explained is None else self.explained[pick],
            None if self.unit_of is None else self.unit_of[pick],
        )


class Recorded(NamedTuple):
    """The base model's output and states for whole inputs."""

    target: Tensor
    """`(B, C)`, `(B, 2, T)` for start and end, or `(B, 1)` for a number: the output, see [`Task.target`]."""
    states: list[Tensor]
    """`S` hidden states, `(B, T, d_s)` each."""
    batch: Batch
    """The inputs."""
    flow: Flow | None = None
    """What each unit gives to the positions that the head reads, if it was read."""
    attention: Attention | None = None
    """Where no positions are explained yet: what the flow to them is computed from."""

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
        flow = None if self.flow is None else self.flow.rows(pick)
        return Recorded(self.target[pick], states, self.batch.rows(pick), flow)


def joined_rows(parts: Sequence[Recorded]) -> Recorded:
    """
    Recorded rows of one batch, one after the other.

    Args:
        parts (`Sequence[Recorded]`): At least one, all from one batch, so of one length.

    Returns:
        [`Recorded`]
    """
    first, batches = parts[0], [part.batch for part in parts]
    if len(parts) == 1:
        return first
    explained = [batch.explained for batch in batches if batch.explained is not None]
    unit_of = [batch.unit_of for batch in batches if batch.unit_of is not None]
    batch = Batch(
        {name: torch.cat([one.inputs[name] for one in batches]) for name in first.batch.inputs},
        torch.cat([one.maskable for one in batches]),
        torch.cat([one.special for one in batches]),
        explained=torch.cat(explained) if explained else None,
        unit_of=torch.cat(unit_of) if unit_of else None,
    )
    flows = [part.flow for part in parts if part.flow is not None]
    values = zip(*(one.values for one in flows), strict=True)
    flow = Flow(tuple(map(torch.cat, values)), torch.cat([one.shares for one in flows])) if flows else None
    states = [torch.cat(of_state) for of_state in zip(*(part.states for part in parts), strict=True)]
    return Recorded(torch.cat([part.target for part in parts]), states, batch, flow)


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


def run(model: PreTrainedModel, features: dict[str, Tensor], units: Tensor | None = None) -> Any:
    """
    Output of the base model. Padding on either side does not change the logits.

    Args:
        model ([`~transformers.PreTrainedModel`]): The base model.
        features (`dict[str, torch.Tensor]`): Features: `input_ids`, `attention_mask`, ... `(B, T)`.
        units (`torch.Tensor` of shape `(B, T)`, `bool`, *optional*):
            `False` at padding; by default the attention mask.

    Returns:
        The model's output.
    """
    return record(model, features, [], units)[0]


def record(
    model: PreTrainedModel, features: dict[str, Tensor], names: Sequence[str], units: Tensor | None = None
) -> tuple[Any, list[Tensor]]:
    """
    Output and states of the base model, from one forward pass.

    Args:
        model ([`~transformers.PreTrainedModel`]): The base model.
        features (`dict[str, torch.Tensor]`): Features: `input_ids`, `attention_mask`, ... `(B, T)`.
        names (`Sequence[str]`):
            States to record (paper, section 3.1): `embeddings` (output of the token-embedding table),
            `block.K.input`, `block.K.output`, or the path of a module (output of this module).
        units (`torch.Tensor` of shape `(B, T)`, `bool`, *optional*):
            `False` at padding; by default the attention mask.

    Returns:
        `tuple`: The model's output, and the states, `(B, T, d_s)` each. If padding can change the logits, rows of one
        length run together, and the output has logits only.

    Raises:
        DiffMaskError: If a state does not exist, or a forward pass does not compute it exactly once.
    """
    units, parts = _parts(model, features, units)
    return _run_parts(model, features, names, units, parts, [None] * max(1, len(parts)))


def record_with_attention(
    model: PreTrainedModel, features: dict[str, Tensor], names: Sequence[str], units: Tensor | None = None
) -> tuple[Any, list[Tensor], Attention]:
    """
    Output, states, and the attention of all blocks, from one forward pass.

    Args:
        model ([`~transformers.PreTrainedModel`]): The base model.
        features (`dict[str, torch.Tensor]`): Features, `(B, T)` each.
        names (`Sequence[str]`): States to record, see [`record`].
        units (`torch.Tensor` of shape `(B, T)`, `bool`, *optional*):
            `False` at padding; by default the attention mask.

    Returns:
        `tuple`: The model's output and the states, see [`record`], and [`Attention`] for [`flow`].

    Raises:
        DiffMaskError: If attention cannot be read from the model, or a state cannot be recorded.
    """
    units, parts = _parts(model, features, units)
    readers = [AttentionReader(model, part.positions.shape) for part in parts] or [AttentionReader(model, units.shape)]
    output, states = _run_parts(model, features, names, units, parts, readers)
    return output, states, Attention(units, [reader.blocks() for reader in readers], parts)


def replace(
    model: PreTrainedModel, features: dict[str, Tensor], name: str, hidden: Tensor, units: Tensor | None = None
) -> Any:
    """
    Output of the base model after a state is replaced.

    Args:
        model ([`~transformers.PreTrainedModel`]): The base model.
        features (`dict[str, torch.Tensor]`): Features, `(B, T)` each.
        name (`str`): A state, see [`record`]. Blocks below the state do not run if [`record`] has seen them.
        hidden (`torch.Tensor` of shape `(B, T, d)`): Replaces the state; in the state's dtype.
        units (`torch.Tensor` of shape `(B, T)`, `bool`, *optional*):
            `False` at padding; by default the attention mask.

    Returns:
        The model's output, see [`record`].
    """
    units, parts = _parts(model, features, units)
    if not parts:
        return replace_once(model, features, name, hidden, units)
    runs = [
        replace_once(model, part.inputs(features, units), name, part.take(hidden), part.take(units)) for part in parts
    ]
    return joined(parts, runs, units.shape)


def _parts(model: PreTrainedModel, features: dict[str, Tensor], units: Tensor | None) -> tuple[Tensor, list[Part]]:
    """Marks of real units, and the parts that the batch must run in."""
    ids = features.get("input_ids")
    if units is None:
        mask = features.get("attention_mask")
        first = next(iter(features.values()))
        units = torch.ones(first.shape[:2], dtype=torch.bool, device=first.device) if mask is None else mask.bool()
    lacks_id = ids is not None and needs_padding_id(model, units) and free_id(model, ids, units) is None
    if bool(units.all()) and not lacks_id:
        return units, []
    varies = depends_on_padding(model, lambda features, units: record_once(model, features, [], units)[0])
    return units, parts_of(units, of_one_length=varies, alone=lacks_id)


def _run_parts(
    model: PreTrainedModel,
    features: dict[str, Tensor],
    names: Sequence[str],
    units: Tensor,
    parts: Sequence[Part],
    readers: Sequence[AttentionReader | None],
) -> tuple[Any, list[Tensor]]:
    if not parts:
        return record_once(model, features, names, units, readers[0])
    runs = [
        record_once(model, part.inputs(features, units), names, part.take(units), reader)
        for part, reader in zip(parts, readers, strict=True)
    ]
    states = [spread(parts, [found[k] for _, found in runs], units.shape) for k in range(len(names))]
    return joined(parts, [output for output, _ in runs], units.shape), states


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
    dummies = dummy_input(model)
    with torch.no_grad():
        _, states = record(model, dummies, names)
    first, *others = [state.shape[-1] for state in states]
    if len(set(others)) > 1:
        raise DiffMaskError(
            f"The states after the first must be of one width, but have {', '.join(map(str, others))} features."
        )
    return [first, others[0] if others else first]
