"""Masks from evidence in log-odds: units with more evidence than a threshold are kept."""

from torch import Tensor

from .paths import PathMasks


class EvidenceMasks(PathMasks):
    """
    As [`PathMasks`], from evidence that adds up to log-odds: `objective="ablation"`.

    All columns are cut at the threshold of the explanation head, the last column.
    """

    name, has_levels, any_margin, has_evidence = "ablation", False, True, True
    on_violation = ("keep", "search", "abstain")
    adds_up = True
    beside_states = ("explanation",)

    @classmethod
    def buffers(cls, columns: int) -> dict[str, Tensor]:
        """See [`Masks.buffers`]: one row, for the explanation head."""
        return super().buffers(1)

    def attribution(self, logits: Tensor, keep_probability: Tensor) -> Tensor:
        """See [`Masks.attribution`]: the scores of the explanation head."""
        return logits[..., -1]
