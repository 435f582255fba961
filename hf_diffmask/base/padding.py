"""Splits a padded batch into runs whose results do not depend on padding."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from .dummies import CANNOT_RUN, dummy_input

# Outputs of two dimensions with one entry per position.
PER_POSITION = ("start_logits", "end_logits")


def is_read(name: str) -> bool:
    """Whether tasks read an output of this name: logits, or the last state of a model without a head."""
    return name.endswith("logits") or name == "last_hidden_state"


class Part(NamedTuple):
    """Rows of a batch that run together, with the real units of each row first."""

    rows: Tensor
    """`(b,)`: number of each row in the batch."""
    positions: Tensor
    """`(b, t)`: position in the batch of each position of the run."""

    def take(self, values: Tensor) -> Tensor:
        """
        The values for this part.

        Args:
            values (`torch.Tensor` of shape `(B, T, ...)`): Values for the batch.

        Returns:
            `torch.Tensor` of shape `(b, t, ...)`
        """
        return values[self.rows[:, None], self.positions]

    def inputs(self, features: dict[str, Tensor], units: Tensor) -> dict[str, Tensor]:
        """
        The features for this part.

        Args:
            features (`dict[str, torch.Tensor]`): Features of the batch; all with one entry per position are `(B, T)`.
            units (`torch.Tensor` of shape `(B, T)`, `bool`): `False` at padding.

        Returns:
            `dict[str, torch.Tensor]`
        """
        return {
            name: self.take(value) if value.shape[:2] == units.shape else value[self.rows]
            for name, value in features.items()
        }


def parts_of(units: Tensor, of_one_length: bool, alone: bool) -> list[Part]:
    """
    The parts of a padded batch. Real units come first in each part, since many models count positions from the left.

    Args:
        units (`torch.Tensor` of shape `(B, T)`, `bool`): `False` at padding.
        of_one_length (`bool`): Whether each part has rows of one length and no padding.
        alone (`bool`): Whether each part has one row.

    Returns:
        `list[Part]`: Empty if the batch can run as it is.
    """
    lengths = units.sum(-1)
    stands_right = bool((units == (torch.arange(units.shape[1], device=units.device) < lengths[:, None])).all())
    if stands_right and not of_one_length and not alone:
        return []
    order = (~units).to(torch.uint8).argsort(dim=-1, stable=True)
    rows = torch.arange(len(units), device=units.device)
    if alone:
        return [Part(row, order[row, : int(lengths[row])]) for row in rows.split(1)]
    if of_one_length:
        found = [(torch.where(lengths == length)[0], length) for length in lengths.unique().tolist()]
        return [Part(picked, order[picked, :length]) for picked, length in found]
    return [Part(rows, order)]


def spread(parts: Sequence[Part], values: Sequence[Tensor], shape: torch.Size) -> Tensor:
    """
    Values of the parts at their positions in the batch.

    Args:
        parts (`Sequence[Part]`): The parts.
        values (`Sequence[torch.Tensor]`): For each part, `(b, t, ...)`.
        shape (`torch.Size`): `(B, T)`.

    Returns:
        `torch.Tensor` of shape `(B, T, ...)`: 0 at padding that was not run.
    """
    found = values[0].new_zeros((*shape, *values[0].shape[2:]))
    for part, one in zip(parts, values, strict=True):
        found = found.index_put((part.rows[:, None], part.positions), one)
    return found


def joined(parts: Sequence[Part], outputs: Sequence[Any], shape: torch.Size) -> Any:
    """
    What tasks read of the parts' outputs, as one output.

    Args:
        parts (`Sequence[Part]`): The parts.
        outputs (`Sequence[ModelOutput]`): For each part, the base model's output.
        shape (`torch.Size`): `(B, T)`.

    Returns:
        [`~transformers.utils.ModelOutput`]: Of the outputs' class, with logits or the last state only.
    """
    order = torch.cat([part.rows for part in parts]).argsort()
    found = {}
    for name in filter(is_read, outputs[0]):
        values = [output[name] for output in outputs]
        has_positions = values[0].dim() > 2 or name in PER_POSITION
        found[name] = spread(parts, values, shape) if has_positions else torch.cat(values)[order]
    return type(outputs[0])(**found)


_measured: WeakKeyDictionary[PreTrainedModel, bool] = WeakKeyDictionary()


def depends_on_padding(model: PreTrainedModel, run: Callable[[dict[str, Tensor], Tensor], ModelOutput]) -> bool:
    """
    Whether padding on the right changes a model's logits, as it does for FNet, ConvBERT and Nystroemformer.

    The model runs twice on its dummy inputs, at the first call only.

    Args:
        model ([`~transformers.PreTrainedModel`]): The base model.
        run (`Callable`): Runs the model on features and units, `(B, T)` each.

    Returns:
        `bool`: `True` also if the model cannot run on its dummy inputs.
    """
    if model not in _measured:
        try:
            _measured[model] = _measure(model, run)
        except CANNOT_RUN:
            _measured[model] = True
    return _measured[model]


@torch.no_grad()
def _measure(model: PreTrainedModel, run: Callable[[dict[str, Tensor], Tensor], ModelOutput]) -> bool:
    dummies = dummy_input(model)
    ids = dummies["input_ids"]
    there = dummies.setdefault("attention_mask", torch.ones_like(ids))
    longer = {
        name: torch.cat([value, torch.zeros_like(value) if value is there else value], dim=1)
        if value.shape[:2] == ids.shape
        else value
        for name, value in dummies.items()
    }
    whole, padded = (run(features, features["attention_mask"].bool()) for features in (dummies, longer))
    for name in filter(is_read, whole):
        alone, beside = whole[name], padded[name]
        if alone.shape != beside.shape:
            beside = beside[:, : alone.shape[1]]
        noise = 200 * torch.finfo(alone.dtype).eps * max(1.0, alone.abs().max().item())
        if not torch.allclose(alone, beside, rtol=0, atol=noise):
            return True
    return False
