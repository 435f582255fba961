"""Loaded explainers of a Space. The least recently used is dropped first."""

import os
import re
import threading
from collections import OrderedDict
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from ..about import BUNDLED_EXPLAINER
from ..data.encoding import EncodedText
from ..display.markdown import without_images
from ..errors import DiffMaskError, reason
from ..explainer.modeling_diffmask import DiffMaskModel
from ..explainer.repository import LOADING_ERRORS, Repository
from ..methods.plain import plain_explainer
from ..pipeline.loading import load_pipeline
from .settings import Settings

BUNDLED_NAME = "bundled"


@dataclass(frozen=True, eq=False)
class Held:
    """A loaded explainer. It is equal only to itself: requests for the same object run as one batch."""

    explain: Any
    """The pipeline."""
    plain: DiffMaskModel | None
    """Untrained explainer with the mask token as baseline, for the other methods; `None` for tasks without choices."""
    card: str
    size: int
    """Memory for weights, in bytes."""

    @property
    def last_state(self) -> int:
        """Number of the last state, counted from 0."""
        return len(self.explain.model.config.columns) - 1

    def encoded(self, item: dict[str, str]) -> EncodedText:
        """
        The tokens of an input.

        Args:
            item (`dict[str, str]`): An input of the pipeline.

        Returns:
            [`~hf_diffmask.data.encoding.EncodedText`]: All tokens, special tokens included.
        """
        task, what = self.explain.model.task, "The input"
        return task.encoded(self.explain.tokenizer, task.check(item, what), what)


class Shelf:
    """
    Loads explainers by the names that visitors may use. Never runs code from a repo.

    Args:
        settings ([`Settings`]): Menu, allowed ids and memory limit.

    Raises:
        DiffMaskError: If two explainers of the menu have the same name.
    """

    def __init__(self, settings: Settings):
        self.settings = settings
        self.menu = {_label(name): name for name in settings.explainers}
        """Hub ids or folders by the name that visitors see."""
        if len(self.menu) < len(settings.explainers):
            raise DiffMaskError("Two explainers of the menu have one name: rename a folder, or leave one out.")
        self._held: OrderedDict[str, Held] = OrderedDict()
        self._lock, self._loading = threading.Lock(), threading.Lock()

    def get(self, name: str) -> Held:
        """
        A loaded explainer.

        Args:
            name (`str`): A name of the menu or an allowed Hub id; an empty name means the first of the menu.

        Returns:
            [`Held`]

        Raises:
            DiffMaskError: If the explainer is not allowed or cannot be loaded.
        """
        name = (name or next(iter(self.menu))).strip()
        source = self.menu.get(name) or self._allowed(name)
        held = self._lookup(source)
        if held is None:
            with self._loading:  # one load at a time; loaded explainers stay available
                held = self._lookup(source) or self._keep(source, self._load(source))
        return held

    def _lookup(self, source: str) -> Held | None:
        with self._lock:
            if source in self._held:
                self._held.move_to_end(source)
            return self._held.get(source)

    def _keep(self, source: str, held: Held) -> Held:
        with self._lock:
            self._held[source] = held
            most = self.settings.memory_gigabytes * 1e9
            while len(self._held) > 1 and sum(one.size for one in self._held.values()) > most:
                self._held.popitem(last=False)
        return held

    def _allowed(self, name: str) -> str:
        """An allowed Hub id. A local folder must be in the menu."""
        try:
            validate_repo_id(name)
        except HFValidationError:
            raise DiffMaskError(f"{name[:100]!r} is no id of an explainer on the Hub: name one as org/name.") from None
        if not any(fnmatchcase(name, pattern) for pattern in self.settings.allowed):
            raise DiffMaskError(
                f"The explainer {name!r} is not served here: choose one of {', '.join(self.menu)}"
                + (f", or one that fits {', '.join(self.settings.allowed)}." if self.settings.allowed else ".")
            )
        if os.path.exists(name):
            raise DiffMaskError(f"{name!r} is a folder of this machine, and not served here.")
        return name

    def _load(self, source: str) -> Held:
        # The commit that was checked: the branch may move.
        commit = None if source in self.settings.explainers else _check_base(source)
        explain = load_pipeline(source, commit)
        model = explain.model
        plain = None
        if model.task.has_choices:
            plain = plain_explainer(model, explain.tokenizer)
        parts = [model, model.base, *([] if plain is None else [plain])]
        tensors = (tensor for part in parts for tensor in part.state_dict().values())
        return Held(explain, plain, _card(source), sum(tensor.numel() * tensor.element_size() for tensor in tensors))


def _check_base(source: str) -> str | None:
    """The commit of an explainer. Refuses a local folder as base model: the author of the repo chose the path."""
    try:
        repository = Repository(source)
    except LOADING_ERRORS as error:
        raise DiffMaskError(f"The explainer {source} cannot be loaded ({reason(error)}).") from error
    base = str((repository.config() or {}).get("base_model_name_or_path") or "")
    if not base.startswith("./") and (os.path.exists(base) or base.startswith(("/", "..", "~"))):
        raise DiffMaskError(f"{source} names a folder as its base model, and is not served here.")
    return repository.revision


def _label(name: str) -> str:
    if name == BUNDLED_EXPLAINER:
        return BUNDLED_NAME
    return Path(name).resolve().name if os.path.isdir(name) else name


def _card(source: str) -> str:
    """The card without front matter. Tags are escaped and images become links: both could call other servers."""
    try:
        path = Path(source, "README.md") if os.path.isdir(source) else Path(hf_hub_download(source, "README.md"))
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return "This explainer has no card."
    text = text.split("\n---\n", 1)[-1].strip() if text.startswith("---\n") else text
    text = re.sub(r"<!--.*?-->\n?", "", text, flags=re.DOTALL)
    return re.sub(r"<(?=[a-zA-Z/!?])", "&lt;", without_images(text))
