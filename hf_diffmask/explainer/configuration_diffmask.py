"""Configuration of an explainer."""

import math
from dataclasses import fields
from typing import Any

from huggingface_hub.dataclasses import strict
from huggingface_hub.errors import StrictDataclassError
from transformers import PreTrainedConfig

from ..base.units import UNITS
from ..errors import DiffMaskError, reason
from ..masks.registry import MASKS
from ..tasks.preserved import PRESERVED
from ..tasks.registry import TASKS
from .bounds import check_explainer

# Keys that `transformers` or its trainer adds to a config file.
WRITTEN_BESIDE = {
    "auto_map", "bos_token_id", "eos_token_id", "name_or_path", "num_labels", "pad_token_id", "torch_dtype",
    "use_cache",
}  # fmt: skip


@strict
class DiffMaskConfig(PreTrainedConfig):
    r"""
    Configuration of a [`DiffMaskModel`]: which base model it explains and the shapes of its probes.

    Args:
        base_model_name_or_path (`str`, *optional*):
            Hub id or folder of the base model. A path that begins with `./` or `../` is relative to the explainer's
            own folder.
        base_model_revision (`str`, *optional*):
            Full commit sha of the base model on the Hub.
        base_model_fingerprint (`str`, *optional*):
            Hash of the base model's weights, see [`~hf_diffmask.base.fingerprint.fingerprint`].
        base_model_dtype (`str`, *optional*, defaults to `"float32"`):
            Precision of the base model in training. It is loaded and its fingerprint compared in this precision.
        base_model_class (`str`, *optional*):
            Class name of the base model, for people and for error messages.
        task (`str`, *optional*, defaults to `"text-classification"`):
            Task of the base model, a key of [`~hf_diffmask.tasks.registry.TASKS`].
        task_constants (`dict`, *optional*):
            Constants of the task: statistics of a regression's training inputs, and the positions that the base
            model's head reads.
        vocab_size (`int`, *optional*, defaults to `0`):
            Rows of the base model's token-embedding table.
        embedding_size (`int`, *optional*, defaults to `0`):
            Width of state 0, the output of the token-embedding table.
        hidden_size (`int`, *optional*, defaults to `0`):
            Width `d` of the other states.
        state_names (`list[str]`, *optional*):
            State names in the order of computation, see [`~hf_diffmask.base.running.record`]: the
            `L + 2` from the embeddings to the output of the last block, or the paths of modules.
        masking (`str`, *optional*, defaults to `"input"`):
            State at which units are masked. `"input"`: state 0. `"hidden"`: each state, with its own baseline; the
            base model continues from this state (paper, section 3).
        objective (`str`, *optional*, defaults to `"lagrangian"`):
            Objective of the probes. `"lagrangian"`: keep as few units as the margin allows (paper, equation 4).
            `"ablation"`: evidence in log-odds, fitted to random masks. `"path"`, of a retired recipe: a ranking of the
            units; the margin chooses the budget.
        target (`str`, *optional*, defaults to `"distribution"`):
            With evidence, the part of the output that an explanation preserves. `"prediction"`: one choice, such as a
            class; scores are evidence for or against this choice. `"distribution"`: the whole output.
        unit (`str`, *optional*, defaults to `"token"`):
            With evidence that adds up, the tokens that are masked together: `"token"`, `"word"` or `"sentence"`, see
            [`~hf_diffmask.data.units.with_units`].
        temperature (`float`, *optional*, defaults to `0.5`):
            With evidence, keep probabilities are `sigmoid((score - threshold) / temperature)`.
        margin (`float`, *optional*, defaults to `0.1`):
            The largest cost of an explanation: a divergence (nats for classes and answers), or with
            `target="prediction"` the drop of the choice.
        mask_special_tokens (`bool`, *optional*, defaults to `False`):
            Whether special tokens can be masked. If not, they are always kept.
        normalize_states (`bool`, *optional*, defaults to `True`):
            Whether the probes normalise each vector to zero mean and unit variance. In the paper vectors are raw.
        class_conditional (`bool`, *optional*, defaults to `True`):
            Whether a probe has weights `w_l` and a level `c_l` for each choice, and uses the explained choice's. In
            the paper, and for tasks without choices, all choices share them.
        read_context (`bool`, *optional*, defaults to `True`):
            Whether the probes also read the mean of their state, and the base model's confidence. Not in the paper.
        share_mean (`bool`, *optional*, defaults to `False`):
            Whether all probes share the weights that read the mean. This saves a third of the explainer. Explainers
            of the retired recipe `path` have it.
        path_gradient (`bool`, *optional*, defaults to `True`):
            Whether training drew masks by [`~hf_diffmask.masks.gates.draw_with_fading`], as the retired recipe `fast`
            did. The paper's gates are Hard Concrete.
        initial_logit (`float`, *optional*, defaults to `3.0`):
            Gate logit of every unit before training (5 in the paper). Training starts with all units kept.
        read_flow (`bool`, *optional*, defaults to `False`):
            Whether the explanation head reads what flows to the positions that the base model's head reads, see
            [`~hf_diffmask.base.flow.Flow`]. The base model must allow this.
        flow_blocks (`int`, *optional*, defaults to `0`):
            Blocks whose flow is read, with `read_flow`.
        flow_size (`int`, *optional*, defaults to `0`):
            Values of a unit in a block's flow, all attention heads together, with `read_flow`.
        replacements (`list[str]`, *optional*):
            How the ablations of training left units out, see [`~hf_diffmask.ablations.running.REPLACEMENTS`].
        weights_digest (`str`, *optional*):
            Hash of the weights that were saved with the config, see [`~hf_diffmask.explainer.weights.digest`]. Saving
            sets it and loading compares it; in memory it is `None`.
    """

    model_type = "diffmask"

    base_model_name_or_path: str | None = None
    base_model_revision: str | None = None
    base_model_fingerprint: str | None = None
    base_model_dtype: str = "float32"
    base_model_class: str | None = None
    task: str = "text-classification"
    task_constants: dict[str, Any] | None = None
    vocab_size: int = 0
    embedding_size: int = 0
    hidden_size: int = 0
    state_names: list[str] | tuple[str, ...] = ()
    masking: str = "input"
    objective: str = "lagrangian"
    target: str = "distribution"
    unit: str = "token"
    temperature: float | int = 0.5
    margin: float | int = 0.1
    mask_special_tokens: bool = False
    normalize_states: bool = True
    class_conditional: bool = True
    read_context: bool = True
    share_mean: bool = False
    path_gradient: bool = True
    initial_logit: float | int = 3.0
    read_flow: bool = False
    flow_blocks: int = 0
    flow_size: int = 0
    replacements: list[str] | tuple[str, ...] = ()
    weights_digest: str | None = None

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """
        A config from saved fields; see [`~transformers.PreTrainedConfig.from_dict`].

        Args:
            config_dict (`dict`): Fields and their values.
            kwargs: Passed on.

        Returns:
            [`DiffMaskConfig`]

        Raises:
            DiffMaskError: If this version does not know a field, whose effect would be lost, or a value cannot be
                used; a count is checked before anything is built with it.
        """
        name = config_dict.get("name_or_path") or kwargs.get("name_or_path")
        check_explainer(config_dict, f"the config of {name}" if name else "the config")
        known = {one.name for one in fields(cls)} | PreTrainedConfig().to_dict().keys() | WRITTEN_BESIDE
        unknown = sorted(config_dict.keys() - known)
        if unknown and config_dict.get("model_type") == cls.model_type:
            raise DiffMaskError(
                f"The config has fields that this version of hf-diffmask does not know ({', '.join(unknown)}): update "
                "the package, or get the explainer from where it was published."
            )
        try:
            return super().from_dict(config_dict, **kwargs)
        except StrictDataclassError as error:
            raise DiffMaskError(
                f"The config cannot be used ({reason(error)}): put it right, or get the explainer from where it was "
                "published."
            ) from error

    @property
    def num_states(self) -> int:
        """Number of states `S`, `L + 2` for a Transformer with `L` blocks."""
        return len(self.state_names)

    @property
    def columns(self) -> list[str]:
        """
        Names of the columns of scores and masks (`list[str]`): the states, then the explanation head if there is one.
        """
        return [*self.state_names, *MASKS[self.objective].beside_states]

    @property
    def masks_inputs(self) -> bool:
        """Whether all masks apply at state 0."""
        return self.masking == "input"

    def masked_at(self, state: int) -> int:
        """
        The state at which units are masked.

        Args:
            state (`int`): Number of the column that the mask comes from; negative numbers count from the end.

        Returns:
            `int`: 0 with input masking, else the state itself.
        """
        return 0 if self.masks_inputs else state % self.num_states

    @property
    def judged_states(self) -> list[int]:
        """
        Numbers of the columns that evaluation uses (`list[int]`): the last one, whose mask is returned. With hidden
        masking all states, since each has its own mask.
        """
        return [len(self.columns) - 1] if self.masks_inputs else list(range(self.num_states))

    @property
    def probe_size(self) -> int:
        """Hidden width of a probe: `d // 4` of the widest state (paper, appendix), at least 32 (its counting task)."""
        return max(32, self.hidden_size // 4, self.embedding_size // 4)

    @property
    def state_probe_size(self) -> int:
        """Hidden width of a state's probe beside an explanation head, and of the layer that reads flow."""
        return max(32, self.hidden_size // 8, self.embedding_size // 8)

    def validate_architecture(self):
        """Validates fields against one another; `@strict` calls it."""
        if not 0 < self.margin < math.inf:
            raise ValueError(f"The margin must be greater than 0 and finite, but is {self.margin}.")
        if self.base_model_dtype not in ("float32", "float16", "bfloat16", "float64"):
            raise ValueError(f"`base_model_dtype` must name a floating-point type, but is {self.base_model_dtype!r}.")
        if self.task not in TASKS:
            raise ValueError(f"`task` must be one of {', '.join(TASKS)}, but is {self.task!r}.")
        if self.masking not in ("input", "hidden"):
            raise ValueError(f"`masking` must be 'input' or 'hidden', but is {self.masking!r}.")
        if self.objective not in MASKS:
            raise ValueError(f"`objective` must be one of {', '.join(MASKS)}, but is {self.objective!r}.")
        if self.target not in PRESERVED:
            raise ValueError(f"`target` must be one of {', '.join(PRESERVED)}, but is {self.target!r}.")
        if PRESERVED[self.target].of_choice and not (
            MASKS[self.objective].has_evidence and TASKS[self.task].has_choices
        ):
            raise ValueError(
                "`target='prediction'` is for masks with evidence and for tasks with choices, such as classes: leave "
                "it out, or name both."
            )
        if self.unit not in UNITS:
            raise ValueError(f"`unit` must be one of {', '.join(UNITS)}, but is {self.unit!r}.")
        if self.unit != "token" and not MASKS[self.objective].adds_up:
            raise ValueError(f'`unit="{self.unit}"` needs evidence that adds up: use `objective="ablation"`.')
        has_head = bool(MASKS[self.objective].beside_states)
        if has_head and not self.masks_inputs:
            raise ValueError('`objective="ablation"` masks inputs: leave `masking` out.')
        if self.read_flow and not (has_head and self.flow_blocks and self.flow_size):
            raise ValueError('`read_flow` is for `objective="ablation"`, with `flow_blocks` and `flow_size`.')
        if not self.temperature > 0:
            raise ValueError(f"The temperature must be greater than 0, but is {self.temperature}.")
        if self.state_names and min(self.hidden_size, self.embedding_size, self.vocab_size) < 1:
            raise ValueError(
                "`hidden_size`, `embedding_size` and `vocab_size` must be given along with `state_names`."
            )
