"""The guest: an explainer's base model. Finds, loads and checks it; never saves it."""

import os
import re
from contextlib import suppress
from importlib import import_module
from threading import Lock
from typing import Any

import torch
from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import HFValidationError
from transformers import AutoConfig, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import cached_file, logging
from transformers.utils.peft_utils import find_adapter_config_file

from ..base.fingerprint import fingerprint
from ..base.flow_support import check_flow
from ..base.memory import keep_freed_memory
from ..base.states import hidden_size, names_of_blocks, state_names
from ..base.unwrapped import unwrapped
from ..errors import DiffMaskError, reason
from ..tasks.registry import TASKS, fitting_task, task_of
from .base_files import check_code, checked_config, read_base
from .configuration_diffmask import DiffMaskConfig
from .repository import LOADING_ERRORS, Repository, why_missing
from .weights import some

logger = logging.get_logger(__name__)

# Options of `from_pretrained` that apply to the base model as well.
HUB_OPTIONS = ("token", "cache_dir", "local_files_only")
# Test-beds by model type. Importing one registers it.
TESTBEDS = {"diffmask-gru": "gru", "diffmask-counting": "counting"}
_loading = Lock()
# Files of a tokenizer in the order in which Transformers reads them.
TOKENIZER_JSON = ("tokenizer_config.json", "config.json", "tokenizer.json", "special_tokens_map.json",
                  "added_tokens.json", "vocab.json")  # fmt: skip


class Guest:
    """
    Holds the base model of an explainer.

    Without `base`, the base model is loaded on first use, in the precision of training, and moves to the explainer's
    device. A given base model is never moved or cast.

    Args:
        config ([`DiffMaskConfig`]): The explainer's config, which names the base model.
        base ([`~transformers.PreTrainedModel`], *optional*): The base model, if it is already loaded.
        allow_mismatch (`bool`, *optional*, defaults to `False`): Whether other weights give a warning, not an error.

    Attributes:
        location (`str`, *optional*): Folder or Hub id of the base model.
        hub_options (`dict`): `token`, `cache_dir` and `local_files_only` from loading the explainer.
        trust_remote_code (`bool`): Whether to run code of the base model's repo.
        revision (`str`, *optional*): Commit that the explainer itself was loaded from.

    Raises:
        DiffMaskError: If `base` is not the model that the explainer was trained for.
    """

    def __init__(self, config: DiffMaskConfig, base: PreTrainedModel | None = None, allow_mismatch: bool = False):
        self.config, self.allow_mismatch = config, allow_mismatch
        self.location = locate(config.base_model_name_or_path, config.name_or_path)
        self.hub_options: dict[str, Any] = {}
        self.trust_remote_code = False
        self.revision: str | None = None
        self._base: PreTrainedModel | None = None
        self._is_borrowed = False
        keep_freed_memory()
        if base is not None:
            self.borrow(base)

    def borrow(self, base: PreTrainedModel) -> None:
        """
        Checks a base model and holds it by reference.

        Args:
            base ([`~transformers.PreTrainedModel`]): The base model.

        Raises:
            DiffMaskError: If `base` is no Transformers model, or not the model that the explainer was trained for.
        """
        base = unwrapped(base)
        check_base(self.config, base, self.allow_mismatch)
        self.hold(base)

    def hold(self, base: PreTrainedModel) -> None:
        """
        Holds the base model that the config was made from. Checks nothing.

        Args:
            base ([`~transformers.PreTrainedModel`]): The base model.
        """
        self._base, self._is_borrowed = base, True

    def base_on(self, device: torch.device) -> PreTrainedModel:
        """
        The base model on a device.

        Args:
            device (`torch.device`): The explainer's device.

        Returns:
            [`~transformers.PreTrainedModel`]

        Raises:
            DiffMaskError: If the base model cannot be loaded, does not match, or was given on another device.
        """
        if self._base is None:
            with _loading:  # a second thread waits, and then finds it
                if self._base is None:
                    self._base = self._load()
        if self._base.device != device:
            if self._is_borrowed:
                raise DiffMaskError(
                    f"The explainer is on {device} and its base model is on {self._base.device}: move one of them."
                )
            self._base.to(device)
        return self._base

    def _load(self) -> PreTrainedModel:
        if self.location is None:
            raise DiffMaskError("This explainer names no base model: pass the model itself as `base_model=`.")
        location, options = self.location, {"revision": self.config.base_model_revision, **self.hub_options}
        if location.startswith("./"):  # beside the explainer, in its repo
            options |= {"revision": self.revision, "subfolder": location[2:]}
            location = self.config.name_or_path
        try:
            import_testbed(location, **options)
            auto_class = TASKS[self.config.task].auto_class
            base, missing, _ = read_base(
                auto_class, location, self.config.base_model_dtype, self.trust_remote_code, **options
            )
        except DiffMaskError:
            raise
        except LOADING_ERRORS as error:
            raise DiffMaskError(
                f"The base model {self.location!r} of this explainer cannot be loaded: put it there, as "
                f"safetensors, or pass the model itself as `base_model=` ({why_missing(location, error)})."
            ) from error
        if missing:
            raise DiffMaskError(
                f"The weights of the base model {self.location} lack {some(sorted(missing))}: get them again from "
                "where they were published."
            )
        check_base(self.config, base, self.allow_mismatch)
        return base.eval()


def load_base(
    name: str, revision: str | None = None, dtype: str = "float32", trust_remote_code: bool = False
) -> tuple[PreTrainedModel, str | None]:
    """
    A base model and its commit. The task is checked before the weights are loaded.

    Args:
        name (`str`): A folder, or an id on the Hub.
        revision (`str`, *optional*): Branch, tag or commit on the Hub.
        dtype (`str`, *optional*, defaults to `"float32"`): Precision of the weights; `"auto"` for that of the files.
        trust_remote_code (`bool`, *optional*, defaults to `False`): Whether to run code of the repo.

    Returns:
        `tuple`: The model, and its commit (`None` for a folder).

    Raises:
        DiffMaskError: If no task covers the model, it is an adapter, it needs code that is not allowed, it cannot be
            loaded, or its weights lack its head.
    """
    named: dict[str, Any] = {"revision": revision}
    try:
        fields = import_testbed(name, **named)
        _refuse_adapter(name, **named)
        check_code(fields, trust_remote_code, name)
        config = AutoConfig.from_pretrained(name, **named, trust_remote_code=trust_remote_code)
        task = fitting_task(config.architectures or [], config, f"The base model {name}")
        # Fixes the commit, since the branch may move.
        named["revision"] = commit_of(name, revision)
        base, missing, _ = read_base(task.auto_class, name, dtype, trust_remote_code, **named)
    except DiffMaskError:
        raise
    except LOADING_ERRORS as error:
        raise DiffMaskError(f"The base model {name} cannot be loaded ({why_missing(name, error)}).") from error
    if missing:
        raise DiffMaskError(
            f"The base model {name} is not trained: its weights lack {some(sorted(missing))}. Fine-tune it first."
        )
    return base, named["revision"]


def _refuse_adapter(name: str, revision: str | None) -> None:
    """Refuses a repo that has an adapter of PEFT and no model: the model is elsewhere, and PEFT may be missing."""
    if find_adapter_config_file(name, revision=revision) and not cached_file(
        name, "config.json", revision=revision, _raise_exceptions_for_missing_entries=False
    ):
        raise DiffMaskError(
            f"{name} has an adapter (PEFT) and no whole model: load it with PEFT, call `merge_and_unload()`, save the "
            "result with `save_pretrained`, and name this folder. In Python, `DiffMaskModel.from_base_model` takes "
            "the PEFT model itself."
        )


def load_tokenizer(
    name: str, revision: str | None = None, trust_remote_code: bool = False, **options: Any
) -> PreTrainedTokenizerBase:
    """
    The tokenizer of a base model or explainer.

    Args:
        name (`str`): A folder, or an id on the Hub.
        revision (`str`, *optional*): Branch, tag or commit on the Hub.
        trust_remote_code (`bool`, *optional*, defaults to `False`): Whether to run code of the repo.
        options: Further Hub options, such as `token`.

    Returns:
        [`~transformers.PreTrainedTokenizerBase`]

    Raises:
        DiffMaskError: If the tokenizer cannot be loaded; a malformed file is named.
    """
    try:
        return AutoTokenizer.from_pretrained(name, revision=revision, trust_remote_code=trust_remote_code, **options)
    except Exception as error:  # the library `tokenizers` raises bare exceptions
        with suppress(OSError):
            source = Repository(name, revision, **options)
            for file in TOKENIZER_JSON:
                source.json(file)  # names the first malformed file
        raise DiffMaskError(
            f"The tokenizer of {name} cannot be loaded ({reason(error)}): get its files again from where they were "
            "published."
        ) from error


def import_testbed(name: str, **options: Any) -> dict[str, Any]:
    """
    Registers the model class if the model is a test-bed, since Transformers does not know its model type.

    Args:
        name (`str`): A folder, or an id on the Hub.
        options: Hub options, such as `revision` and `subfolder`.

    Returns:
        `dict`: Fields of the model's config.

    Raises:
        DiffMaskError: If the config is malformed, or a count in it is out of bounds.
    """
    _, fields = checked_config(name, **options)
    if fields.get("model_type") in TESTBEDS:
        with suppress(ImportError):  # remote code has no test-beds
            import_module(f"..testbeds.{TESTBEDS[fields['model_type']]}", __package__)
    return fields


def check_base(config: DiffMaskConfig, base: PreTrainedModel, allow_mismatch: bool = False) -> None:
    """
    Refuses a base model that differs from the model that the explainer was trained for. Weights are compared in the
    precision of training.

    Args:
        config ([`DiffMaskConfig`]): The explainer's config.
        base ([`~transformers.PreTrainedModel`]): The base model.
        allow_mismatch (`bool`, *optional*, defaults to `False`): Whether other weights give a warning, not an error.

    Raises:
        DiffMaskError: If the models differ; the message says how. If the explainer reads flow, and it cannot be read.
    """
    task = task_of(base)
    table = base.get_input_embeddings().weight
    expected_and_found: dict[str, tuple[Any, Any]] = {"task": (config.task, task.name)}
    if list(config.state_names) == names_of_blocks(config.num_states - 2):
        expected_and_found |= {
            "hidden size": (config.hidden_size, hidden_size(base)),
            "number of states": (config.num_states, len(state_names(base))),
        }
    if config.state_names[0] == "embeddings":
        expected_and_found["embedding size"] = (config.embedding_size, table.shape[1])
    expected_and_found["vocabulary"] = (config.vocab_size, table.shape[0])
    expected_and_found["number of classes"] = (config.num_labels, base.config.num_labels)
    of_weights: dict[str, tuple[Any, Any]] = {}
    if config.base_model_fingerprint is not None:
        found = fingerprint(base, getattr(torch, config.base_model_dtype))
        of_weights["weights fingerprint"] = (config.base_model_fingerprint, found)
    # A subclass is a model of the class.
    if config.base_model_class not in (None, *(kind.__name__ for kind in type(base).__mro__)):
        of_weights["class"] = (config.base_model_class, type(base).__name__)
    shapes, weights = (
        [f"{what} {found} instead of {wanted}" for what, (wanted, found) in of_part.items() if wanted != found]
        for of_part in (expected_and_found, of_weights)
    )
    if weights and not shapes and allow_mismatch:
        logger.warning(
            f"The explainer was trained for another base model ({', '.join(weights)}): explanations may be wrong. "
            "Verify every explanation."
        )
    elif shapes or weights:
        raise DiffMaskError(
            f"This base model is not the one that the explainer was trained for: {', '.join(shapes + weights)}. "
            "Use the base model it was trained for, or train an explainer for this one."
            + ("" if shapes else " For a later version of it, `allow_base_mismatch=True` goes on with a warning.")
        )
    if config.read_flow:
        check_flow(base)


def commit_of(repo_id: str, revision: str | None = None, cache_dir: str | None = None) -> str | None:
    """
    The commit of a loaded model, from the cache.

    Args:
        repo_id (`str`): Id on the Hub, or a folder.
        revision (`str`, *optional*): Branch, tag or commit that was loaded.
        cache_dir (`str`, *optional*): Folder of the cache.

    Returns:
        `str` or `None`: Full sha; `None` for a folder, or a model that is not in the cache.
    """
    if not repo_id or os.path.isdir(repo_id):
        return None
    try:
        found = try_to_load_from_cache(repo_id, "config.json", cache_dir=cache_dir, revision=revision)
    except HFValidationError:  # a path that no longer exists
        return None
    match = re.search(r"snapshots[/\\]([0-9a-f]{40})[/\\]", found) if isinstance(found, str) else None
    return match[1] if match else None


def locate(base_model: str | None, explainer: str) -> str | None:
    """
    Location of a base model. A relative path starts at the explainer's folder. In a Hub repo it must stay inside.

    Args:
        base_model (`str`, *optional*): `base_model_name_or_path` of the config.
        explainer (`str`): Folder of the explainer, or its id on the Hub.

    Returns:
        `str` or `None`: A folder, a Hub id, or a path inside the explainer's Hub repo; `None` if there is none.
    """
    if base_model is None or not base_model.startswith(("./", "../")):
        return base_model
    if os.path.isdir(explainer):
        # A path climbs from the folder's real place. Where nothing lies there, from the link to it.
        places = [
            os.path.abspath(os.path.join(place, base_model)) for place in (os.path.realpath(explainer), explainer)
        ]
        return next(filter(os.path.isdir, places), places[0])
    return base_model if base_model.startswith("./") and ".." not in base_model.split("/") else None
