"""A batch whose units can be masked at one state, for all methods."""

from torch import Tensor

from ..base.running import Recorded, masked_state
from ..errors import DiffMaskError
from .modeling_diffmask import DiffMaskModel


class Masking:
    """
    A batch of inputs, the base model, and the state at which units are masked.

    The explainer's baseline replaces masked units, so results of all methods are comparable. The probes are not used.

    Args:
        explainer ([`DiffMaskModel`]): Holds base model, baselines and margin.
        features (`dict[str, torch.Tensor]`):
            Arguments of the base model, `(B, T)` each, and `special_tokens_mask`.
        state (`int`, *optional*, defaults to 0): Number of the state. With input masking only 0.

    Attributes:
        recorded ([`Recorded`]): Output and states for the whole inputs.
        target (`torch.Tensor` of shape `(B, C)`, `(B, 2, T)` or `(B, 1)`):
            Output for the whole inputs: log-probabilities in nats, or a number.
        hidden (`torch.Tensor` of shape `(B, T, d)`): The state for the whole inputs.
        recorded ([`Recorded`]): Both, for [`~hf_diffmask.ablations.running.masked_values`].
        baseline (`torch.Tensor` of shape `(d,)`): Replaces masked units.
        maskable (`torch.BoolTensor` of shape `(B, T)`): Units that can be masked.

    Raises:
        DiffMaskError: If the state does not exist, or the explainer has no baseline for it.
    """

    def __init__(self, explainer: DiffMaskModel, features: dict[str, Tensor], state: int = 0):
        if not -explainer.config.num_states <= state < explainer.config.num_states:
            raise DiffMaskError(f"There is no state {state}: the base model has {explainer.config.num_states}.")
        self.state = state % explainer.config.num_states
        self.explainer = explainer
        self.batch = explainer.batch(**features)
        self.maskable = self.batch.maskable
        self.baseline = explainer.baseline_at(self.state).detach()
        target, states = explainer.record(self.batch)[:2]
        self.target, self.hidden = target, states[self.state]
        others = self.hidden.new_empty(0)  # only one state is used, the others are freed
        kept = [self.hidden if number == self.state else others for number in range(len(states))]
        self.recorded = Recorded(target, kept, self.batch)

    @property
    def name(self) -> str:
        """Name of the state (`str`)."""
        return self.explainer.config.state_names[self.state]

    @property
    def margin(self) -> float:
        """The largest cost of a mask (`float`)."""
        return self.explainer.margin()

    def predict(self, hidden: Tensor, rows: Tensor | None = None) -> Tensor:
        """
        Runs the base model from the state on, with gradients for `hidden`.

        Args:
            hidden (`torch.Tensor` of shape `(N, T, d)`): The state to run from.
            rows (`torch.Tensor` of shape `(N,)`, *optional*): The input of each row; all `B` by default.

        Returns:
            `torch.Tensor` of shape `(N, C)`, `(N, 2, T)` or `(N, 1)`: Output; log-probabilities are in nats.
        """
        batch = self.batch if rows is None else self.batch.rows(rows)
        return self.explainer.run_from(self.state, hidden.to(self.hidden.dtype), batch)

    def log_probability(self, hidden: Tensor, rows: Tensor | None = None) -> Tensor:
        """
        Log-probability of the original prediction after the state is replaced.

        Args:
            hidden (`torch.Tensor` of shape `(N, T, d)`): The state to run from.
            rows (`torch.Tensor` of shape `(N,)`, *optional*): The input of each row; all `B` by default.

        Returns:
            `torch.Tensor` of shape `(N,)`: In nats; for an answer, start and end together.
        """
        target = self.target if rows is None else self.target[rows]
        return self.explainer.task.log_probability(target, self.predict(hidden, rows))

    def mask(self, mask: Tensor, rows: Tensor | None = None) -> Tensor:
        """
        The masked state, `z * h + (1 - z) * b` (paper, equation 2).

        Args:
            mask (`torch.Tensor` of shape `(N, T)`): `z`, in [0, 1] or `bool`; units that cannot be masked are kept.
            rows (`torch.Tensor` of shape `(N,)`, *optional*): The input of each row.

        Returns:
            `torch.Tensor` of shape `(N, T, d)`.
        """
        hidden, batch = (self.hidden, self.batch) if rows is None else (self.hidden[rows], self.batch.rows(rows))
        keep = mask.to(self.baseline.dtype).masked_fill(~batch.maskable, 1.0)
        return masked_state(hidden, batch.spread(keep), self.baseline)

    def cost(self, mask: Tensor, rows: Tensor | None = None) -> Tensor:
        """
        The cost of masks, as the margin measures it; see [`DiffMaskModel.cost`].

        Args:
            mask (`torch.Tensor` of shape `(N, T)`): `z`, in [0, 1] or `bool`.
            rows (`torch.Tensor` of shape `(N,)`, *optional*): The input of each row; all `B` by default.

        Returns:
            `torch.Tensor` of shape `(N,)`: The divergence, or the drop of the predicted choice.
        """
        target = self.target if rows is None else self.target[rows]
        return self.explainer.cost(target, self.predict(self.mask(mask, rows), rows))

    def divergence(self, mask: Tensor, rows: Tensor | None = None) -> Tensor:
        """
        Divergence of the masked output from the whole output.

        Args:
            mask (`torch.Tensor` of shape `(N, T)`): `z`, in [0, 1] or `bool`.
            rows (`torch.Tensor` of shape `(N,)`, *optional*): The input of each row.

        Returns:
            `torch.Tensor` of shape `(N,)`: `D( f(x) || f(x_hat) )`, in nats for classes and answers.
        """
        target = self.target if rows is None else self.target[rows]
        return self.explainer.task.divergence(target, self.predict(self.mask(mask, rows), rows))
