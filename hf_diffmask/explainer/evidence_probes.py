"""Probes that give evidence in log-odds: one for each state, and the explanation head for the final scores."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import initialization as init

from ..base.flow import Flow
from ..base.running import Recorded
from ..tasks.heads import widen
from ..tasks.preserved import PRESERVED
from ..tasks.registry import TASKS
from ..tasks.task import Task
from .configuration_diffmask import DiffMaskConfig

Features = dict[str, Tensor]
# Largest number of values, in all states but the first, that are read at once.
SMALL = 2**16


class EvidenceProbes(nn.Module):
    """
    Evidence of each unit for each choice, in log-odds: what a mask loses by leaving the unit out.

    A state's probe reads only `h_0` and `h_l`, so it shows what the state knows. The explanation head reads everything
    that helps, see [`ExplanationHead`]; its evidence is the last column. Of two exclusive choices, evidence for one is
    evidence against the other.

    Args:
        config ([`DiffMaskConfig`]): The explainer's config.
    """

    def __init__(self, config: DiffMaskConfig):
        super().__init__()
        self.config = config
        self.task = TASKS[config.task](config.task_constants)
        count, width = config.num_states, config.state_probe_size
        self.choices = max(1, self.task.choices(config))
        self.is_opposed = self.task.exclusive and self.choices == 2
        outputs = 1 if self.is_opposed else self.choices
        self.embedding_weight = nn.Parameter(torch.empty(config.embedding_size, width))
        self.state_weight = nn.Parameter(torch.empty(max(0, count - 1), config.hidden_size, width))
        self.bias = nn.Parameter(torch.empty(count, width))
        self.out_weight = nn.Parameter(torch.empty(count, width, outputs))
        self.head = ExplanationHead(config, self.task, outputs)

    @torch.no_grad()
    def initialize(self, config: DiffMaskConfig) -> None:
        """
        Draws initial weights. Weights from a checkpoint stay.

        Args:
            config ([`DiffMaskConfig`]): The explainer's config.
        """
        bound = (config.embedding_size + config.hidden_size) ** -0.5
        init.uniform_(self.embedding_weight, -bound, bound)
        init.uniform_(self.state_weight, -bound, bound)
        init.zeros_(self.bias)
        init.uniform_(self.out_weight, -(config.state_probe_size**-0.5), config.state_probe_size**-0.5)
        self.head.initialize()

    def forward(self, recorded: Recorded) -> Tensor:
        """
        Evidence for every choice.

        Args:
            recorded ([`Recorded`]): The base model's output, states and flow for the whole inputs.

        Returns:
            `torch.Tensor` of shape `(B, T, S + 1, K)`: In nats.
        """
        first, *others = recorded.states
        last = first = _normalised(first, self.bias.dtype)
        shared = first @ self.embedding_weight
        if others and len(others) * others[0].numel() <= SMALL:
            columns, last = self._at_once(shared, others)
        else:
            columns = [F.gelu(shared + self.bias[0]) @ self.out_weight[0]]
            # State by state: a normalised state does not outlive its column, which saves memory and time.
            for state, weight, bias, out_weight in zip(
                others, self.state_weight, self.bias[1:], self.out_weight[1:], strict=True
            ):
                last = _normalised(state, self.bias.dtype)
                columns.append(F.gelu(shared + bias + last @ weight) @ out_weight)
        evidence = widen(torch.stack([*columns, self.head(first, last, recorded)], dim=2))
        evidence = recorded.batch.pooled(evidence)
        return torch.cat([-evidence, evidence], dim=-1) if self.is_opposed else evidence

    def _at_once(self, shared: Tensor, others: list[Tensor]) -> tuple[list[Tensor], Tensor]:
        """Evidence of every state, and the last state, normalised. Few operations are faster for small inputs."""
        states = _normalised(torch.stack(others), self.bias.dtype).flatten(1, 2)
        # The probe of state 0 reads the embeddings only: a row of zeros stands in the place of its own state.
        read = F.pad(states @ self.state_weight, (0, 0, 0, 0, 1, 0)) + shared.flatten(0, 1) + self.bias[:, None]
        evidence = F.gelu(read) @ self.out_weight
        return list(evidence.view(-1, *shared.shape[:2], evidence.shape[-1])), states[-1].view(others[-1].shape)

    def score(
        self, recorded: Recorded, choice: Tensor | None = None, evidence: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """
        Scores of the units: evidence for the explained choice; for the whole output, the mean size of the evidence
        for all choices, weighted by their probabilities.

        Args:
            recorded ([`Recorded`]): The base model's output, states and flow for the whole inputs.
            choice (`torch.Tensor` of shape `(B,)`, *optional*): The choice; by default the predicted one.
            evidence (`torch.Tensor`, *optional*): Result of [`EvidenceProbes.forward`], if already known.

        Returns:
            `tuple`: Scores, `(B, T, S + 1)`, and evidence for every choice, see [`EvidenceProbes.forward`].
        """
        evidence, target = self(recorded) if evidence is None else evidence, recorded.target
        if PRESERVED[self.config.target].of_choice:
            chosen = self.task.predicted(target) if choice is None else choice
            logits = evidence.gather(-1, chosen[:, None, None, None].expand(*evidence.shape[:-1], 1))[..., 0]
        elif self.task.has_choices:
            logits = (evidence.abs() * self.task.choice_log_probabilities(target).exp()[:, None, None]).sum(-1)
        else:
            logits = evidence[..., 0]
        return logits, evidence


def _normalised(state: Tensor, dtype: torch.dtype) -> Tensor:
    return F.layer_norm(state.to(dtype), state.shape[-1:])


class ExplanationHead(nn.Module):
    """
    The head whose evidence is handed out.

    It reads the first and the last state of a unit, the mean of the last state, the last state at the positions that
    the base model's head reads (if they are known), and, with `read_flow`, what flows from the unit to these
    positions. One self-attention layer lets units know of one another.

    Args:
        config ([`DiffMaskConfig`]): The explainer's config.
        task ([`Task`]): Knows the positions that the base model's head reads.
        outputs (`int`): Number of evidence values of a unit.
    """

    flow_scale: Tensor

    def __init__(self, config: DiffMaskConfig, task: Task, outputs: int):
        super().__init__()
        width = config.probe_size
        self.embedding_weight = nn.Parameter(torch.empty(config.embedding_size, width))
        self.state_weight, self.mean_weight = (nn.Parameter(torch.empty(config.hidden_size, width)) for _ in range(2))
        self.positions = task.positions if task.knows_positions else None
        if self.positions:
            self.position_weight = nn.Parameter(torch.empty(config.hidden_size, width))
        if config.read_flow:
            size = config.flow_blocks * config.flow_size
            self.flow_weight = nn.Parameter(torch.empty(size, config.state_probe_size))
            self.flow_out_weight = nn.Parameter(torch.empty(config.state_probe_size, width))
            self.register_buffer("flow_scale", torch.empty(config.flow_blocks))
        self.bias = nn.Parameter(torch.empty(width))
        heads = next(number for number in (4, 2, 1) if width % number == 0)
        self.layer = nn.TransformerEncoderLayer(
            width, heads, 2 * width, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.out_weight = nn.Parameter(torch.empty(width, outputs))

    @torch.no_grad()
    def initialize(self) -> None:
        """Draws initial weights. Weights from a checkpoint stay."""
        for name, weight in self.named_parameters():
            if weight.dim() > 1:
                fan_in = weight.shape[1 if name.startswith("layer.") else 0]
                init.uniform_(weight, -(fan_in**-0.5), fan_in**-0.5)
            elif "norm" in name and name.endswith("weight"):
                init.ones_(weight)
            else:
                init.zeros_(weight)
        if hasattr(self, "flow_scale"):
            init.ones_(self.flow_scale)

    @torch.no_grad()
    def measure_scale(self, recorded: Iterable[Recorded]) -> None:
        """
        Measures the scale of each block's flow, one root mean square over data. So the size of a unit's share is kept.

        Args:
            recorded (`Iterable[Recorded]`): Some inputs, with their flow.
        """
        total, count = torch.zeros_like(self.flow_scale, dtype=torch.float64), 0
        for one in recorded:
            assert one.flow is not None
            units = one.batch.units
            shares = one.flow.shares[units].double()
            for block, values in enumerate(one.flow.values):
                total[block] += (values[units].double() * shares[:, block, :, None]).square().mean((1, 2)).sum()
            count += int(units.sum())
        self.flow_scale.copy_((total / max(1, count)).sqrt().clamp(min=1e-6))

    def forward(self, first: Tensor, last: Tensor, recorded: Recorded) -> Tensor:
        """
        Evidence of each unit.

        Args:
            first (`torch.Tensor` of shape `(B, T, d_0)`): State 0, normalised.
            last (`torch.Tensor` of shape `(B, T, d)`): The last state, normalised.
            recorded ([`Recorded`]): The base model's output and flow for the whole inputs.

        Returns:
            `torch.Tensor` of shape `(B, T, outputs)`
        """
        batch = recorded.batch
        tokens = batch.spread(batch.maskable)
        share = (tokens / tokens.sum(-1, keepdim=True).clamp(min=1)).to(last.dtype)
        mean = F.layer_norm((share[:, None] @ last), last.shape[-1:])
        hidden = first @ self.embedding_weight + last @ self.state_weight
        shared = mean @ self.mean_weight + self.bias
        if self.positions is not None:
            read = self.positions(recorded).mean(1, keepdim=True).to(last.dtype) @ last
            shared = shared + read @ self.position_weight
        hidden = hidden + shared
        if (flow := recorded.flow) is not None and hasattr(self, "flow_scale"):
            # Values at padding may be NaN, which the layer would spread.
            hidden = (hidden + self._read(flow)).masked_fill(~batch.units[..., None], 0)
        hidden = self.layer(hidden, src_key_padding_mask=~batch.units)
        return F.gelu(hidden) @ self.out_weight

    def _read(self, flow: Flow) -> Tensor:
        """What the flow adds to each unit, `(B, T, width)`."""
        shares = flow.shares.to(self.flow_scale.dtype) / self.flow_scale[:, None]
        found: Tensor | None = None
        # Block by block: a block fits into the processor's cache.
        for block, weight in enumerate(self.flow_weight.chunk(len(self.flow_scale))):
            given = flow.values[block].to(shares.dtype) * shares[:, :, block, :, None]
            rows = given.flatten(2).flatten(0, 1)
            found = rows @ weight if found is None else found.addmm(rows, weight)
        assert found is not None
        return (found @ self.flow_out_weight).view(*shares.shape[:2], -1)
