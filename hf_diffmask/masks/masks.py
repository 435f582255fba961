"""Base class for masks from scores. Each `objective` of a config has one subclass."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..errors import DiffMaskError


class Masks:
    """
    Makes masks from scores.

    Args:
        config: The explainer's config.
        store (`torch.nn.Module`): The explainer; it holds the buffers of [`Masks.buffers`].
    """

    name: ClassVar[str]
    """Value of `config.objective`."""
    has_levels: ClassVar[bool]
    """Whether scores are gate logits, bounded and with a learned level `c_l` (paper, appendix)."""
    any_margin: ClassVar[bool]
    """Whether users can choose a margin other than the config's."""
    on_violation: ClassVar[tuple[str, ...]]
    """Values of the pipeline's `on_violation` that these masks support."""
    beside_states: ClassVar[tuple[str, ...]] = ()
    """Names of the columns of scores that follow those of the states."""
    has_evidence: ClassVar[bool]
    """Whether scores rank units and are shown as evidence."""
    adds_up: ClassVar[bool] = False
    """Whether evidence for a choice adds up in its log-odds."""

    def __init__(self, config: Any, store: nn.Module):
        self.config = config
        self.store: Any = store

    @classmethod
    def buffers(cls, columns: int) -> dict[str, Tensor]:
        """
        Tensors that masks use and that are saved with the explainer.

        Args:
            columns (`int`): Number `C` of columns of scores.

        Returns:
            `dict[str, torch.Tensor]`: Initial values by name.
        """
        return {}

    def keep(self, logits: Tensor, maskable: Tensor, margin: float) -> Tensor:
        """
        Keep probabilities.

        Args:
            logits (`torch.Tensor` of shape `(B, T, C)`): Scores of the probes.
            maskable (`torch.Tensor` of shape `(B, T)`): Units that can be masked, `bool`.
            margin (`float`): The largest cost of a mask.

        Returns:
            `torch.Tensor` of shape `(B, T, C)`: In [0, 1]; above 0.5 means kept. 1 for units that cannot be masked.
        """
        raise NotImplementedError

    def attribution(self, logits: Tensor, keep_probability: Tensor) -> Tensor:
        """
        One score for each unit, for ranking.

        Args:
            logits (`torch.Tensor` of shape `(B, T, C)`): Scores of the probes.
            keep_probability (`torch.Tensor` of shape `(B, T, C)`): Result of [`Masks.keep`].

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
        """Whether the masks for a margin are known (`bool`)."""
        return True

    def forget_calibration(self) -> None:
        """Resets calibration: masks keep everything until the next one."""

    def coverage(self, margin: float) -> float | None:
        """
        Share of the calibration inputs with a cost within a margin, at the last state.

        Args:
            margin (`float`): The largest cost of a mask.

        Returns:
            `float` or `None`: `None` without calibration.
        """
        return None

    def cost_by_share(self) -> dict[str, list[tuple[float, float]]] | None:
        """
        Mean cost of masks by kept share, over the calibration inputs.

        Returns:
            `dict[str, list[tuple[float, float]]]` or `None`: For each state, kept share and mean cost at each
            threshold; `None` if masks have only one kept share.
        """
        return None

    def check(self, on_violation: str, **asked: Any) -> None:
        """
        Refuses arguments of the pipeline that these masks do not support.

        Args:
            on_violation (`str`): Treatment of masks outside the margin.
            asked: `margin`, `label` and `curve`, each `None` if not given.

        Raises:
            DiffMaskError: If an argument is for other explainers.
        """
        raise NotImplementedError


def refuse(name: str) -> DiffMaskError:
    """The error for an argument that only masks from evidence support."""
    return DiffMaskError(f"`{name}` is for explainers that were trained with --recipe ablation.")


@torch.no_grad()
def fill(store: nn.Module, buffers: dict[str, Tensor]) -> None:
    """Writes values into the buffers of an explainer."""
    for name, value in buffers.items():
        getattr(store, name).copy_(value)
