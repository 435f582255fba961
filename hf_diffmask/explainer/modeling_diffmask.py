"""The explainer: probes and a baseline over a frozen base model."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers import initialization as init

from ..base.running import Batch, Recorded, masked_state, record, replace
from ..errors import DiffMaskError
from ..masks.masks import Masks
from ..masks.registry import MASKS
from ..tasks.heads import widen
from ..tasks.preserved import PRESERVED, Preserved
from ..tasks.task import Task
from .configuration_diffmask import DiffMaskConfig
from .from_base import config_for, first_baseline
from .guest import Guest
from .outputs import DiffMaskOutput
from .probes import DiffMaskProbes
from .saving import SavedExplainer


class DiffMaskModel(SavedExplainer):
    """
    An explainer for a frozen base model (paper, section 3).

    The base model is never saved with the explainer, never trained, and always runs in eval mode; see
    [`~hf_diffmask.explainer.guest.Guest`].

    Args:
        config ([`DiffMaskConfig`]): What the explainer is.
        base_model ([`~transformers.PreTrainedModel`], *optional*): The base model, if it is already loaded.
        allow_base_mismatch (`bool`, *optional*, defaults to `False`):
            Whether to go on, with a warning, where the base model has other weights than the explainer was trained
            for. Its shapes have to be the same.

    Attributes:
        guest ([`Guest`]): Holds the base model.
        task ([`Task`]): Reads the outputs of the base model.
        preserved ([`Preserved`]): What explanations preserve: the whole output, or one choice.
        masks ([`Masks`]): Makes masks of scores.

    Raises:
        DiffMaskError: If `base_model` is not the model that the explainer was trained for.
    """

    config_class = DiffMaskConfig
    config: DiffMaskConfig
    guest: Guest
    task: Task
    preserved: Preserved
    masks: Masks
    base_model_prefix = ""
    main_input_name = "input_ids"

    def __init__(
        self, config: DiffMaskConfig, base_model: PreTrainedModel | None = None, allow_base_mismatch: bool = False
    ):
        super().__init__(config)
        if not config.state_names:
            raise DiffMaskError(
                f"{config.name_or_path or 'This config'} is no explainer: it names no states. Train one with "
                "`hf-diffmask train`, or make one with DiffMaskModel.from_base_model."
            )
        self.probes = DiffMaskProbes(config)
        self.baseline = nn.Parameter(torch.empty(config.embedding_size))
        if not config.masks_inputs:
            self.hidden_baselines = nn.Parameter(torch.empty(config.num_states - 1, config.hidden_size))
        for name, value in MASKS[config.objective].buffers(config.num_states).items():
            self.register_buffer(name, torch.empty_like(value))
        # Plain objects: a registered sub-module would be saved, moved and initialised again.
        self.guest = Guest(config, base_model, allow_base_mismatch)
        self.task = self.probes.task
        self.preserved = PRESERVED[config.target]
        self.masks = MASKS[config.objective](config, self)
        self.post_init()

    @classmethod
    def from_base_model(
        cls,
        base_model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase | None = None,
        states: Sequence[str] | None = None,
        **config: Any,
    ) -> "DiffMaskModel":
        """
        Makes an untrained explainer for a base model.

        Args:
            base_model ([`~transformers.PreTrainedModel`]): A model of one of the supported tasks.
            tokenizer ([`~transformers.PreTrainedTokenizerBase`], *optional*):
                Its tokenizer: the baseline starts at the embedding of its mask token (paper, section 3.1), or of its
                unknown token, else at the mean embedding. Those of other states start at their means, see
                [`~hf_diffmask.training.baseline.start_at_mean_states`].
            states (`Sequence[str]`, *optional*):
                Names of its states, in the order in which they are computed: `embeddings` or paths of modules, for a
                model without blocks. The first is the one that input masking masks.
            config: Further fields of [`DiffMaskConfig`], such as `margin` and `masking`. Of a base model from the Hub
                that is not of the main branch, `base_model_revision` has to name the commit.

        Returns:
            [`DiffMaskModel`]: The explainer, holding `base_model`.

        Raises:
            DiffMaskError: If no task covers the base model, or its hidden states cannot be read.
        """
        explainer = cls(config_for(base_model, states, **config))
        explainer.guest.hold(base_model)
        if explainer.config.state_names[0] == "embeddings":
            with torch.no_grad():
                explainer.baseline.copy_(first_baseline(base_model, tokenizer))
        return explainer.to(base_model.get_input_embeddings().weight.device)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, DiffMaskProbes):
            module.initialize(self.config)
        elif isinstance(module, DiffMaskModel):
            for baseline in module.baselines():
                init.zeros_(baseline)
            for name, value in MASKS[self.config.objective].buffers(self.config.num_states).items():
                init.copy_(getattr(module, name), value)

    def baselines(self) -> list[nn.Parameter]:
        """Parameters that hold baselines (`list[torch.nn.Parameter]`): `(d,)` of state 0, then `(S - 1, d)`."""
        return [self.baseline, *([] if self.config.masks_inputs else [self.hidden_baselines])]

    def baseline_at(self, state: int) -> Tensor:
        """
        The vector that stands in for a masked unit at a state.

        Args:
            state (`int`): Number of the state, from 0. With input masking units are masked at state 0 only.

        Returns:
            `torch.Tensor` of shape `(d,)`.

        Raises:
            DiffMaskError: If the explainer masks no units there.
        """
        if state == 0:
            return self.baseline
        if self.config.masks_inputs:
            raise DiffMaskError(
                f"This explainer masks inputs and has no baseline for the state {self.config.state_names[state]!r}: "
                'train one with masking="hidden".'
            )
        return self.hidden_baselines[state - 1]

    @property
    def base(self) -> PreTrainedModel:
        """The base model ([`~transformers.PreTrainedModel`]), loaded on first use; see [`Guest.base_on`].

        Raises:
            DiffMaskError: If it cannot be loaded, does not match the explainer, or lies on another device.
        """
        return self.guest.base_on(self.device)

    def set_constants(self, constants: dict[str, Any]) -> None:
        """
        Adds constants of the task.

        Args:
            constants (`dict`): For `config.task_constants`.
        """
        self.config.task_constants = {**(self.config.task_constants or {}), **constants}
        self.task.constants = self.config.task_constants

    def margin(self, asked: float | None = None) -> float:
        """
        What a mask may cost.

        Args:
            asked (`float`, *optional*): A margin that was asked for.

        Returns:
            `float`: That one, or else the config's.
        """
        return float(self.config.margin if asked is None else asked)

    def batch(
        self,
        special_tokens_mask: Tensor | None = None,
        example_ids: Tensor | None = None,
        **inputs: Tensor,
    ) -> Batch:
        """
        Makes a batch of features.

        Args:
            special_tokens_mask (`torch.Tensor` of shape `(B, T)`, *optional*): 1 at special tokens, which are not
                masked unless the config says so.
            example_ids (`torch.Tensor` of shape `(B,)`, *optional*): Number of each example in its data set.
            inputs (`torch.Tensor`): What the base model's `forward` takes, `(B, T)` each.

        Returns:
            [`Batch`]
        """
        mask = inputs.get("attention_mask")
        units = torch.ones_like(inputs["input_ids"], dtype=torch.bool) if mask is None else mask.bool()
        special = torch.zeros_like(units) if special_tokens_mask is None else special_tokens_mask.bool()
        return Batch(inputs, units if self.config.mask_special_tokens else units & ~special, special, example_ids)

    @torch.no_grad()
    def record(self, batch: Batch) -> Recorded:
        """
        Runs the frozen base model on whole inputs.

        Args:
            batch ([`Batch`]): The inputs.

        Returns:
            [`Recorded`]: The output and the hidden states.
        """
        output, states = record(self.base, batch.inputs, self.config.state_names)
        return Recorded(self.task.target(output, batch.inputs.get("attention_mask")), states, batch)

    def masked(self, recorded: Recorded, mask: Tensor, state: Tensor | int = -1) -> Tensor:
        """
        Runs the base model on `z * h_l + (1 - z) * b_l` (paper, equations 2 and 7), on from state `l` only.

        With input masking `l` is state 0, whichever state the mask was predicted from.

        Args:
            recorded ([`Recorded`]): What the base model computes on the whole inputs.
            mask (`torch.Tensor` of shape `(B, T)`): `z`, in [0, 1] or `bool`; 1 keeps a unit. Units that cannot be
                masked are kept.
            state (`torch.Tensor` of shape `(B,)` or `int`, *optional*, defaults to the last):
                The state of each example, or of all.

        Returns:
            `torch.Tensor` of the shape of `recorded.target`: Output on the masked inputs.
        """
        keep = (
            mask | ~recorded.batch.maskable
            if mask.dtype == torch.bool
            else mask.masked_fill(~recorded.batch.maskable, 1.0)
        )
        if isinstance(state, int) or self.config.masks_inputs:
            number = self.config.masked_at(state) if isinstance(state, int) else 0
            return self._masked_at(number, keep, recorded.states[number], recorded.batch)
        # Examples of one state at a time, so that none is run from lower than it need be.
        order, parts = [], []
        for number in state.unique().tolist():
            rows = torch.where(state == number)[0]
            hidden = recorded.states[number][rows]
            parts.append(self._masked_at(number, keep[rows], hidden, recorded.batch.rows(rows)))
            order.append(rows)
        return torch.cat(parts)[torch.cat(order).argsort()]

    def _masked_at(self, state: int, keep: Tensor, hidden: Tensor, batch: Batch) -> Tensor:
        masked = masked_state(hidden, keep, self.baseline_at(state)).to(hidden.dtype)
        return self.run_from(state, masked, batch)

    def run_from(self, state: int, hidden: Tensor, batch: Batch) -> Tensor:
        """
        Runs the base model on from a state.

        Args:
            state (`int`): Number of the state.
            hidden (`torch.Tensor` of shape `(B, T, d)`): What the model shall see there.
            batch ([`Batch`]): The inputs.

        Returns:
            `torch.Tensor` of shape `(B, ...)`: Output.
        """
        output = replace(self.base, batch.inputs, self.config.state_names[state], hidden)
        return self.task.target(output, batch.inputs.get("attention_mask"))

    def cost(self, target: Tensor, masked: Tensor, classes: Tensor | None = None) -> Tensor:
        """
        What a mask costs, in the terms of the margin.

        Args:
            target (`torch.Tensor` of shape `(B, ...)`): Output on the whole input.
            masked (`torch.Tensor` of the same shape): Output on the masked input.
            classes (`torch.Tensor` of shape `(B,)`, *optional*): The choice explained; by default the predicted one.

        Returns:
            `torch.Tensor` of shape `(B,)`: The divergence, or with `target="prediction"` the drop of the choice,
            below 0 where it rises.
        """
        return self.preserved.cost(self.task, target, masked, classes)

    def attribution(self, output: DiffMaskOutput) -> Tensor:
        """
        One score for each unit, by which an input's units are ranked; see [`Masks.attribution`].

        Args:
            output ([`DiffMaskOutput`]): Of this explainer.

        Returns:
            `torch.Tensor` of shape `(B, T)`
        """
        return self.masks.attribution(output["logits"], output["keep_probability"])

    def explain(
        self, recorded: Recorded, classes: Tensor | None = None, margin: float | None = None
    ) -> DiffMaskOutput:
        """
        Keep probability of each unit at each state, from what the base model computed.

        Args:
            recorded ([`Recorded`]): What the base model computes on the whole inputs.
            classes (`torch.Tensor` of shape `(B,)`, *optional*): The choice explained; by default the predicted one.
            margin (`float`, *optional*): What masks may cost, for paths; by default the config's.

        Returns:
            [`DiffMaskOutput`]
        """
        maskable = recorded.batch.maskable
        logits = widen(self.probes(recorded.states, recorded.target, maskable, classes))
        keep = self.masks.keep(logits, maskable, self.margin(margin))
        return DiffMaskOutput(keep, recorded.target, maskable, logits)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        special_tokens_mask: Tensor | None = None,
        recorded: Recorded | None = None,
        classes: Tensor | None = None,
        margin: float | None = None,
        draw: Callable[["DiffMaskModel", DiffMaskOutput, Recorded], None] | None = None,
        **features: Tensor,
    ) -> DiffMaskOutput:
        """
        Runs the base model, then [`DiffMaskModel.explain`].

        Args:
            input_ids (`torch.Tensor` of shape `(B, T)`, *optional*): Token ids; not needed with `recorded`.
            attention_mask (`torch.Tensor` of shape `(B, T)`, *optional*): 0 at padding.
            special_tokens_mask (`torch.Tensor` of shape `(B, T)`, *optional*): 1 at special tokens.
            recorded ([`Recorded`], *optional*): What the base model computes on this batch, if it is known already.
            classes (`torch.Tensor` of shape `(B,)`, *optional*): The choice explained; by default the predicted one.
            margin (`float`, *optional*): What masks may cost, for paths; by default the config's.
            draw (`Callable`, *optional*): In training: draws masks, runs them, and adds their outputs to the result.
            features (`torch.Tensor`): Whatever else the base model takes.

        Returns:
            [`DiffMaskOutput`]
        """
        if recorded is None:
            inputs = {"input_ids": input_ids, "attention_mask": attention_mask, **features}
            given = {name: value for name, value in inputs.items() if value is not None}
            recorded = self.record(self.batch(special_tokens_mask, **given))
        output = self.explain(recorded, classes, margin)
        if draw is not None:
            draw(self, output, recorded)
        return output
