"""`hf-diffmask push`."""

import argparse

from transformers.utils import logging

from ..hub.client import TIMEOUT
from ..hub.push import push

DESCRIPTION = """Publishes an explainer on the Hub: weights, config, tokenizer, card and plots, in one commit.

  hf auth login
  hf-diffmask push my-explainer org/name
  hf-diffmask push my-explainer org/name --private --revision trial

What has not changed is not sent again. What you wrote into the card, here or on the Hub, stays."""


def run(arguments: list[str]) -> None:
    """
    Runs the command.

    Args:
        arguments (`list[str]`): What follows `hf-diffmask push`.

    Raises:
        DiffMaskError: If the folder holds no explainer, or the Hub refuses or cannot be reached.
    """
    parser = argparse.ArgumentParser(
        prog="hf-diffmask push", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", help="Folder that `hf-diffmask train` wrote.")
    parser.add_argument("repo", help="user/name or organisation/name; made where there is none.")
    parser.add_argument("--private", action="store_true", default=None, help="Make the repo private, if it is new.")
    parser.add_argument("--revision", help="Branch to push to; made where there is none. Default: main.")
    parser.add_argument("--token", help="Default: that of `hf auth login`, or of HF_TOKEN.")
    parser.add_argument("--message", default="Upload explainer", help="Of the commit. Default: %(default)s.")
    parser.add_argument("--license", help="Identifier of the licence, such as mit. Default: what the card names.")
    parser.add_argument(
        "--with_base_model", action="store_true", help="Push a base model from a local folder along, into base_model/."
    )
    parser.add_argument(
        "--with_remote_code",
        action="store_true",
        help="Push the code along, too, for trust_remote_code=True where hf-diffmask is not installed.",
    )
    parser.add_argument(
        "--overwrite_card", action="store_true", help="What you wrote into the card here wins over what is on the Hub."
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=TIMEOUT,
        help="Seconds of silence to wait for an answer. Default: %(default)s.",
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
