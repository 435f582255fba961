"""`hf-diffmask list`."""

import argparse
import json
import re

from ..display.wording import visible
from ..hub.find import find

DESCRIPTION = """Lists explainers on the Hub, the most downloaded first.

  hf-diffmask list --base_model org/classifier"""


def run(arguments: list[str]) -> None:
    """
    Runs the command.

    Args:
        arguments (`list[str]`): Arguments after `hf-diffmask list`.

    Raises:
        DiffMaskError: If the Hub cannot be reached.
    """
    parser = argparse.ArgumentParser(
        prog="hf-diffmask list", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base_model", help="Only explainers for this base model (an id on the Hub). Default: all.")
    parser.add_argument("--token", help="Hub token. Default: from `hf auth login` or HF_TOKEN.")
    parser.add_argument("--limit", type=int, default=100, help="List at most N explainers. Default: %(default)s.")
    parser.add_argument("--json", action="store_true", help="Print one JSON object per line, for programs.")
    args = parser.parse_args(arguments)
    found = find(args.base_model, args.token, args.limit)
    for one in found:
        # Anybody can write a card, so `visible` disarms terminal control characters.
        named = [tag for tag in one.tags or [] if re.fullmatch("base_model:[^:]+", tag)]
        base = named[0].removeprefix("base_model:") if named else "unknown"
        entry = {"id": one.id, "base_model": base, "downloads": one.downloads or 0}
        print(json.dumps(entry) if args.json else visible("  ".join(map(str, entry.values()))))
    if not found and not args.json:
        print(f"There are no explainers{f' for {args.base_model}' if args.base_model else ''} yet.")
