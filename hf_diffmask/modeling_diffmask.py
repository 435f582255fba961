"""The explainer: probes and a baseline over a frozen base model."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers import initialization as init
from transformers.utils import ModelOutput

from . import gates, heads
from .base_model import fingerprint, record, replace, state_names
from .configuration_diffmask import DiffMaskConfig
from .errors import DiffMaskError, reason


class Recorded(NamedTuple):
    """What the base model computes on whole inputs: all that probes and objective need of it."""

    target: Tensor
    """`(B, C)`: log-probabilities of the prediction, in nats."""
    states: list[Tensor]
    """`S` hidden states, `(B, T, d_s)` each."""


@dataclass
class DiffMaskOutput(ModelOutput):
    """
    Output of [`DiffMaskModel`].

    Args:
        keep_probability (`torch.FloatTensor` of shape `(B, T, S)`):
            `P(z_l != 0)` of each unit at each state, in [0, 1], falling with `l`. 1 for units that cannot be masked.
        target (`torch.FloatTensor` of shape `(B, C)`):
            Log-probabilities of the base model on the whole input, in nats.
        maskable (`torch.BoolTensor` of shape `(B, T)`):
            Units that can be masked: not padding and, unless the config says otherwise, not special.
        logits (`torch.FloatTensor` of shape `(B, T, S)`):
            Gate logit of each state's own vote, before votes are multiplied.
        masked (`torch.FloatTensor` of shape `(B, C)`, *optional*, returned when `noise` is given):
            Log-probabilities of the base model under the sampled mask.
        masked_hard (`torch.FloatTensor` of shape `(B, C)`, *optional*, returned when masks are drawn on paths):
            Log-probabilities of the base model under the hard mask, without gradient; not without `check`.
    """

    keep_probability: Tensor | None = None
    target: Tensor | None = None
    maskable: Tensor | None = None
    logits: Tensor | None = None
    masked: Tensor | None = None
    masked_hard: Tensor | None = None


class DiffMaskProbes(nn.Module):
    """
    One two-layer probe for each state, all of them computed as one batched product.

    `alpha_l = 10 * tanh(w_l . tanh(W_l [h0 ; h_l] + b_l)) + c_l` (paper, appendix), where `w_l` and `c_l` are those of
    the predicted class: which words are evidence *for* a prediction depends on what it is, and a probe this small does
    not learn both at once. Without `class_conditional` there is one of each for all classes, as in the paper. With
    `read_context` they read `[h0 ; h_l ; m_l ; o]`, where `m_l` is the mean of `h_l` over the input and `o` tells the
    log-odds of the prediction: whether a unit's evidence is needed depends on how much there is elsewhere. `W_l` is
    kept in parts, one for each of these, since they may differ in width; state 0 has neither the second nor the third.
    """

    def __init__(self, config: DiffMaskConfig):
        super().__init__()
        count, width = config.num_states, config.probe_size
        self.normalize = config.normalize_states
        classes = config.num_labels if config.class_conditional else 1
        self.embedding_weight = nn.Parameter(torch.empty(config.embedding_size, count * width))
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
            target (`torch.Tensor` of shape `(B, C)`): Log-probabilities of the base model's prediction, in nats.
            units (`torch.Tensor` of shape `(B, T)`): Units that the mean state is taken over.

        Returns:
            `torch.Tensor` of shape `(B, T, S)`: Gate logits `alpha`.
        """
        batch, length = states[0].shape[:2]
        dtype = self.bias.dtype
        embeddings = states[0].reshape(batch * length, -1).to(dtype)
        others = torch.stack(states[1:]).reshape(len(states) - 1, batch * length, -1).to(dtype)
        # layer_norm(x) @ W is x @ (W, its columns centred), divided by x's deviation: two passes over x less.
        from_embeddings = embeddings @ self._centered(self.embedding_weight) * self._scale(embeddings)
        first, *rest = from_embeddings.reshape(batch * length, *self.bias.shape).split([1, len(states) - 1], dim=1)
        scale = self._scale(others)
        read = (torch.bmm(others, self._centered(self.state_weight)) * scale).transpose(0, 1) + rest[0]
        hidden = (torch.cat([first, read], dim=1) + self.bias).reshape(batch, length, *self.bias.shape)
        if hasattr(self, "mean_weight"):
            share = (units / units.sum(-1, keepdim=True).clamp(min=1)).to(dtype)
            share = share[:, None] * scale.view(-1, batch, 1, length)
            means = (share @ others.view(-1, batch, length, others.shape[-1])).squeeze(2)
            hidden[:, :, 1:] += torch.bmm(means, self._centered(self.mean_weight)).transpose(0, 1)[:, None]
            hidden += (_confidence(target).to(dtype)[:, None, None] * self.confidence_weight)[:, None]
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


def _confidence(target: Tensor) -> Tensor:
    """Log-odds of the predicted class, `(B,)`, centred and scaled: 0 stands for 3, a probability of 0.95."""
    best, predicted = target.max(-1, keepdim=True)
    others = target.scatter(-1, predicted, float("-inf")).logsumexp(-1)
    return (best[:, 0] - others) / 3 - 1


class DiffMaskModel(PreTrainedModel):
    """
    An explainer for a frozen base model (paper, section 3).

    The base model is held by reference. It is never saved with the explainer and never trained, and it always runs in
    eval mode. One that is not given is loaded when it is first needed, in the precision that the explainer was trained
    for, and then follows the explainer's device; one that is given is never moved or re-typed.

    Args:
        config ([`DiffMaskConfig`]): What the explainer is.
        base_model ([`~transformers.PreTrainedModel`], *optional*): The base model, if it is already loaded.

    Raises:
        DiffMaskError: If `base_model` is not the model that the explainer was trained for.
    """

    config_class = DiffMaskConfig
    config: DiffMaskConfig
    base_model_prefix = ""
    main_input_name = "input_ids"

    def __init__(self, config: DiffMaskConfig, base_model: PreTrainedModel | None = None):
        super().__init__(config)
        if not config.state_names:
            raise DiffMaskError(
                f"{config.name_or_path or 'This config'} is no explainer: it names no states. Train one with "
                "`hf-diffmask train`, or make one with DiffMaskModel.from_base_model."
            )
        self.probes = DiffMaskProbes(config)
        self.baseline = nn.Parameter(torch.empty(config.embedding_size))
        # In __dict__, past nn.Module's bookkeeping: a registered sub-module would be saved, moved and re-initialised.
        self.__dict__["_base"] = base_model
        self.__dict__["_base_is_borrowed"] = base_model is not None
        self.__dict__["_base_location"] = _locate(config.base_model_name_or_path, config.name_or_path)
        if base_model is not None:
            self._check_base(base_model)
        self.post_init()

    @classmethod
    def from_base_model(
        cls, base_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None = None, **config: Any
    ) -> "DiffMaskModel":
        """
        Makes an untrained explainer for a base model.

        Args:
            base_model ([`~transformers.PreTrainedModel`]): A classifier.
            tokenizer ([`~transformers.PreTrainedTokenizerBase`], *optional*):
                Its tokenizer: the baseline starts at the embedding of its mask token (paper, section 3.1), or of its
                unknown token, else at the mean embedding.
            config: Further fields of [`DiffMaskConfig`], such as `margin`.

        Returns:
            [`DiffMaskModel`]: The explainer, holding `base_model`.

        Raises:
            DiffMaskError: If the base model is no classifier, or its hidden states cannot be read.
        """
        heads.check_head(base_model)
        names = state_names(base_model)
        table = base_model.get_input_embeddings().weight.detach()
        location = base_model.name_or_path
        explainer = cls(
            DiffMaskConfig(
                base_model_name_or_path=os.path.abspath(location) if os.path.isdir(location) else location or None,
                base_model_revision=getattr(base_model.config, "_commit_hash", None),
                base_model_fingerprint=fingerprint(base_model, base_model.dtype),
                base_model_dtype=str(base_model.dtype).removeprefix("torch."),
                base_model_class=type(base_model).__name__,
                vocab_size=table.shape[0],
                embedding_size=table.shape[1],
                hidden_size=base_model.config.hidden_size,
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
        with torch.no_grad():
            explainer.baseline.copy_(table.float().mean(0) if replacement is None else table[replacement])
        return explainer.to(table.device)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, DiffMaskProbes):
            bound = (self.config.embedding_size + self.config.hidden_size) ** -0.5
            init.uniform_(module.embedding_weight, -bound, bound)
            init.uniform_(module.state_weight, -bound, bound)
            if self.config.read_context:
                init.uniform_(module.mean_weight, -bound, bound)
                init.uniform_(module.confidence_weight, -5 * bound, 5 * bound)
            init.zeros_(module.bias)
            init.uniform_(module.out_weight, -(self.config.probe_size**-0.5), self.config.probe_size**-0.5)
            init.constant_(module.out_bias, float(self.config.initial_logit))
        elif isinstance(module, DiffMaskModel):
            init.zeros_(module.baseline)

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
        try:
            base = heads.AUTO_CLASS.from_pretrained(
                self._base_location, revision=self.config.base_model_revision, dtype=self.config.base_model_dtype
            )
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise DiffMaskError(
                f"The base model {self._base_location!r} of this explainer cannot be loaded: put it there, or pass "
                f"the model itself as `base_model=` ({reason(error)})."
            ) from error
        self._check_base(base)
        return base.eval()

    def _check_base(self, base: PreTrainedModel) -> None:
        """Compares a base model with the one that the explainer was trained for, in the precision of that time."""
        heads.check_head(base)
        table = base.get_input_embeddings().weight
        expected_and_found: dict[str, tuple[Any, Any]] = {
            "hidden size": (self.config.hidden_size, base.config.hidden_size),
            "number of states": (self.config.num_states, len(state_names(base))),
            "vocabulary": (self.config.vocab_size, table.shape[0]),
            "embedding size": (self.config.embedding_size, table.shape[1]),
            "number of classes": (self.config.num_labels, base.config.num_labels),
        }
        if self.config.base_model_fingerprint is not None:
            found = fingerprint(base, getattr(torch, self.config.base_model_dtype))
            expected_and_found["weights fingerprint"] = (self.config.base_model_fingerprint, found)
        different = [
            f"{what} {found} instead of {expected}"
            for what, (expected, found) in expected_and_found.items()
            if expected != found
        ]
        if different:
            raise DiffMaskError(
                f"This base model is not the one that the explainer was trained for: {', '.join(different)}. Use the "
                "base model it was trained for, or train an explainer for this one."
            )

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> None:
        """
        Saves the explainer alone; a base model in a local folder is named relative to `save_directory`.

        Args:
            save_directory (`str` or `os.PathLike`): The folder.
            kwargs: Passed on to [`~transformers.PreTrainedModel.save_pretrained`].
        """
        named = self.config.base_model_name_or_path
        if self._base_location is not None and os.path.isdir(self._base_location):
            relative = Path(os.path.relpath(self._base_location, save_directory)).as_posix()
            self.config.base_model_name_or_path = relative if relative.startswith("../") else f"./{relative}"
        try:
            super().save_pretrained(save_directory, **kwargs)
        finally:
            self.config.base_model_name_or_path = named

    @torch.no_grad()
    def record(self, **features: Tensor) -> Recorded:
        """
        Runs the frozen base model on whole inputs.

        Args:
            features (`torch.Tensor`): What the base model's `forward` takes, `(B, T)` each.

        Returns:
            [`Recorded`]: The prediction and the hidden states.
        """
        output, states = record(self.base, features)
        return Recorded(heads.log_probabilities(output), states)

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

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        special_tokens_mask: Tensor | None = None,
        recorded: Recorded | None = None,
        states: Tensor | None = None,
        noise: Tensor | None = None,
        check: bool = True,
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
            noise (`torch.Tensor` of shape `(B, T, S)`, *optional*): Uniform noise of the gates, in (0, 1).
            check (`bool`, *optional*, defaults to `True`):
                Whether to run the hard mask, too, where masks are drawn on paths.
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
        logits = heads.widen(self.probes(recorded.states, recorded.target, maskable))
        log_keep = gates.log_keep_probability(logits).masked_fill(~maskable[..., None], 0.0)
        output = DiffMaskOutput(gates.vote(log_keep), recorded.target, maskable, logits)
        if noise is None or states is None:
            return output
        if self.config.path_gradient:
            keep = gates.keep_at(log_keep, states).exp()
            soft_keep = gates.keep_at(gates.log_keep_probability(logits, gates.SOFT_TEMPERATURE), states).exp()
            mask = gates.draw_on_paths(keep, soft_keep, noise[..., :3])
            if check:
                with torch.no_grad():
                    output.masked_hard = self.masked_forward(gates.hard_mask(keep), **features)
        else:
            votes = gates.sample(logits, noise)
            mask = votes.masked_fill(~gates.up_to(states, votes.shape[-1]), 1.0).prod(-1)
        output.masked = self.masked_forward(mask.masked_fill(~maskable, 1.0), **features)
        return output

    def masked_forward(self, mask: Tensor, **features: Tensor) -> Tensor:
        """
        Runs the base model on `x_hat = z * h0 + (1 - z) * b` (paper, equation 2).

        Args:
            mask (`torch.Tensor` of shape `(B, T)`): `z`, in [0, 1] or `bool`; 1 keeps a unit.
            features (`torch.Tensor`): What the base model's `forward` takes, `(B, T)` each.

        Returns:
            `torch.Tensor` of shape `(B, C)`: Log-probabilities in nats.
        """
        keep = mask[..., None].to(self.baseline.dtype)
        output = replace(self.base, features, lambda embeddings: keep * embeddings + (1 - keep) * self.baseline)
        return heads.log_probabilities(output)


def _locate(base_model: str | None, explainer: str) -> str | None:
    """Resolves a base model's relative path against the folder of the explainer that names it."""
    if base_model is not None and base_model.startswith(("./", "../")) and os.path.isdir(explainer):
        return os.path.abspath(os.path.join(explainer, base_model))
    return base_model
