"""`hf-diffmask list`."""

import argparse
import json

from ..display.wording import visible
from ..hub.find import find

DESCRIPTION = """Lists explainers on the Hub, those downloaded most first.

  hf-diffmask list --base_model org/classifier"""


def run(arguments: list[str]) -> None:
    """
    Runs the command.

    Args:
        arguments (`list[str]`): What follows `hf-diffmask list`.

    Raises:
        DiffMaskError: If the Hub cannot be reached.
    """
    parser = argparse.ArgumentParser(
        prog="hf-diffmask list", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base_model", help="Id of the model that they explain. Default: all.")
    parser.add_argument("--token", help="Default: that of `hf auth login`, or of HF_TOKEN.")
    parser.add_argument("--limit", type=int, default=100, help="Most to list. Default: %(default)s.")
    parser.add_argument("--json", action="store_true", help="One object a line, for programs.")
    args = parser.parse_args(arguments)
    found = find(args.base_model, args.token, args.limit)
    for one in found:
        # Of the card, which anybody can write: nothing of it may steer a terminal.
        base = (one.card_data or {}).get("base_model") or "unknown"
        entry = {"id": one.id, "base_model": str(base), "downloads": one.downloads or 0}
        print(json.dumps(entry) if args.json else visible("  ".join(map(str, entry.values()))))
    if not found and not args.json:
        print(f"There are none{f' for {args.base_model}' if args.base_model else ''} yet.")
