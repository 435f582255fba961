"""The command line, `hf-diffmask COMMAND`: one file per command, with its options and printing."""

import importlib
import sys

from ..errors import DiffMaskError
from .streams import fail, prepare, sentence_of


def run(command: str, arguments: list[str]) -> int:
    """
    Runs a command.

    Args:
        command (`str`): Name of an existing command.
        arguments (`list[str]`): Arguments after the name.

    Returns:
        `int`: Exit status: 0 for success, 2 for a wrong input or setting, or if an output cannot be written, 130 if
            interrupted, 143 if terminated.
    """
    prepare()
    try:
        try:
            importlib.import_module(f".{command.replace('-', '_')}", __package__).run(arguments)
        finally:
            sys.stdout.flush()
    except DiffMaskError as error:
        return fail(str(error))
    except KeyboardInterrupt as error:
        print(f"\nhf-diffmask: {str(error) or 'interrupted'}", file=sys.stderr)  # below a progress bar
        return getattr(error, "status", 130)
    except Exception as error:
        if (sentence := sentence_of(error)) is None:
            raise
        return fail(sentence)
    return 0
