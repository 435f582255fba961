"""The card in an explainer's folder."""

import os
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

from ..data.writing import write_text
from ..errors import DiffMaskError
from ..explainer.modeling_diffmask import DiffMaskModel
from .card import LIBRARY, render
from .card_sections import SECTION, merge
from .results import add_results, read_results, showing

PLOT = "sparsity_divergence.png"


def write_card(folder: str | os.PathLike, explainer: DiffMaskModel, license: str | None = None) -> Path | None:
    """
    Writes the generated sections into an explainer's `README.md`; the owner's text stays.

    Args:
        folder (`str` or `os.PathLike`): The explainer's folder.
        explainer ([`DiffMaskModel`]): The explainer; its base model is not loaded.
        license (`str`, *optional*): Identifier of the licence; by default the card's licence.

    Returns:
        `Path` or `None`: The card; `None` if the existing card has no generated sections.

    Raises:
        DiffMaskError: If the existing front matter cannot be read.
    """
    path = Path(folder) / "README.md"
    there = path.read_text(encoding="utf-8") if path.exists() else ""
    if there and not SECTION.search(there):
        return None
    card = card_for(folder, explainer, license)
    write_text(path, merge(there, card))
    write_eval_results(folder)
    return path


def card_for(folder: str | os.PathLike, explainer: DiffMaskModel, license: str | None = None, **settings: Any) -> str:
    """
    The generated card for an explainer's folder.

    Args:
        folder (`str` or `os.PathLike`): The explainer's folder.
        explainer ([`DiffMaskModel`]): The explainer; its base model is not loaded.
        license (`str`, *optional*): Identifier of the licence.
        settings: Arguments of [`render`] that replace the defaults for a folder.

    Returns:
        `str`
    """
    named = explainer.config.base_model_name_or_path
    # A local path means nothing to readers elsewhere.
    is_local = named is None or named.startswith(".") or os.path.isabs(named) or os.path.isdir(named)
    settings = {
        "model_id": Path(folder).resolve().name,
        "base_model": None if is_local else named,
        "plot": PLOT if (Path(folder) / PLOT).is_file() else None,
        **settings,
    }
    coverage = explainer.masks.coverage(explainer.margin())
    results = read_results(folder)
    with showing(folder):
        return render(explainer.config, coverage, results, license=license, **settings)


def update_card(folder: str | os.PathLike, explainer: DiffMaskModel, **parts: Any) -> None:
    """
    Adds results to a local explainer and updates its card.

    Args:
        folder (`str` or `os.PathLike`): The explainer's folder.
        explainer ([`DiffMaskModel`]): The explainer; its base model is not loaded.
        parts: See [`~hf_diffmask.hub.results.add_results`].

    Raises:
        DiffMaskError: If the card has no generated sections. The results are saved anyway.
    """
    add_results(folder, **parts)
    if write_card(folder, explainer) is None:
        raise DiffMaskError(
            f"{Path(folder) / 'README.md'} has no generated section and was not changed: `hf-diffmask card {folder}` "
            "adds the sections to it."
        )


def check_local(folder: str | os.PathLike | None) -> None:
    """
    Refuses a folder whose card cannot be updated.

    Args:
        folder (`str` or `os.PathLike`, *optional*): The explainer's folder.

    Raises:
        DiffMaskError: If there is no folder, or it holds no explainer.
    """
    if folder is None or not (Path(folder) / "config.json").is_file():
        raise DiffMaskError("There is no card to update: name a local folder of an explainer.")


def write_eval_results(folder: str | os.PathLike) -> None:
    """
    Writes `.eval_results/hf-diffmask.yaml` for the Hub. Deletes the file if the evaluation data are not on the Hub.

    Args:
        folder (`str` or `os.PathLike`): The explainer's folder.
    """
    path = Path(folder) / ".eval_results" / f"{LIBRARY}.yaml"
    measured = read_results(folder).get("faithfulness")
    with showing(folder):
        if not measured or not measured["dataset_on_hub"]:
            path.unlink(missing_ok=True)  # stale: from an earlier evaluation
            return
        entries = [
            EvalResultEntry(
                dataset_id=measured["dataset"],
                task_id=measured.get("dataset_config") or "default",
                value=round(figures["mean"], 4),
                notes=f"{name} of diffmask, preset {measured['preset']}, {measured['inputs']} inputs",
            )
            for name, figures in measured["figures"].items()
        ]
    path.parent.mkdir(exist_ok=True)
    write_text(path, yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False))
