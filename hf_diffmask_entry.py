"""The console script `hf-diffmask`: answers help and unknown commands at once; `hf_diffmask.cli` runs commands."""

import sys
from importlib.metadata import version

COMMANDS = {
    "train": "train an explainer for a classifier",
    "ablate": "run random masks of a data set once, to learn from",
    "explain": "explain texts with an explainer",
    "analyze": "sum up what is kept at which state over a data set: a page with figures",
    "evaluate": "measure how faithful explanations are, beside other methods",
    "audit": "test an explainer for the known faults of learned explanations",
    "card": "write and validate the card of a local explainer",
    "push": "publish an explainer on the Hub",
    "list": "find explainers on the Hub",
    "serve": "serve a page that explains, masks and compares",
    "push-space": "publish that page as a Space",
    "demo": "train, save, load and use an explainer in three minutes, offline",
}

USAGE = """usage: hf-diffmask COMMAND [options]

Explains Transformers models by Differentiable Masking.

commands:
{commands}

`hf-diffmask COMMAND --help` shows the options of a command. A first look, offline:

  hf-diffmask explain "a warm and quietly funny film"
"""


def main(arguments: list[str] | None = None) -> int:
    """
    Runs the command line. The package is imported only for a command, because the import takes seconds.

    Args:
        arguments (`list[str]`, *optional*): By default the arguments of the process.

    Returns:
        `int`: Exit status: 0, or 2 if the user must fix the input or a setting, or an output cannot be written.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    usage = USAGE.format(commands="\n".join(f"  {name:<12}{what}" for name, what in COMMANDS.items()))
    if not arguments or arguments[0] in ("-h", "--help"):
        return _shown(usage, 0 if arguments else 2)
    if arguments[0] in ("-V", "--version"):
        return _shown(f"hf-diffmask {version('hf-diffmask')}", 0)
    if arguments[0] not in COMMANDS:
        print(f"hf-diffmask: there is no command {arguments[0]!r}\n\n{usage}", file=sys.stderr)
        return 2
    from hf_diffmask.cli import run

    return run(arguments[0], arguments[1:])


def _shown(text: str, status: int) -> int:
    """Prints a text; the status is 2 if stdout cannot be written."""
    try:
        print(text, flush=True)
    except OSError as error:
        from hf_diffmask.cli.streams import fail, sentence_of

        return fail(sentence_of(error) or str(error))
    return status
