"""`hf-diffmask push-space`."""

import argparse
import shutil
from pathlib import Path

from transformers.utils import logging

from ..errors import DiffMaskError, reason

DESCRIPTION = """Publishes a Space in one commit: the page of `hf-diffmask serve` and this package as a wheel.

  hf auth login
  hf-diffmask push-space org/name --explainers org/my-explainer
  hf-diffmask push-space org/name --output_dir space    (writes it there and pushes nothing)

Variables of the Space set its limits; the Space's README.md lists them."""


def run(arguments: list[str]) -> None:
    """
    Runs the command.

    Args:
        arguments (`list[str]`): Arguments after `hf-diffmask push-space`.

    Raises:
        DiffMaskError: If the Space cannot be made, or the Hub refuses or cannot be reached.
    """
    parser = argparse.ArgumentParser(
        prog="hf-diffmask push-space", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("repo", help="user/name or organisation/name; created if it does not exist.")
    parser.add_argument("--explainers", nargs="+", default=[], help="Ids on the Hub. Default: the bundled explainer.")
    parser.add_argument("--private", action="store_true", default=None, help="Make a new Space private.")
    parser.add_argument("--token", help="Hub token. Default: from `hf auth login` or HF_TOKEN.")
    parser.add_argument("--output_dir", help="Write the Space into this new folder and push nothing.")
    args = parser.parse_args(arguments)
    from ..space.deploy import push_space, write_space

    logging.disable_progress_bar()
    if args.output_dir:
        folder = Path(args.output_dir)
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            raise DiffMaskError(f"{folder} exists: name another folder with --output_dir.") from None
        except OSError as error:
            raise DiffMaskError(
                f"{folder} cannot be made ({reason(error)}): name a folder with --output_dir."
            ) from None
        try:
            write_space(folder, tuple(args.explainers))
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)  # a half Space looks like a whole one
            raise
        print(f"The Space is in {folder}: python {folder / 'app.py'}")
        return
    address = push_space(args.repo, tuple(args.explainers), private=args.private, token=args.token)
    print(f"The Space is published: {address}")
