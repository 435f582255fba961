"""`hf-diffmask push`."""

import argparse

from transformers.utils import logging

from ..hub.client import TIMEOUT
from ..hub.push import push

DESCRIPTION = """Publishes an explainer on the Hub: weights, config, tokenizer, card and plots, in one commit.

  hf auth login
  hf-diffmask push my-explainer org/name
  hf-diffmask push my-explainer org/name --private --revision trial

Unchanged files are not sent again. Your own text in the card, here or on the Hub, stays."""


def run(arguments: list[str]) -> None:
    """
    Runs the command.

    Args:
        arguments (`list[str]`): Arguments after `hf-diffmask push`.

    Raises:
        DiffMaskError: If the folder holds no explainer, or the Hub refuses or cannot be reached.
    """
    parser = argparse.ArgumentParser(
        prog="hf-diffmask push", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", help="Folder that `hf-diffmask train` wrote.")
    parser.add_argument("repo", help="user/name or organisation/name; created if it does not exist.")
    parser.add_argument("--private", action="store_true", default=None, help="Make a new repo private.")
    parser.add_argument("--revision", help="Branch to push to; created if it does not exist. Default: main.")
    parser.add_argument("--token", help="Hub token. Default: from `hf auth login` or HF_TOKEN.")
    parser.add_argument("--message", default="Upload explainer", help="Commit message. Default: %(default)s.")
    parser.add_argument("--license", help="Licence identifier, such as mit. Default: the card's licence.")
    parser.add_argument(
        "--with_base_model", action="store_true", help="Also push a local base model, into base_model/."
    )
    parser.add_argument(
        "--with_remote_code",
        action="store_true",
        help="Also push the code, for trust_remote_code=True without an installed hf-diffmask.",
    )
    parser.add_argument(
        "--overwrite_card", action="store_true", help="Your text in the local card replaces the text on the Hub."
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=TIMEOUT,
        help="Seconds to wait while the Hub sends nothing. Default: %(default)s.",
    )
    args = parser.parse_args(arguments)
    logging.disable_progress_bar()
    address = push(
        args.folder,
        args.repo,
        private=args.private,
        revision=args.revision,
        token=args.token,
        message=args.message,
        with_base_model=args.with_base_model,
        with_remote_code=args.with_remote_code,
        overwrite_card=args.overwrite_card,
        license=args.license,
        timeout=args.timeout,
    )
    print(f"{args.folder} is published: {address}")
