"""Probes: turn hidden states into gate logits."""

import torch
from torch import Tensor, nn
from transformers import initialization as init

from ..base.running import Recorded
from ..masks.evidence import EvidenceMasks
from ..masks.paths import PathMasks
from ..masks.registry import MASKS
from ..masks.votes import VoteMasks
from ..tasks.heads import widen
from ..tasks.registry import TASKS
from .configuration_diffmask import DiffMaskConfig
from .evidence_probes import EvidenceProbes


class DiffMaskProbes(nn.Module):
    """
    One two-layer probe for each state.

    `alpha_l = 10 * tanh(w_l . tanh(W_l [h0 ; h_l] + b_l)) + c_l` (paper, appendix). With hidden masking a probe reads
    only `h_l`. With `class_conditional`, each choice has its own `w_l` and `c_l`: a small probe cannot learn the
    evidence for all choices. With `read_context` a probe reads `[h0 ; h_l ; m_l ; o]`: `m_l` is the mean of `h_l` over
    the input, `o` the confidence of the prediction. A unit is needed less if other units hold more evidence. `W_l` has
    one part for each feature, since widths differ; state 0 has only the first and the last part. With `share_mean` all
    states share the part for `m_l`.

    Scores of a path are `w_l . tanh(...)`: a ranking needs neither bounds nor a level.
    """

    def __init__(self, config: DiffMaskConfig):
        super().__init__()
        count, width = config.num_states, config.probe_size
        # Number of probes that read state 0: all with input masking, else one.
        self.readers = count if config.masks_inputs else 1
        self.normalize = config.normalize_states
        self.task = TASKS[config.task](config.task_constants)
        classes = self.task.choices(config) if config.class_conditional else 1
        self.embedding_weight = nn.Parameter(torch.empty(config.embedding_size, self.readers * width))
        self.state_weight = nn.Parameter(torch.empty(max(0, count - 1), config.hidden_size, width))
        if config.read_context:
            readers = min(1, count - 1) if config.share_mean else count - 1
            self.mean_weight = nn.Parameter(torch.empty(readers, config.hidden_size, width))
            self.confidence_weight = nn.Parameter(torch.empty(count, width))
        self.bias = nn.Parameter(torch.empty(count, width))
        self.out_weight = nn.Parameter(torch.empty(classes, count, width))
        if MASKS[config.objective].has_levels:
            self.out_bias = nn.Parameter(torch.empty(classes, count))

    @torch.no_grad()
    def initialize(self, config: DiffMaskConfig) -> None:
        """
        Draws initial weights. Weights from a checkpoint stay.

        Args:
            config ([`DiffMaskConfig`]): The explainer's config.
        """
        # Bounds depend on the number of features of a probe: [h0 ; h_l], or only h_l.
        bound = (config.embedding_size + config.hidden_size) ** -0.5
        own = config.hidden_size**-0.5
        init.uniform_(self.embedding_weight, -bound, bound)
        init.uniform_(self.state_weight, *((-bound, bound) if config.masks_inputs else (-own, own)))
        if config.read_context:
            init.uniform_(self.mean_weight, -bound, bound)
            init.uniform_(self.confidence_weight, -5 * bound, 5 * bound)
        if config.masks_inputs:
            init.zeros_(self.bias)
        else:
            # Random biases spread the bends of tanh over the range of the features.
            init.uniform_(self.bias, -1, 1)
        init.uniform_(self.out_weight, -(config.probe_size**-0.5), config.probe_size**-0.5)
        if hasattr(self, "out_bias"):
            init.constant_(self.out_bias, float(config.initial_logit))

    def score(
        self, recorded: Recorded, choice: Tensor | None = None, evidence: Tensor | None = None
    ) -> tuple[Tensor, None]:
        """
        Scores of the units, see [`DiffMaskProbes.forward`].

        Args:
            recorded ([`Recorded`]): The base model's output and states for the whole inputs.
            choice (`torch.Tensor` of shape `(B,)`, *optional*): The choice to explain; by default the predicted one.
            evidence (`torch.Tensor`, *optional*): Always `None`: these probes have no evidence for every choice.

        Returns:
            `tuple`: Gate logits or scores, `(B, T, S)`, and `None`.
        """
        return widen(self(recorded.states, recorded.target, recorded.batch.maskable, choice)), None

    def forward(self, states: list[Tensor], target: Tensor, units: Tensor, classes: Tensor | None = None) -> Tensor:
        """
        Gate logits, or scores of a path, of every unit at every state.

        Args:
            states (`list[torch.Tensor]`): `S` hidden states, `(B, T, d_s)` each.
            target (`torch.Tensor` of shape `(B, C)`, `(B, 2, T)` or `(B, 1)`): The base model's output.
            units (`torch.Tensor` of shape `(B, T)`): Units that count in the mean state, `bool`.
            classes (`torch.Tensor` of shape `(B,)`, *optional*):
                The choice to explain for each example; by default the predicted one.

        Returns:
            `torch.Tensor` of shape `(B, T, S)`: Gate logits `alpha`, or scores.
        """
        batch, length = states[0].shape[:2]
        dtype, width = self.bias.dtype, self.bias.shape[1]
        # Uses only the weights of the explained choice.
        if len(self.out_weight) == 1:
            classes = target.new_zeros(batch, dtype=torch.long)
        elif classes is None:
            classes = self.task.predicted(target)
        weight = self.out_weight[classes]
        context = self.bias.expand(batch, -1, -1)
        if hasattr(self, "mean_weight"):
            share = (units / units.sum(-1, keepdim=True).clamp(min=1)).to(dtype)
            # Centred and scaled: log-odds of 3, a probability of 0.95, become 0.
            surely = (self.task.confidence(target) / 3 - 1).to(dtype)
            context = context + surely[:, None, None] * self.confidence_weight
        embeddings = states[0].flatten(0, 1).to(dtype)
        from_embeddings = (embeddings @ self._centered(self.embedding_weight)).mul_(self._scale(embeddings))
        logits = []
        # State by state: the values of one probe fit into the processor's cache.
        for number, state in enumerate(states):
            added = context[:, number]
            # Empty if the probe does not read state 0.
            hidden = from_embeddings[:, number * width : (number + 1) * width]
            if number > 0:
                vectors = state.flatten(0, 1).to(dtype)
                scale = self._scale(vectors)
                # Cheaper form of layer_norm(x) @ W: x @ (W with centred columns) / standard deviation of x.
                read = vectors @ self._centered(self.state_weight[number - 1])
                hidden = torch.addcmul(hidden, read, scale) if number < self.readers else read * scale
                if hasattr(self, "mean_weight"):
                    mean = (share * scale.view(batch, length))[:, None] @ vectors.view(batch, length, -1)
                    by = self.mean_weight[min(number, len(self.mean_weight)) - 1]
                    added = added + mean[:, 0] @ self._centered(by)
            hidden = (hidden.view(batch, length, width) + added[:, None]).tanh_()
            logits.append((hidden * weight[:, number, None]).sum(-1))
        scores = torch.stack(logits, dim=-1)
        return 10 * torch.tanh(scores) + self.out_bias[classes][:, None] if hasattr(self, "out_bias") else scores

    def _centered(self, weight: Tensor) -> Tensor:
        return weight - weight.mean(-2, keepdim=True) if self.normalize else weight

    def _scale(self, vectors: Tensor) -> Tensor:
        """One over the standard deviation of each vector, `(N, 1)`; 1 without `normalize_states`."""
        if not self.normalize:
            return vectors.new_ones(len(vectors), 1)
        square = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True).square() / vectors.shape[-1]
        return (square - vectors.mean(-1, keepdim=True).square() + 1e-5).clamp(min=1e-5).rsqrt()


# Probes by the `objective` of a config.
PROBES: dict[str, type[DiffMaskProbes] | type[EvidenceProbes]] = {
    VoteMasks.name: DiffMaskProbes,
    PathMasks.name: DiffMaskProbes,
    EvidenceMasks.name: EvidenceProbes,
}
