"""The optimiser of the recipe `paper`."""

from typing import Any

import torch


class LookaheadRMSprop(torch.optim.RMSprop):
    """
    Centred RMSprop inside Lookahead (Zhang et al. 2019): every 6 steps the weights move half-way back to their values
    6 steps before.

    Args:
        groups (`list[dict]`): Parameter groups.
    """

    ALPHA, PERIOD = 0.5, 6

    def __init__(self, groups: list[dict[str, Any]]):
        super().__init__(groups, centered=True)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step; see [`torch.optim.RMSprop`]."""
        parameters = [value for group in self.param_groups for value in group["params"] if value.grad is not None]
        # RMSprop sets up its state only if the state is empty, so "slow" is added after its step.
        before = {value: value.clone() for value in parameters if "slow" not in self.state[value]}
        result = super().step(closure)
        for value in parameters:
            state = self.state[value]
            if value in before:
                state["slow"] = before[value]
            if int(state["step"]) % self.PERIOD == 0:
                state["slow"].lerp_(value, self.ALPHA)
                value.copy_(state["slow"])
        return result
