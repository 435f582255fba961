"""What every way from scores to masks owes. One subclass for each `objective` of a config."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..errors import DiffMaskError


class Masks:
    """
    How scores become masks.

    Args:
        config: The explainer's config.
        store (`torch.nn.Module`): The explainer, which holds the buffers of [`Masks.buffers`].
    """

    name: ClassVar[str]
    """As in `config.objective`."""
    has_levels: ClassVar[bool]
    """Whether scores are gate logits: bounded, with a learned level `c_l` (paper, appendix)."""
    any_margin: ClassVar[bool]
    """Whether masks for another margin than the config's can be asked for."""
    on_violation: ClassVar[tuple[str, ...]]
    """What can be done about an explanation outside the margin, beside keeping it or abstaining."""
    has_evidence: ClassVar[bool]
    """Whether scores rank units, and are shown as evidence."""

    def __init__(self, config: Any, store: nn.Module):
        self.config = config
        self.store: Any = store

    @classmethod
    def buffers(cls, num_states: int) -> dict[str, Tensor]:
        """
        Tensors that masks depend on, and that are saved with the explainer.

        Args:
            num_states (`int`): `S`.

        Returns:
            `dict[str, torch.Tensor]`: Initial values by name.
        """
        return {}

    def keep(self, logits: Tensor, maskable: Tensor, margin: float) -> Tensor:
        """
        Keep probabilities.

        Args:
            logits (`torch.Tensor` of shape `(B, T, S)`): Scores of the probes.
            maskable (`torch.Tensor` of shape `(B, T)`): Units that can be masked, `bool`.
            margin (`float`): What a mask may cost.

        Returns:
            `torch.Tensor` of shape `(B, T, S)`: In [0, 1], kept above 0.5; 1 for units that cannot be masked.
        """
        raise NotImplementedError

    def attribution(self, logits: Tensor, keep_probability: Tensor) -> Tensor:
        """
        One score for each unit, by which the units of an input are ranked.

        Args:
            logits (`torch.Tensor` of shape `(B, T, S)`): Scores of the probes.
            keep_probability (`torch.Tensor` of shape `(B, T, S)`): Result of [`Masks.keep`].

        Returns:
            `torch.Tensor` of shape `(B, T)`
        """
        raise NotImplementedError

    @property
    def nested(self) -> bool:
        """Whether a unit that a state drops stays dropped at the states above (`bool`)."""
        return False

    @property
    def is_calibrated(self) -> bool:
        """Whether the masks of a margin are known (`bool`)."""
        return True

    def forget_calibration(self) -> None:
        """Makes masks keep everything, until they are calibrated again."""

    def coverage(self, margin: float) -> float | None:
        """
        Share of the calibration inputs whose own cost is within a margin, at the last state.

        Args:
            margin (`float`): What a mask may cost.

        Returns:
            `float` or `None`: `None` where nothing was calibrated.
        """
        return None

    def cost_by_share(self) -> dict[str, list[tuple[float, float]]] | None:
        """
        What masks cost by the share that they keep, over the calibration inputs.

        Returns:
            `dict[str, list[tuple[float, float]]]` or `None`: Share and mean cost at each threshold, by state; `None`
            where masks are of one share.
        """
        return None

    def check(self, on_violation: str, **asked: Any) -> None:
        """
        Refuses arguments of the pipeline that these masks do not take.

        Args:
            on_violation (`str`): What to do about an explanation outside the margin.
            asked: `margin`, `label`, `curve` and `refine_steps`, each `None` if it was not given.

        Raises:
            DiffMaskError: If one of them is for other explainers.
        """
        raise NotImplementedError


def refuse(name: str) -> DiffMaskError:
    """The error for an argument that only paths take."""
    return DiffMaskError(f"`{name}` is for explainers that were trained with --recipe path.")


@torch.no_grad()
def fill(store: nn.Module, buffers: dict[str, Tensor]) -> None:
    """Writes values into the buffers of an explainer."""
    for name, value in buffers.items():
        getattr(store, name).copy_(value)
