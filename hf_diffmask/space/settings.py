"""Settings of a Space: its explainers and limits."""

import math
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ..about import BUNDLED_EXPLAINER
from ..errors import DiffMaskError
from ..hub.card_sections import front_matter

CONCURRENCY = 64  # requests that may wait for the model thread


@dataclass(frozen=True)
class Settings:
    """
    Settings of a Space.

    Args:
        explainers (`tuple[str, ...]`): The menu: Hub ids or local folders. The first is the default.
        allowed (`tuple[str, ...]`):
            Patterns of further Hub ids that visitors may name, such as `my-org/*`, or `*` for all. None by default.
        characters (`int`): Largest number of characters in a text, its second text included.
        tokens (`int`): Largest number of tokens in a text for Compare and What if, special tokens included.
        rows (`int`): Largest number of rows in a file.
        upload_megabytes (`float`): Largest size of a file, in MB.
        seconds (`float`):
            Longest time of a request, waiting included; loading an explainer does not count. For a file, the limit is
            for reading and the first batch together, and for each further batch.
        memory_gigabytes (`float`): Memory for explainers and base models, in GB. The last used explainer always stays.
        batch_size (`int`): Largest number of requests in a batch.
    """

    explainers: tuple[str, ...] = (BUNDLED_EXPLAINER,)
    allowed: tuple[str, ...] = ()
    characters: int = 5000
    tokens: int = 400
    rows: int = 500
    upload_megabytes: float = 5.0
    seconds: float = 60.0
    memory_gigabytes: float = 4.0
    batch_size: int = 16

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(value, int | float) and not 0 < value < math.inf:
                raise DiffMaskError(f"{one.name} must be greater than 0 and finite, but is {value}.")
        if not self.explainers:
            raise DiffMaskError("A Space needs at least one explainer: name one.")

    @classmethod
    def from_environment(cls, readme: Path | None = None, **given: Any) -> "Settings":
        """
        Settings from environment variables, one for each field, such as `DIFFMASK_SECONDS`. `DIFFMASK_EXPLAINERS` and
        `DIFFMASK_ALLOWED` are lists with commas.

        Args:
            readme (`Path`, *optional*): The Space's README. Its `models` are the menu without `DIFFMASK_EXPLAINERS`.
            given: Fields that override the variables.

        Returns:
            [`Settings`]

        Raises:
            DiffMaskError: If a value is not a number or out of range, or the README's front matter cannot be read.
        """
        found: dict[str, Any] = {}
        if readme is not None and (models := front_matter(readme.read_text(encoding="utf-8")).get("models")):
            found["explainers"] = tuple(models)
        for one in fields(cls):
            text = os.environ.get(name := f"DIFFMASK_{one.name.upper()}", "").strip()
            if not text:
                continue
            if one.type not in (int, float):
                found[one.name] = tuple(part.strip() for part in text.split(",") if part.strip())
                continue
            try:
                found[one.name] = one.type(text)
            except ValueError:
                raise DiffMaskError(f"{name} must be a number, but is {text!r}.") from None
        return cls(**{**found, **given})
