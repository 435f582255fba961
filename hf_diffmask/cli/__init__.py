"""The command line, `hf-diffmask COMMAND`: options and printing, one command a file."""

import importlib
import os
import sys

from ..errors import DiffMaskError


def run(command: str, arguments: list[str]) -> int:
    """
    Runs a command.

    Args:
        command (`str`): Its name, one that exists.
        arguments (`list[str]`): What follows the name.

    Returns:
        `int`: Exit status: 0, or 2 where the input or a setting must be put right.
    """
    try:
        importlib.import_module(f".{command.replace('-', '_')}", __package__).run(arguments)
    except DiffMaskError as error:
        print(f"hf-diffmask: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # Whoever read our output has had enough; the interpreter must not try to flush it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        print("hf-diffmask: interrupted", file=sys.stderr)
        return 130
    return 0
