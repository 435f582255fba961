"""Writes training results, plot and card beside an explainer."""

import os
from typing import Any

from transformers.utils import logging

from ..data.writing import writing
from ..display import plots
from ..errors import DiffMaskError
from ..explainer.modeling_diffmask import DiffMaskModel
from ..training.validation import StateRow, cost_by_share
from .card_folder import PLOT, write_card
from .examples import example_attributions
from .results import add_results

logger = logging.get_logger(__name__)


def add_training_results(
    folder: str, explainer: DiffMaskModel, tokenizer: Any, training: dict[str, Any], rows: list[StateRow]
) -> None:
    """
    Writes training results beside an explainer, then the plot and the card made from them.

    Args:
        folder (`str`): The explainer's folder.
        explainer ([`DiffMaskModel`]): The explainer, with its base model loaded.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): The base model's tokenizer.
        training (`dict`): Data, settings and machine of the training.
        rows (`list[StateRow]`): The table of states.
    """
    examples = example_attributions(explainer, tokenizer, training["pairs"])
    add_results(folder, training=training, states=[row._asdict() for row in rows], examples=examples)
    points = cost_by_share(explainer, rows)
    try:
        if points:
            cost = explainer.preserved.axis(explainer.task)
            figure = plots.sparsity_divergence(points, explainer.margin(), cost)
            with writing(os.path.join(folder, PLOT), "wb") as file:
                figure.savefig(file, format="png")
    except DiffMaskError as error:  # without matplotlib the card has no plot
        logger.info(f"The card has no plot: {error}")
    write_card(folder, explainer)
