"""What a Space serves, and its limits."""

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ..about import BUNDLED_EXPLAINER
from ..errors import DiffMaskError
from ..hub.card_sections import front_matter

CONCURRENCY = 64  # requests that may wait for the thread that runs the models


@dataclass(frozen=True)
class Settings:
    """
    Settings of a Space.

    Args:
        explainers (`tuple[str, ...]`): The menu: ids on the Hub, or folders of this machine. The first is the default.
        allowed (`tuple[str, ...]`):
            Patterns of ids that visitors may name besides, such as `my-org/*`, or `*` for every one. None by default.
        characters (`int`): Most characters of a text, its pair included.
        tokens (`int`): Most tokens of a text that is compared, or masked by its reader.
        rows (`int`): Most rows of a file.
        upload_megabytes (`float`): Largest file.
        seconds (`float`): Longest time of a request, waiting included.
        memory_gigabytes (`float`): Of explainers and base models that are held; the one used last stays in any case.
        batch_size (`int`): Requests that are run at once when they queue up.
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
            if isinstance(value, int | float) and not value > 0:
                raise DiffMaskError(f"{one.name} must be greater than 0, but is {value}.")
        if not self.explainers:
            raise DiffMaskError("A Space needs at least one explainer: name one.")

    @classmethod
    def from_environment(cls, readme: Path | None = None, **given: Any) -> "Settings":
        """
        Settings from variables such as `DIFFMASK_EXPLAINERS` and `DIFFMASK_ALLOWED`, lists with commas, or
        `DIFFMASK_SECONDS`: one for each field.

        Args:
            readme (`Path`, *optional*): The Space's, whose `models` are the menu where no variable says another.
            given: Fields that are not looked up.

        Returns:
            [`Settings`]

        Raises:
            DiffMaskError: If one is no number, or out of its range.
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
