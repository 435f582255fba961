"""The command line, `hf-diffmask COMMAND`: one file per command, with its options and printing."""

import importlib
import os
import sys

from ..errors import DiffMaskError


def run(command: str, arguments: list[str]) -> int:
    """
    Runs a command.

    Args:
        command (`str`): Name of an existing command.
        arguments (`list[str]`): Arguments after the name.

    Returns:
        `int`: Exit status: 0 for success, 2 for a wrong input or setting, 130 if interrupted, 141 for a closed pipe.
    """
    try:
        importlib.import_module(f".{command.replace('-', '_')}", __package__).run(arguments)
    except DiffMaskError as error:
        print(f"hf-diffmask: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader has closed the pipe: the interpreter must not flush stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        print("hf-diffmask: interrupted", file=sys.stderr)
        return 130
    return 0
