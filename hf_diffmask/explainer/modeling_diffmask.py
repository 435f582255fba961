"""The explainer: probes and a baseline over a frozen base model."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers import initialization as init

from ..base.running import Batch, Recorded, masked_state, replace
from ..base.unwrapped import unwrapped
from ..errors import DiffMaskError
from ..masks.masks import Masks
from ..masks.registry import MASKS
from ..tasks.preserved import PRESERVED, Preserved
from ..tasks.task import Task
from .configuration_diffmask import DiffMaskConfig
from .from_base import config_for, first_baseline
from .guest import Guest
from .outputs import DiffMaskOutput
from .probes import PROBES
from .recording import record_batch
from .saving import SavedExplainer


class DiffMaskModel(SavedExplainer):
    """
    An explainer for a frozen base model (paper, section 3).

    The base model is never saved with the explainer, never trained, and always in eval mode; see [`Guest`].

    Args:
        config ([`DiffMaskConfig`]): The explainer's configuration.
        base_model ([`~transformers.PreTrainedModel`], *optional*): The base model, if it is already loaded.
        allow_base_mismatch (`bool`, *optional*, defaults to `False`):
            Whether other weights of the base model give a warning instead of an error. Shapes must always match.

    Attributes:
        guest ([`Guest`]): Holds the base model.
        task ([`Task`]): Reads the outputs of the base model.
        preserved ([`Preserved`]): The part of the output that a mask preserves: all of it, or one choice.
        masks ([`Masks`]): Turns scores into masks.

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
                f"{config.name_or_path or 'This config'} is not an explainer: it names no states. Train one with "
                "`hf-diffmask train`, or make one with DiffMaskModel.from_base_model."
            )
        self.probes = PROBES[config.objective](config)
        self.baseline = nn.Parameter(torch.empty(config.embedding_size))
        if not config.masks_inputs:
            self.hidden_baselines = nn.Parameter(torch.empty(config.num_states - 1, config.hidden_size))
        for name, value in MASKS[config.objective].buffers(len(config.columns)).items():
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
        An untrained explainer for a base model.

        Args:
            base_model ([`~transformers.PreTrainedModel`]): A model of one of the supported tasks.
            tokenizer ([`~transformers.PreTrainedTokenizerBase`], *optional*):
                Its tokenizer, for the first baseline, see [`~hf_diffmask.explainer.from_base.first_baseline`].
                Baselines of other states: see [`~hf_diffmask.training.baseline.start_at_mean_states`].
            states (`Sequence[str]`, *optional*):
                State names for a model without blocks, in the order of computation: `embeddings` or module paths.
                Input masking masks the first one.
            config: Further fields of [`DiffMaskConfig`], such as `margin` and `masking`. `base_model_revision` must
                name the commit of a Hub model that is not from the main branch.

        Returns:
            [`DiffMaskModel`]: The explainer, holding `base_model`.

        Raises:
            DiffMaskError: If no task covers the base model, or its hidden states cannot be read.
        """
        base_model = unwrapped(base_model)
        explainer = cls(config_for(base_model, states, tokenizer, **config))
        explainer.guest.hold(base_model)
        if explainer.config.state_names[0] == "embeddings":
            with torch.no_grad():
                explainer.baseline.copy_(first_baseline(base_model, tokenizer))
        return explainer.to(base_model.get_input_embeddings().weight.device)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, PROBES[self.config.objective]):
            module.initialize(self.config)
        elif isinstance(module, DiffMaskModel):
            for baseline in module.baselines():
                init.zeros_(baseline)
            for name, value in MASKS[self.config.objective].buffers(len(self.config.columns)).items():
                init.copy_(getattr(module, name), value)

    def baselines(self) -> list[nn.Parameter]:
        """The baselines (`list[torch.nn.Parameter]`): `(d,)` for state 0; with hidden masking also `(S - 1, d)`."""
        return [self.baseline, *([] if self.config.masks_inputs else [self.hidden_baselines])]

    def baseline_at(self, state: int) -> Tensor:
        """
        The vector that replaces masked units at a state.

        Args:
            state (`int`): Number of the state, from 0. With input masking units are masked at state 0 only.

        Returns:
            `torch.Tensor` of shape `(d,)`.

        Raises:
            DiffMaskError: If the explainer masks no units at this state.
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
            DiffMaskError: If the base model cannot be loaded, does not match, or is on another device.
        """
        return self.guest.base_on(self.device)

    def set_constants(self, constants: dict[str, Any]) -> None:
        """
        Adds task constants to the config and the task.

        Args:
            constants (`dict`): Added to `config.task_constants`.
        """
        self.config.task_constants = {**(self.config.task_constants or {}), **constants}
        self.task.constants = self.config.task_constants

    def margin(self, asked: float | None = None) -> float:
        """
        The largest cost of a mask.

        Args:
            asked (`float`, *optional*): A margin from the caller.

        Returns:
            `float`: `asked`, or by default the config's margin.
        """
        return float(self.config.margin if asked is None else asked)

    def batch(
        self,
        special_tokens_mask: Tensor | None = None,
        example_ids: Tensor | None = None,
        explained_mask: Tensor | None = None,
        unit_of: Tensor | None = None,
        **inputs: Tensor,
    ) -> Batch:
        """
        A batch from features.

        Args:
            special_tokens_mask (`torch.Tensor` of shape `(B, T)`, *optional*): 1 at special tokens, see the config.
            example_ids (`torch.Tensor` of shape `(B,)`, *optional*): Number of each example in its data set.
            explained_mask (`torch.Tensor` of shape `(B, T)`, *optional*): 1 at positions whose output is explained.
            unit_of (`torch.Tensor` of shape `(B, T)`, *optional*): Number of each token's unit.
            inputs (`torch.Tensor`): Arguments of the base model's `forward`, `(B, T)` each.

        Returns:
            [`Batch`]
        """
        units = inputs.get("attention_mask", torch.ones_like(inputs["input_ids"])).bool()
        special = torch.zeros_like(units) if special_tokens_mask is None else special_tokens_mask.bool()
        maskable = units if self.config.mask_special_tokens else units & ~special
        explained = None if explained_mask is None else explained_mask.bool()
        return Batch(inputs, maskable, special, example_ids, explained).in_units(unit_of)

    @torch.no_grad()
    def record(self, batch: Batch) -> Recorded:
        """
        The frozen base model's output and states for whole inputs.

        Args:
            batch ([`Batch`]): The inputs.

        Returns:
            [`Recorded`]: The output and the hidden states, and with `read_flow` the flow.
        """
        return record_batch(self.base, self.task, self.config, batch)

    def masked(self, recorded: Recorded, mask: Tensor, state: Tensor | int = -1) -> Tensor:
        """
        Output of the base model from state `l` on, with `z * h_l + (1 - z) * b_l` as the state (paper, equations 2 and
        7). With input masking `l` is always 0.

        Args:
            recorded ([`Recorded`]): The base model's output and states for the whole inputs.
            mask (`torch.Tensor` of shape `(B, T)`): `z`, in [0, 1] or `bool`. Unmaskable units are kept.
            state (`torch.Tensor` of shape `(B,)` or `int`, *optional*, defaults to the last): State of each example.

        Returns:
            `torch.Tensor` of the shape of `recorded.target`: Output for the masked inputs.
        """
        keep = recorded.batch.spread(mask.masked_fill(~recorded.batch.maskable, 1))
        if isinstance(state, int) or self.config.masks_inputs:
            number = self.config.masked_at(state) if isinstance(state, int) else 0
            return self._masked_at(number, keep, recorded.states[number], recorded.batch)
        # One run for each state: no example repeats the blocks below its own state.
        order, parts = [], []
        for number in state.unique().tolist():
            rows = torch.where(state == number)[0]
            hidden = recorded.states[number][rows]
            parts.append(self._masked_at(number, keep[rows], hidden, recorded.batch.rows(rows)))
            order.append(rows)
        return torch.cat(parts)[torch.cat(order).argsort()]

    def _masked_at(self, state: int, keep: Tensor, hidden: Tensor, batch: Batch) -> Tensor:
        return self.run_from(state, masked_state(hidden, keep, self.baseline_at(state)).to(hidden.dtype), batch)

    def run_from(self, state: int, hidden: Tensor, batch: Batch) -> Tensor:
        """
        Output of the base model, run from a state on.

        Args:
            state (`int`): Number of the state.
            hidden (`torch.Tensor` of shape `(B, T, d)`): Replaces the state.
            batch ([`Batch`]): The inputs.

        Returns:
            `torch.Tensor` of shape `(B, ...)`
        """
        output = replace(self.base, batch.inputs, self.config.state_names[state], hidden, batch.units)
        return self.task.target(output, batch.inputs.get("attention_mask"), batch.explained)

    def cost(self, target: Tensor, masked: Tensor, classes: Tensor | None = None) -> Tensor:
        """
        The cost of a mask, as the margin measures it; see [`DiffMaskConfig`].

        Args:
            target (`torch.Tensor` of shape `(B, ...)`): Output for the whole input.
            masked (`torch.Tensor` of the same shape): Output for the masked input.
            classes (`torch.Tensor` of shape `(B,)`, *optional*): The choice to explain; by default the predicted one.

        Returns:
            `torch.Tensor` of shape `(B,)`: The divergence, or the drop of the choice (negative for a rise).
        """
        return self.preserved.cost(self.task, target, masked, classes)

    def attribution(self, output: DiffMaskOutput) -> Tensor:
        """
        One score for each unit, for ranking; see [`Masks.attribution`].

        Args:
            output ([`DiffMaskOutput`]): This explainer's output.

        Returns:
            `torch.Tensor` of shape `(B, T)`
        """
        return self.masks.attribution(output["logits"], output["keep_probability"])

    def explain(
        self,
        recorded: Recorded,
        classes: Tensor | None = None,
        margin: float | None = None,
        evidence: Tensor | None = None,
    ) -> DiffMaskOutput:
        """
        Keep probability of each unit at each state, without running the base model.

        Args:
            recorded ([`Recorded`]): The base model's output and states for the whole inputs.
            classes (`torch.Tensor` of shape `(B,)`, *optional*): The choice to explain; by default the predicted one.
            margin (`float`, *optional*): With evidence: the largest cost; by default the config's.
            evidence (`torch.Tensor`, *optional*): `evidence` of an earlier result for these inputs.

        Returns:
            [`DiffMaskOutput`]
        """
        logits, evidence = self.probes.score(recorded, classes, evidence)
        keep = self.masks.keep(logits, recorded.batch.maskable, self.margin(margin))
        return DiffMaskOutput(keep, recorded.target, recorded.batch.maskable, logits, evidence)

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
            input_ids (`torch.Tensor` of shape `(B, T)`, *optional*): Token ids; unused with `recorded`.
            attention_mask (`torch.Tensor` of shape `(B, T)`, *optional*): 0 at padding.
            special_tokens_mask (`torch.Tensor` of shape `(B, T)`, *optional*): 1 at special tokens.
            recorded ([`Recorded`], *optional*): The base model's output and states for this batch, if already known.
            classes (`torch.Tensor` of shape `(B,)`, *optional*): The choice to explain; by default the predicted one.
            margin (`float`, *optional*): With evidence: the largest cost; by default the config's.
            draw (`Callable`, *optional*): For training: draws masks, runs them, and adds their outputs to the result.
            features (`torch.Tensor`): Other arguments of the base model.

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
