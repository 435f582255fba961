"""Probes: from hidden states to gate logits."""

import torch
from torch import Tensor, nn

from . import heads
from .configuration_diffmask import DiffMaskConfig


class DiffMaskProbes(nn.Module):
    """
    One two-layer probe for each state, all of them computed as one batched product.

    `alpha_l = 10 * tanh(w_l . tanh(W_l [h0 ; h_l] + b_l)) + c_l` (paper, appendix), and with hidden masking `h_l`
    alone in the place of `[h0 ; h_l]`. `w_l` and `c_l` are those of the predicted class: which words are evidence
    *for* a prediction depends on what it is, and a probe this small does not learn both at once. Without
    `class_conditional` there is one of each for all classes, as in the paper. With `read_context` they read
    `[h0 ; h_l ; m_l ; o]`, where `m_l` is the mean of `h_l` over the input and `o` tells the log-odds of the
    prediction: whether a unit's evidence is needed depends on how much there is elsewhere. `W_l` is kept in parts, one
    for each of these, since they may differ in width; state 0 has neither the second nor the third.
    """

    def __init__(self, config: DiffMaskConfig):
        super().__init__()
        count, width = config.num_states, config.probe_size
        # Probes that read state 0: all of them with input masking, else its own.
        self.readers = count if config.votes_multiply else 1
        self.normalize = config.normalize_states
        classes = config.num_labels if config.class_conditional else 1
        self.embedding_weight = nn.Parameter(torch.empty(config.embedding_size, self.readers * width))
        self.state_weight = nn.Parameter(torch.empty(max(0, count - 1), config.hidden_size, width))
        if config.read_context:
            self.mean_weight = nn.Parameter(torch.empty_like(self.state_weight))
            self.confidence_weight = nn.Parameter(torch.empty(count, width))
        self.bias = nn.Parameter(torch.empty(count, width))
        self.out_weight = nn.Parameter(torch.empty(classes, count, width))
        self.out_bias = nn.Parameter(torch.empty(classes, count))

    def forward(self, states: list[Tensor], target: Tensor, units: Tensor) -> Tensor:
        """
        Gate logits of every unit at every state.

        Args:
            states (`list[torch.Tensor]`): `S` hidden states, `(B, T, d_s)` each.
            target (`torch.Tensor` of shape `(B, C)` or `(B, 2, T)`): Log-probabilities of the prediction, in nats.
            units (`torch.Tensor` of shape `(B, T)`): Units that the mean state is taken over.

        Returns:
            `torch.Tensor` of shape `(B, T, S)`: Gate logits `alpha`.
        """
        batch, length = states[0].shape[:2]
        dtype = self.bias.dtype
        embeddings = states[0].reshape(batch * length, -1).to(dtype)
        others = self.state_weight.new_empty(0, batch * length, self.state_weight.shape[1])
        if len(states) > 1:
            others = torch.stack(states[1:]).flatten(1, 2).to(dtype)
        # layer_norm(x) @ W is x @ (W, its columns centred), divided by x's deviation: two passes over x less.
        from_embeddings = embeddings @ self._centered(self.embedding_weight) * self._scale(embeddings)
        from_embeddings = from_embeddings.reshape(batch * length, self.readers, -1)
        scale = self._scale(others)
        read = (torch.bmm(others, self._centered(self.state_weight)) * scale).transpose(0, 1)
        if self.readers > 1:
            read = read + from_embeddings[:, 1:]
        hidden = (torch.cat([from_embeddings[:, :1], read], dim=1) + self.bias).reshape(
            batch, length, *self.bias.shape
        )
        if hasattr(self, "mean_weight"):
            share = (units / units.sum(-1, keepdim=True).clamp(min=1)).to(dtype)
            share = share[:, None] * scale.view(-1, batch, 1, length)
            means = (share @ others.view(-1, batch, length, others.shape[-1])).squeeze(2)
            hidden[:, :, 1:] += torch.bmm(means, self._centered(self.mean_weight)).transpose(0, 1)[:, None]
            # Centred and scaled: 0 stands for log-odds of 3, a probability of 0.95.
            hidden += ((heads.confidence(target) / 3 - 1).to(dtype)[:, None, None] * self.confidence_weight)[:, None]
        hidden = torch.tanh(hidden)
        # One dot product a unit and state: the outputs for other classes are not computed.
        classes = target.argmax(-1) if len(self.out_bias) > 1 else target.new_zeros(batch, dtype=torch.long)
        weight, level = self.out_weight[classes][:, None], self.out_bias[classes][:, None]
        return 10 * torch.tanh((hidden * weight).sum(-1)) + level

    def _centered(self, weight: Tensor) -> Tensor:
        return weight - weight.mean(-2, keepdim=True) if self.normalize else weight

    def _scale(self, vectors: Tensor) -> Tensor:
        """One over the standard deviation of each vector, `(..., 1)`; 1 where states are read as they are."""
        if not self.normalize:
            return vectors.new_ones(*vectors.shape[:-1], 1)
        square = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True).square() / vectors.shape[-1]
        variance = square - vectors.mean(-1, keepdim=True).square()
        return (variance.clamp(min=0) + 1e-5).rsqrt()
