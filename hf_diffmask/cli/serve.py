"""`hf-diffmask serve`."""

import argparse
from typing import Any

from ..errors import DiffMaskError

DESCRIPTION = """Serves a page that explains, masks and compares, and its API endpoints. Needs hf-diffmask[space].

  hf-diffmask serve
  hf-diffmask serve --explainers my-explainer org/other --port 8000

Without --explainers the small bundled sentiment classifier is explained; this needs no network. Settings not given
here come from environment variables such as DIFFMASK_ROWS (docs/space.md)."""


def run(arguments: list[str]) -> None:
    """
    Runs the command until it is interrupted.

    Args:
        arguments (`list[str]`): Arguments after `hf-diffmask serve`.

    Raises:
        DiffMaskError: If Gradio is not installed, a setting is wrong, or an explainer cannot be loaded.
    """
    parser = argparse.ArgumentParser(
        prog="hf-diffmask serve", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--explainers", nargs="+", help="Explainers in the menu: folders or ids on the Hub.")
    parser.add_argument("--allowed", nargs="+", help="Patterns of further ids that visitors may enter. Default: none.")
    parser.add_argument("--host", default="127.0.0.1", help="Address to listen on. Default: %(default)s.")
    parser.add_argument("--port", type=int, help="Port to listen on. Default: the first free port from 7860.")
    args = parser.parse_args(arguments)
    try:
        from ..space.app import build, launch
        from ..space.settings import Settings
    except ImportError as error:
        raise DiffMaskError(f"The page needs more packages ({error}): pip install 'hf-diffmask[space]'.") from error
    given: dict[str, Any] = {
        name: tuple(value) for name in ("explainers", "allowed") if (value := getattr(args, name))
    }
    settings = Settings.from_environment(**given)
    try:
        launch(build(settings), settings, server_name=args.host, server_port=args.port)
    except (OSError, OverflowError) as error:
        raise DiffMaskError(f"The page cannot be served ({error}): name another --port or --host.") from error
