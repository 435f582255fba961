"""The card beside an explainer, filled from what training saw."""

import os
from importlib import resources
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

from . import heads
from .errors import DiffMaskError
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
    of_path = explainer.config.objective == "path"
    has_masks = of_path and explainer.is_calibrated
    coverage = explainer.threshold_at(float(explainer.config.margin))[1][-1].item() if has_masks else None
    card = ModelCard.from_template(
        data,
        template_str=TEMPLATE.read_text(encoding="utf-8"),
        base_model=base_model,
        model_id=Path(folder).name,
        table=format_table(rows),
        validation_size=validation_size,
        margin=explainer.config.margin,
        class_conditional=explainer.config.class_conditional,
        path=of_path,
        coverage=None if coverage is None else f"{coverage:.2f}",
        preserved="prediction" if explainer.config.target == "prediction" else "output",
        question_answering=explainer.config.task == heads.QUESTION_ANSWERING,
        hidden_masking=explainer.config.masking == "hidden",
        settings="\n".join(f"- {name}: {value}" for name, value in settings.items()),
    )
    path.write_text(str(card), encoding="utf-8")
    return path


def card_of(folder: str | os.PathLike | None) -> Path:
    """
    Finds the card of a local explainer.

    Args:
        folder (`str` or `os.PathLike`, *optional*): The explainer's folder.

    Returns:
        `Path`

    Raises:
        DiffMaskError: If there is no folder with a card.
    """
    path = None if folder is None else Path(folder) / "README.md"
    if path is None or not path.is_file():
        raise DiffMaskError("There is no card to update: name a local folder of an explainer that holds a README.md.")
    return path


def write_faithfulness(path: Path, table: str, result: dict[str, Any]) -> None:
    """
    Puts what `hf-diffmask evaluate` measured into a card, in the place of what it measured before. All else stays.

    Args:
        path (`Path`): The card.
        table (`str`): The table, as markdown.
        result (`dict`): What was measured: `preset`, `inputs`, `dataset`, `held_out` and `machine` are named.
    """
    mean = ", a mean over them" if ", " in result["held_out"] else ""
    _write_section(
        path,
        "faithfulness",
        [
            "## Faithfulness",
            "",
            f"Preset `{result['preset']}`, {result['inputs']} inputs of {result['dataset']}; means with 95 % "
            "intervals of the bootstrap over inputs. Comprehensiveness: higher is better; sufficiency: lower is "
            f"better. Held out: tokens taken away by `{result['held_out']}`{mean}. {result['machine']}.",
            "",
            table,
        ],
    )


def write_audit(path: Path, table: str, result: dict[str, Any]) -> None:
    """
    Puts what `hf-diffmask audit` found into a card, in the place of what it found before. All else stays.

    Args:
        path (`Path`): The card.
        table (`str`): The table, as markdown.
        result (`dict`): What was found: `texts`, `dataset` and `machine` are named.
    """
    about = f"Known criticisms of learned explainers as tests, on {result['texts']} texts of {result['dataset']}."
    _write_section(path, "audit", ["## Audit", "", f"{about} {result['machine']}.", "", table])


def _write_section(path: Path, name: str, lines: list[str]) -> None:
    """Replaces what is between two marks of a card, which is ours, or appends it."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    section = "\n".join([begin, *lines, end])
    card = path.read_text(encoding="utf-8")
    if begin in card and end in card:
        before, _, rest = card.partition(begin)
        card = before + section + rest.partition(end)[2]
    else:
        card = f"{card.rstrip()}\n\n{section}\n"
    path.write_text(card, encoding="utf-8")
