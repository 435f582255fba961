"""`hf-diffmask card`."""

import argparse
from pathlib import Path

from transformers.utils import logging

from ..data.writing import write_text
from ..explainer.loading import load_explainer
from ..hub.card_folder import card_for, check_local, write_eval_results
from ..hub.card_sections import merge, validate

DESCRIPTION = """Writes and validates the card of a local explainer. Pushes nothing.

  hf-diffmask card my-explainer --license mit

Sections between the marks <!-- hf-diffmask: begin ... --> and <!-- hf-diffmask: end ... --> are rewritten with
the results of training, `evaluate --update_card` and `audit --update_card`. Your own text stays."""


def run(arguments: list[str]) -> None:
    """
    Runs the command.

    Args:
        arguments (`list[str]`): Arguments after `hf-diffmask card`.

    Raises:
        DiffMaskError: If the folder holds no explainer, or its card cannot be published.
    """
    parser = argparse.ArgumentParser(
        prog="hf-diffmask card", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", help="Folder that `hf-diffmask train` wrote.")
    parser.add_argument("--license", help="Licence identifier, such as mit. Default: the card's licence.")
    args = parser.parse_args(arguments)
    logging.disable_progress_bar()
    check_local(args.folder)
    explainer = load_explainer(args.folder)
    path = Path(args.folder) / "README.md"
    there = path.read_text(encoding="utf-8") if path.is_file() else ""
    card = merge(there, card_for(args.folder, explainer, args.license))
    validate(card)  # first: an invalid card must not replace a valid one
    write_text(path, card)
    write_eval_results(args.folder)
    print(path)
