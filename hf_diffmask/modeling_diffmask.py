"""The explainer: probes and a baseline over a frozen base model."""

import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers import initialization as init
from transformers.utils import logging

from . import gates, heads, paths
from .base_model import fingerprint, record, replace, state_names, state_widths
from .base_reference import check_base, commit_of, locate
from .configuration_diffmask import DiffMaskConfig
from .errors import DiffMaskError, reason
from .outputs import DiffMaskOutput, Recorded
from .probes import DiffMaskProbes

logger = logging.get_logger(__name__)

# Shares of the units that the thresholds of a path keep, over all validation inputs; what each costs is known.
KEPT_SHARES = (1.0, 0.9, 0.75, 0.6, 0.5, 0.4, 0.3, 0.22, 0.16, 0.1, 0.05)
# Quantiles of the costs that are kept, beside their mean.
COST_LEVELS = tuple(k / 20 for k in range(21))
# Share of the validation inputs that the threshold of a margin is within it for: the 16th of them.
COVERAGE = COST_LEVELS[16]
UNCALIBRATED = -1e4  # below any score
# What reaches a Hub: whoever loads an explainer with them has its base model loaded with them, too.
HUB_OPTIONS = ("token", "cache_dir", "local_files_only")


class DiffMaskModel(PreTrainedModel):
    """
    An explainer for a frozen base model (paper, section 3).

    The base model is held by reference. It is never saved with the explainer and never trained, and it always runs in
    eval mode. One that is not given is loaded when it is first needed, in the precision that the explainer was trained
    for, and then follows the explainer's device; one that is given is never moved or re-typed.

    Args:
        config ([`DiffMaskConfig`]): What the explainer is.
        base_model ([`~transformers.PreTrainedModel`], *optional*): The base model, if it is already loaded.
        allow_base_mismatch (`bool`, *optional*, defaults to `False`):
            Whether to go on, with a warning, where the base model has other weights than the explainer was trained
            for. Its shapes have to be the same.

    Raises:
        DiffMaskError: If `base_model` is not the model that the explainer was trained for.
    """

    config_class = DiffMaskConfig
    config: DiffMaskConfig
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
        if config.masking == "hidden":
            self.hidden_baselines = nn.Parameter(torch.empty(config.num_states - 1, config.hidden_size))
        if config.objective == "path":
            self.register_buffer("thresholds", torch.empty(config.num_states, len(KEPT_SHARES)))
            self.register_buffer("costs", torch.empty(config.num_states, len(KEPT_SHARES), 1 + len(COST_LEVELS)))
        # In __dict__, past nn.Module's bookkeeping: a registered sub-module would be saved, moved and re-initialised.
        self.__dict__["_base"] = base_model
        self.__dict__["_base_is_borrowed"] = base_model is not None
        self.__dict__["_base_location"] = locate(config.base_model_name_or_path, config.name_or_path)
        self.__dict__["_hub_options"] = {}
        self.__dict__["_revision"] = None
        self.__dict__["_allow_base_mismatch"] = allow_base_mismatch
        if base_model is not None:
            check_base(config, base_model, allow_base_mismatch)
        self.post_init()

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """
        Loads an explainer from a folder or the Hub; see [`~transformers.PreTrainedModel.from_pretrained`].

        Args:
            pretrained_model_name_or_path (`str` or `os.PathLike`): A folder, or an id on the Hub.
            args: Passed on.
            kwargs: Passed on, such as `revision`; `base_model` and `allow_base_mismatch` are those of the class.
                `token`, `cache_dir` and `local_files_only` hold for the base model, too.

        Returns:
            [`DiffMaskModel`], in eval mode.

        Raises:
            DiffMaskError: If weights are missing, unknown, damaged or not finite, or the base model is another one.
                Only safetensors are read.
            OSError: If there is no such explainer, or it holds no safetensors.
        """
        wants_info = kwargs.pop("output_loading_info", False)
        try:
            options = {**kwargs, "use_safetensors": True, "output_loading_info": True}
            explainer, info = super().from_pretrained(pretrained_model_name_or_path, *args, **options)
        except SafetensorError as error:
            raise DiffMaskError(
                f"The weights of {pretrained_model_name_or_path} are damaged ({reason(error)}): get them again from "
                "where they were published."
            ) from error
        if wrong := sorted({*info["missing_keys"], *info["unexpected_keys"]}):
            raise DiffMaskError(
                f"The weights of {pretrained_model_name_or_path} are not those that its config speaks of: "
                f"{', '.join(wrong)} missing or unknown."
            )
        # The ends of all values, since a sum could overflow, and a mask of them all would have to be made.
        if not all(bool(end.isfinite()) for values in explainer.state_dict().values() for end in values.aminmax()):
            raise DiffMaskError(f"The weights of {pretrained_model_name_or_path} are not all finite numbers.")
        explainer._hub_options.update({name: kwargs[name] for name in HUB_OPTIONS if kwargs.get(name) is not None})
        named = explainer.config.name_or_path
        explainer.__dict__["_revision"] = commit_of(named, kwargs.get("revision"), kwargs.get("cache_dir"))
        return (explainer, info) if wants_info else explainer

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
            base_model ([`~transformers.PreTrainedModel`]): A classifier, or a model that answers questions.
            tokenizer ([`~transformers.PreTrainedTokenizerBase`], *optional*):
                Its tokenizer: the baseline starts at the embedding of its mask token (paper, section 3.1), or of its
                unknown token, else at the mean embedding. Those of other states start at their means, see
                [`~hf_diffmask.baseline.start_at_mean_states`].
            states (`Sequence[str]`, *optional*):
                Names of its states, in the order in which they are computed: `embeddings` or paths of modules, for a
                model without blocks. The first is the one that input masking masks.
            config: Further fields of [`DiffMaskConfig`], such as `margin` and `masking`. Of a base model from the Hub
                that is not of the main branch, `base_model_revision` has to name the commit.

        Returns:
            [`DiffMaskModel`]: The explainer, holding `base_model`.

        Raises:
            DiffMaskError: If the base model is neither, or its hidden states cannot be read.
        """
        task = heads.task_of(base_model)
        if task == heads.QUESTION_ANSWERING:
            config["class_conditional"] = False
        table = base_model.get_input_embeddings().weight.detach()
        if states is not None and not states:
            raise DiffMaskError("An explainer needs at least one state: name some, or leave `states` out.")
        if states is None:
            names, widths = state_names(base_model), [table.shape[1], base_model.config.hidden_size]
        else:
            names, widths = list(states), state_widths(base_model, states)
        location = base_model.name_or_path
        explainer = cls(
            DiffMaskConfig(
                base_model_name_or_path=os.path.abspath(location) if os.path.isdir(location) else location or None,
                base_model_revision=config.pop("base_model_revision", None) or commit_of(location),
                base_model_fingerprint=fingerprint(base_model, base_model.dtype),
                base_model_dtype=str(base_model.dtype).removeprefix("torch."),
                base_model_class=type(base_model).__name__,
                task=task,
                vocab_size=table.shape[0],
                embedding_size=widths[0],
                hidden_size=widths[-1],
                state_names=names,
                id2label=base_model.config.id2label,
                label2id=base_model.config.label2id,
                **config,
            ),
            base_model,
        )
        replacement = None
        if tokenizer is not None:
            replacement = tokenizer.mask_token_id if tokenizer.mask_token_id is not None else tokenizer.unk_token_id
        if names[0] == "embeddings":
            with torch.no_grad():
                explainer.baseline.copy_(table.float().mean(0) if replacement is None else table[replacement])
        return explainer.to(table.device)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, DiffMaskProbes):
            # By the number of features that a probe reads: [h0 ; h_l], or h_l alone.
            bound = (self.config.embedding_size + self.config.hidden_size) ** -0.5
            own = self.config.hidden_size**-0.5
            init.uniform_(module.embedding_weight, -bound, bound)
            init.uniform_(module.state_weight, *((-bound, bound) if self.config.masks_inputs else (-own, own)))
            if self.config.read_context:
                init.uniform_(module.mean_weight, -bound, bound)
                init.uniform_(module.confidence_weight, -5 * bound, 5 * bound)
            if self.config.masks_inputs:
                init.zeros_(module.bias)
            else:
                # Few features may have to be told apart in the middle: kinks of tanh all over their range.
                init.uniform_(module.bias, -1, 1)
            init.uniform_(module.out_weight, -(self.config.probe_size**-0.5), self.config.probe_size**-0.5)
            if self.config.objective == "lagrangian":
                init.constant_(module.out_bias, float(self.config.initial_logit))
        elif isinstance(module, DiffMaskModel):
            for baseline in module.baselines():
                init.zeros_(baseline)
            if self.config.objective == "path":
                init.constant_(module.thresholds, UNCALIBRATED)
                init.zeros_(module.costs)

    def baselines(self) -> list[nn.Parameter]:
        """Parameters that hold baselines (`list[torch.nn.Parameter]`): `(d,)` of state 0, then `(S - 1, d)`."""
        return [self.baseline, *([self.hidden_baselines] if self.config.masking == "hidden" else [])]

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
        if self.config.masking != "hidden":
            raise DiffMaskError(
                f"This explainer masks inputs and has no baseline for the state {self.config.state_names[state]!r}: "
                'train one with masking="hidden".'
            )
        return self.hidden_baselines[state - 1]

    @property
    def base(self) -> PreTrainedModel:
        """The base model ([`~transformers.PreTrainedModel`]), loaded on first use.

        Raises:
            DiffMaskError: If it cannot be loaded, does not match the explainer, or lies on another device.
        """
        if self._base is None:
            self.__dict__["_base"] = self._load_base()
        if self._base_is_borrowed:
            if self._base.device != self.device:
                raise DiffMaskError(
                    f"The explainer is on {self.device} and the base model that was given to it is on "
                    f"{self._base.device}: move one of them."
                )
        elif self._base.device != self.device:
            self._base.to(self.device)
        return self._base

    def _load_base(self) -> PreTrainedModel:
        if self._base_location is None:
            raise DiffMaskError("This explainer names no base model: pass the model itself as `base_model=`.")
        location, options = self._base_location, {"revision": self.config.base_model_revision, **self._hub_options}
        if location.startswith("./"):  # beside the explainer, in its repo
            options |= {"revision": self._revision, "subfolder": location[2:]}
            location = self.config.name_or_path
        try:
            base = heads.AUTO_CLASSES[self.config.task].from_pretrained(
                location, dtype=self.config.base_model_dtype, use_safetensors=True, **options
            )
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise DiffMaskError(
                f"The base model {self._base_location!r} of this explainer cannot be loaded: put it there, as "
                f"safetensors, or pass the model itself as `base_model=` ({reason(error)})."
            ) from error
        check_base(self.config, base, self._allow_base_mismatch)
        return base.eval()

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> None:
        """
        Saves the explainer alone, with its code where it came with it; a base model in a local folder is named
        relative to `save_directory`.

        Args:
            save_directory (`str` or `os.PathLike`): The folder.
            kwargs: Passed on to [`~transformers.PreTrainedModel.save_pretrained`].
        """
        named = self.config.base_model_name_or_path
        if self._base_location is not None and os.path.isdir(self._base_location):
            relative = Path(os.path.relpath(self._base_location, save_directory)).as_posix()
            self.config.base_model_name_or_path = relative if relative.startswith("../") else f"./{relative}"
        if getattr(self.config, "auto_map", None) and self._auto_class is None:
            # The code came along, and this is not it: that of the package goes on with it.
            importlib.import_module(".remote_code", __package__).add_code(self.config, Path(save_directory))
        try:
            super().save_pretrained(save_directory, **kwargs)
        finally:
            self.config.base_model_name_or_path = named

    def push_to_hub(self, repo_id: str, *, tokenizer: PreTrainedTokenizerBase | None = None, **kwargs: Any) -> str:
        """
        Publishes the explainer, its tokenizer, its card and what is known of it, in one commit.

        Args:
            repo_id (`str`): The repo, `user/name` or `organisation/name`; made where there is none.
            tokenizer ([`~transformers.PreTrainedTokenizerBase`], *optional*):
                The base model's; by default what lies beside the explainer or its base model.
            kwargs: Passed on to [`~hf_diffmask.hub.push`], such as `private`, `revision` and `token`.

        Returns:
            `str`: Address of the commit.

        Raises:
            DiffMaskError: If there is no tokenizer, or the Hub refuses or cannot be reached.
        """
        # In this form, which code that comes along with an explainer does not collect: it has a way of its own.
        return importlib.import_module(".hub", __package__).push_model(self, repo_id, tokenizer, **kwargs)

    @torch.no_grad()
    def record(self, **features: Tensor) -> Recorded:
        """
        Runs the frozen base model on whole inputs.

        Args:
            features (`torch.Tensor`): What the base model's `forward` takes, `(B, T)` each.

        Returns:
            [`Recorded`]: The prediction and the hidden states.
        """
        output, states = record(self.base, features, self.config.state_names)
        return Recorded(heads.log_probabilities(output, features.get("attention_mask")), states)

    def maskable(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, special_tokens_mask: Tensor | None = None
    ) -> Tensor:
        """
        Units that can be masked.

        Args:
            input_ids (`torch.Tensor` of shape `(B, T)`): Token ids.
            attention_mask (`torch.Tensor` of shape `(B, T)`, *optional*): 0 at padding.
            special_tokens_mask (`torch.Tensor` of shape `(B, T)`, *optional*): 1 at special tokens.

        Returns:
            `torch.Tensor` of shape `(B, T)`, `bool`.
        """
        units = torch.ones_like(input_ids, dtype=torch.bool) if attention_mask is None else attention_mask.bool()
        if special_tokens_mask is not None and not self.config.mask_special_tokens:
            units = units & ~special_tokens_mask.bool()
        return units

    @property
    def is_calibrated(self) -> bool:
        """
        Whether the masks of a margin are known (`bool`). A path keeps everything until they are; other explainers are
        trained for their margin.
        """
        return self.config.objective != "path" or bool((self.thresholds != UNCALIBRATED).all())

    @torch.no_grad()
    def forget_calibration(self) -> None:
        """Keeps everything again: weights that change leave no threshold of a path right."""
        self.thresholds.fill_(UNCALIBRATED)
        self.costs.zero_()

    def threshold_at(self, margin: float) -> tuple[Tensor, Tensor]:
        """
        The thresholds of a path whose masks are within a margin: in the mean over the validation inputs, and for 0.8
        of them each by itself.

        Args:
            margin (`float`): What an explanation may cost, see [`DiffMaskConfig`].

        Returns:
            `tuple`: The threshold of each state, `(S,)`, and its coverage: the share of validation inputs whose own
            cost was within the margin, `(S,)`, both interpolated between thresholds that were measured. A path that is
            not calibrated has a coverage of 1: it keeps everything.
        """
        costs = torch.maximum(self.costs[..., 0], self.costs[..., 1 + COST_LEVELS.index(COVERAGE)])
        # The last threshold before the costs leave the margin for the first time, and how far it is to the next one.
        within = (costs <= margin).cummin(-1).values.sum(-1) - 1
        first, second = (place.clamp(0, costs.shape[1] - 1)[:, None] for place in (within, within + 1))
        lower, upper = costs.gather(1, first), costs.gather(1, second)
        part = torch.where(upper > lower, (margin - lower) / (upper - lower).clamp(min=1e-12), 0.0).clamp(0, 1)
        cuts = self.thresholds.gather(1, first).lerp(self.thresholds.gather(1, second), part)[:, 0]
        rows = torch.arange(len(costs), device=costs.device)
        quantiles = self.costs[rows, first[:, 0], 1:].lerp(self.costs[rows, second[:, 0], 1:], part)
        # The quantiles read the other way round: what share of the costs is up to the margin.
        step = quantiles.diff(dim=-1)
        passed = torch.where(
            step > 0, (margin - quantiles[:, :-1]) / step.clamp(min=1e-12), (quantiles[:, 1:] <= margin).to(step)
        )
        return cuts, passed.clamp(0, 1).mean(-1)

    def attribution(self, output: DiffMaskOutput) -> Tensor:
        """
        One score for each unit, by which an input's units are ranked.

        Args:
            output ([`DiffMaskOutput`]): Of this explainer.

        Returns:
            `torch.Tensor` of shape `(B, T)`: The mean keep probability over states; of a path its scores at the last
            state, or with hidden masking, where the last state holds less than the input, their mean over states.
        """
        if self.config.objective == "lagrangian":
            return output["keep_probability"].mean(-1)
        return output["logits"][..., -1] if self.config.masks_inputs else output["logits"].mean(-1)

    def cost(self, target: Tensor, masked: Tensor, classes: Tensor | None = None) -> Tensor:
        """
        What a mask costs, in the terms of the margin.

        Args:
            target (`torch.Tensor` of shape `(B, C)` or `(B, 2, T)`): Log-probabilities on the whole input, in nats.
            masked (`torch.Tensor` of the same shape): Log-probabilities on the masked input.
            classes (`torch.Tensor` of shape `(B,)`, *optional*): The class explained; by default the predicted one.

        Returns:
            `torch.Tensor` of shape `(B,)`: The divergence in nats, or with `target="prediction"` the drop of the
            class's probability, below 0 where it rises.
        """
        if self.config.target == "distribution":
            return heads.divergence(target, masked)
        classes = target.argmax(-1) if classes is None else classes
        before, after = (values.gather(-1, classes[:, None])[:, 0].exp() for values in (target, masked))
        return before - after

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        special_tokens_mask: Tensor | None = None,
        recorded: Recorded | None = None,
        states: Tensor | None = None,
        noise: Tensor | None = None,
        check: bool = True,
        shares: Tensor | None = None,
        classes: Tensor | None = None,
        margin: float | None = None,
        **features: Tensor,
    ) -> DiffMaskOutput:
        """
        Keep probability of each unit at each state; with noise, also the prediction under a sampled mask.

        Args:
            input_ids (`torch.Tensor` of shape `(B, T)`): Token ids.
            attention_mask (`torch.Tensor` of shape `(B, T)`, *optional*): 0 at padding.
            special_tokens_mask (`torch.Tensor` of shape `(B, T)`, *optional*): 1 at special tokens.
            recorded ([`Recorded`], *optional*): The base model's output on this batch, if it is known already.
            states (`torch.Tensor` of shape `(B,)`, *optional*): The state at which each example is masked.
            noise (`torch.Tensor` of shape `(B, T, max(S, 3))`, *optional*): Uniform noise of the gates, in (0, 1).
            check (`bool`, *optional*, defaults to `True`):
                Whether to run the hard mask, too, where masks are drawn on paths.
            shares (`torch.Tensor` of shape `(B,)`, *optional*):
                Of a path: the budget of each example's mask, as a share of the units that can be masked.
            classes (`torch.Tensor` of shape `(B,)`, *optional*):
                Of a path of one class: the class that each example is explained for; by default the predicted one.
            margin (`float`, *optional*): Of a path: what masks may cost; by default the config's.
            features (`torch.Tensor`): Whatever else the base model takes.

        Returns:
            [`DiffMaskOutput`]
        """
        features["input_ids"] = input_ids
        if attention_mask is not None:
            features["attention_mask"] = attention_mask
        if recorded is None:
            recorded = self.record(**features)
        maskable = self.maskable(input_ids, attention_mask, special_tokens_mask)
        logits = heads.widen(self.probes(recorded.states, recorded.target, maskable, classes))
        if self.config.objective == "path":
            cuts, _ = self.threshold_at(float(self.config.margin) if margin is None else margin)
            keep = torch.sigmoid((logits - cuts) / self.config.temperature).masked_fill(~maskable[..., None], 1.0)
            output = DiffMaskOutput(keep, recorded.target, maskable, logits)
            if noise is not None and states is not None and shares is not None:
                self._draw(output, recorded, states, noise, shares, features)
            return output
        multiply = self.config.votes_multiply
        log_keep = gates.log_keep_probability(logits).masked_fill(~maskable[..., None], 0.0)
        output = DiffMaskOutput(gates.vote(log_keep, multiply), recorded.target, maskable, logits)
        if noise is None or states is None:
            return output
        if self.config.path_gradient:
            keep = gates.keep_at(log_keep, states, multiply).exp()
            soft = gates.log_keep_probability(logits, gates.SOFT_TEMPERATURE)
            mask = gates.draw_on_paths(keep, gates.keep_at(soft, states, multiply).exp(), noise[..., :3], maskable)
            if check:
                with torch.no_grad():
                    output.masked_hard = self.masked_forward(gates.hard_mask(keep), states, recorded, **features)
        else:
            votes = gates.sample(logits, noise[..., : logits.shape[-1]])
            mask = votes.masked_fill(~gates.counting_votes(states, votes.shape[-1], multiply), 1.0).prod(-1)
        output.masked = self.masked_forward(mask.masked_fill(~maskable, 1.0), states, recorded, **features)
        return output

    def _draw(
        self,
        output: DiffMaskOutput,
        recorded: Recorded,
        states: Tensor,
        noise: Tensor,
        shares: Tensor,
        features: dict[str, Tensor],
    ) -> None:
        """Draws a mask near the budget of each example, and runs what it keeps and what it leaves out."""
        scores, maskable = paths.scores_at(output["logits"], states), output["maskable"]
        cut = paths.threshold(scores.detach(), paths.budgets(shares, maskable), maskable)
        mask = paths.draw((scores - cut[:, None]) / self.config.temperature, noise, maskable)
        output.masked, output.left_out = (
            self.masked_forward(part.masked_fill(~maskable, 1.0), states, recorded, **features)
            for part in (mask, 1 - mask)
        )

    def masked_forward(
        self, mask: Tensor, states: Tensor | int = -1, recorded: Recorded | None = None, **features: Tensor
    ) -> Tensor:
        """
        Runs the base model on `z * h_l + (1 - z) * b_l` (paper, equations 2 and 7), on from state `l` only.

        With input masking `l` is state 0, whichever state the mask was predicted from.

        Args:
            mask (`torch.Tensor` of shape `(B, T)`): `z`, in [0, 1] or `bool`; 1 keeps a unit.
            states (`torch.Tensor` of shape `(B,)` or `int`, *optional*, defaults to the last):
                The state of each example, or of all.
            recorded ([`Recorded`], *optional*): What the base model computes on the whole inputs, if known already.
            features (`torch.Tensor`): What the base model's `forward` takes, `(B, T)` each.

        Returns:
            `torch.Tensor` of shape `(B, C)`, or `(B, 2, T)` for start and end: Log-probabilities in nats.
        """
        if recorded is None:
            recorded = self.record(**features)
        if self.config.masks_inputs:
            return self._masked_at(0, mask, recorded.states[0], features)
        if isinstance(states, int):
            states %= self.config.num_states
            return self._masked_at(states, mask, recorded.states[states], features)
        # Examples of one state at a time, so that none is run from lower than it need be.
        order, parts = [], []
        for state in states.unique().tolist():
            rows = torch.where(states == state)[0]
            picked = {name: value[rows] for name, value in features.items()}
            parts.append(self._masked_at(state, mask[rows], recorded.states[state][rows], picked))
            order.append(rows)
        return torch.cat(parts)[torch.cat(order).argsort()]

    def _masked_at(self, state: int, mask: Tensor, hidden: Tensor, features: dict[str, Tensor]) -> Tensor:
        baseline = self.baseline_at(state)
        keep = mask[..., None].to(baseline.dtype)
        masked = (keep * hidden + (1 - keep) * baseline).to(hidden.dtype)
        output = replace(self.base, features, self.config.state_names[state], masked)
        return heads.log_probabilities(output, features.get("attention_mask"))
