"""What ablations are of: base model, data, masks and replacements. Kept beside them as JSON."""

import hashlib
import json
import math
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import PreTrainedTokenizerBase

from ..about import VERSION
from ..base.fingerprint import fingerprint
from ..data.features import Features
from ..data.json_files import read_json
from ..data.writing import write_text
from ..errors import DiffMaskError
from ..explainer.modeling_diffmask import DiffMaskModel
from ..explainer.weights import digest
from .running import replacements_for

SCHEMA = 1
"""Version of the files, and of the way masks are drawn."""
DESCRIPTION_FILE = "ablations.json"
# Compared, with their words in errors. The other fields are for readers.
_WORDS = {
    "base_model_fingerprint": "base model", "base_model_class": "class of the base model", "task": "task",
    "task_constants": "constants of the task", "tokenizer": "tokenizer", "inputs": "number of inputs",
    "data": "data set", "masks": "number of masks", "seed": "seed", "replacements": "set of replacements",
    "baseline": "baseline", "unit": "unit",
}  # fmt: skip


@dataclass(frozen=True)
class Description:
    """What ablations are of. It holds no text of the data set, and no path."""

    base_model_fingerprint: str
    """Hash of the base model's weights, see [`~hf_diffmask.base.fingerprint.fingerprint`]."""
    base_model_class: str
    base_model_dtype: str
    task: str
    task_constants: dict[str, Any]
    tokenizer: str
    """Hash of the tokenizer's vocabulary and special tokens."""
    data: str
    """Hash of the features of all inputs, in their order."""
    inputs: int
    masks: int
    """Masks for each input."""
    seed: int
    replacements: list[str]
    outputs: int
    """Numbers that are kept for each mask, see [`Task.kept`]."""
    baseline: str
    """Hash of the baseline's values."""
    versions: dict[str, str]
    unit: str = "token"
    """What masks leave out together; a hash of the units in all inputs follows, if they have several tokens."""

    @property
    def digest(self) -> str:
        """Hash of the fields that are compared (`str`)."""
        compared = {name: getattr(self, name) for name in _WORDS}
        return _hash([json.dumps([SCHEMA, compared], sort_keys=True).encode()])

    def check(self, asked: "Description", folder: str | os.PathLike) -> None:
        """
        Refuses ablations that are not those that are asked for.

        Args:
            asked ([`Description`]): The ablations that are asked for.
            folder (`str` or `os.PathLike`): The folder of these ablations, for the error.

        Raises:
            DiffMaskError: With all that differs.
        """
        differing = [
            f"another {words} ({_shown(mine)} instead of {_shown(other)})"
            for name, words in _WORDS.items()
            if not _alike(mine := getattr(self, name), other := getattr(asked, name))
        ]
        if differing:
            raise DiffMaskError(
                f"The ablations in {folder} are those of {' and '.join(differing)}: name another folder, or ask for "
                "the same."
            )


def describe(
    explainer: DiffMaskModel,
    tokenizer: PreTrainedTokenizerBase,
    dataset: Features,
    masks: int,
    seed: int,
    replacements: Iterable[str] | None = None,
) -> Description:
    """
    The description of ablations that are to be made.

    Args:
        explainer ([`DiffMaskModel`]): Holds base model and baseline.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): The base model's tokenizer.
        dataset ([`~hf_diffmask.data.features.Features`]): The inputs.
        masks (`int`): Masks for each input.
        seed (`int`): Seed of the masks.
        replacements (`Iterable[str]`, *optional*): By default all that the base model allows, as far as
            there are pairs of masks.

    Returns:
        [`Description`]
    """
    base, config, task = explainer.base, explainer.config, explainer.task
    replacements = replacements_for(explainer) if replacements is None else replacements
    return Description(
        base_model_fingerprint=fingerprint(base, getattr(torch, config.base_model_dtype)),
        base_model_class=type(base).__name__,
        base_model_dtype=str(base.dtype).removeprefix("torch."),
        task=task.name,
        task_constants=json.loads(json.dumps(config.task_constants or {})),
        tokenizer=_of_tokenizer(tokenizer),
        data=_of_data(dataset, dataset.items[0].keys() - {"unit_of"}),
        inputs=len(dataset),
        masks=masks,
        seed=seed,
        replacements=list(replacements)[: masks // 2],  # one pair of masks has one replacement
        outputs=task.choices(config) if task.has_choices else 1,
        baseline=digest({"baseline": explainer.baseline_at(0).float()})[:16],
        versions={"hf-diffmask": VERSION, "torch": torch.__version__, "transformers": transformers.__version__},
        unit=config.unit if config.unit == "token" else f"{config.unit}, {_of_data(dataset, ('unit_of',))}",
    )


def write_description(folder: str | os.PathLike, description: Description) -> None:
    """
    Writes a description into its folder.

    Args:
        folder (`str` or `os.PathLike`): The folder of the ablations.
        description ([`Description`]): The description.

    Raises:
        DiffMaskError: If the folder cannot be written.
    """
    content = {"schema": SCHEMA, **asdict(description)}
    write_text(Path(folder) / DESCRIPTION_FILE, json.dumps(content, indent=2) + "\n")


def read_description(folder: str | os.PathLike) -> Description | None:
    """
    The description of the ablations in a folder.

    Args:
        folder (`str` or `os.PathLike`): The folder.

    Returns:
        [`Description`] or `None`: `None` if there is none.

    Raises:
        DiffMaskError: If the file is damaged, of another kind, or of another version.
    """
    path = Path(folder) / DESCRIPTION_FILE
    if not path.exists():
        return None
    content = read_json(path)
    schema = content.pop("schema", None)
    content.setdefault("unit", "token")  # the first version knew no other
    if schema != SCHEMA or content.keys() != {field.name for field in fields(Description)}:
        raise DiffMaskError(
            f"{path} describes no ablations of this version (schema {schema}, not {SCHEMA}): name another folder, and "
            "make them again with `hf-diffmask ablate`."
        )
    return Description(**content)


def _hash(parts: Iterable[bytes]) -> str:
    made = hashlib.sha256()
    for part in parts:
        made.update(part)
    return made.hexdigest()[:16]


def _of_tokenizer(tokenizer: PreTrainedTokenizerBase) -> str:
    special = {name: str(token) for name, token in tokenizer.special_tokens_map.items()}
    return _hash([json.dumps([sorted(tokenizer.get_vocab().items()), sorted(special.items())]).encode()])


def _of_data(dataset: Features, names: Iterable[str]) -> str:
    """Hash of some features of all inputs."""
    names = sorted(names)

    def parts() -> Iterable[bytes]:
        for item in dataset.items:
            for name in names:
                yield f"{name} {len(item[name])} ".encode()
                yield np.asarray(item[name], dtype=np.int64).tobytes()

    return _hash(parts())


def _alike(one: Any, other: Any) -> bool:
    """Whether two values are equal, numbers up to what another order of summation changes."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_alike(value, other[name]) for name, value in one.items())
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-4, abs_tol=1e-6)
    return bool(one == other)


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
