"""The card beside an explainer, filled from what training saw."""

import os
from importlib import resources
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

from . import heads
from .modeling_diffmask import DiffMaskModel
from .validation import StateRow, format_table

LIBRARY = "hf-diffmask"
TEMPLATE = resources.files("hf_diffmask.model_cards") / "explainer.md"


def write_card(
    folder: str | os.PathLike,
    explainer: DiffMaskModel,
    rows: list[StateRow],
    validation_size: int,
    settings: dict[str, Any],
) -> Path | None:
    """
    Writes `README.md` into an explainer's folder, unless there is one that is not ours.

    Args:
        folder (`str` or `os.PathLike`): The explainer's folder.
        explainer ([`DiffMaskModel`]): The explainer.
        rows (`list[StateRow]`): Its table of states.
        validation_size (`int`): Inputs that the table was measured on.
        settings (`dict`): Training settings to list.

    Returns:
        `Path` or `None`: The card; `None` where somebody else's was there already.
    """
    path = Path(folder) / "README.md"
    if path.exists() and f"library_name: {LIBRARY}" not in path.read_text(encoding="utf-8"):
        return None
    named = explainer.config.base_model_name_or_path
    # A folder of this machine says nothing to a reader elsewhere: its last part does.
    is_local = named is None or os.path.isdir(named) or named.startswith((".", "/"))
    base_model = Path(named or "base model").name if is_local else str(named)
    data = ModelCardData(
        library_name=LIBRARY,
        base_model=None if is_local else base_model,
        base_model_relation=None if is_local else "adapter",
        tags=["diffmask", "interpretability", "attribution"],
    )
    card = ModelCard.from_template(
        data,
        template_str=TEMPLATE.read_text(encoding="utf-8"),
        base_model=base_model,
        model_id=Path(folder).name,
        table=format_table(rows),
        validation_size=validation_size,
        margin=explainer.config.margin,
        class_conditional=explainer.config.class_conditional,
        question_answering=explainer.config.task == heads.QUESTION_ANSWERING,
        hidden_masking=explainer.config.masking == "hidden",
        settings="\n".join(f"- {name}: {value}" for name, value in settings.items()),
    )
    path.write_text(str(card), encoding="utf-8")
    return path
