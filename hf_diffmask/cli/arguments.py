"""From what was typed to settings."""

from typing import Any

from transformers import HfArgumentParser

from ..errors import DiffMaskError, reason


def parse(parser: HfArgumentParser, arguments: list[str]) -> tuple[Any, ...]:
    """
    Parses a command's options.

    Args:
        parser ([`~transformers.HfArgumentParser`]): Knows the options.
        arguments (`list[str]`): What follows the command's name.

    Returns:
        `tuple`: One object for each data class of the parser, then a namespace of its other arguments, if any.

    Raises:
        DiffMaskError: If an option is unknown, or options contradict one another.
    """
    try:
        return parser.parse_args_into_dataclasses(arguments, look_for_args_file=False)
    except DiffMaskError:
        raise
    except ValueError as error:
        raise DiffMaskError(f"The options cannot be used: {reason(error)} (see {parser.prog} --help).") from error
