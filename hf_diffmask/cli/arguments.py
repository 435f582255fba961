"""From what was typed to settings."""

from pathlib import Path
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


def output_folder(name: str, overwrite: bool) -> Path:
    """
    Makes the folder that a command writes to.

    Args:
        name (`str`): The folder.
        overwrite (`bool`): Whether it may hold something already.

    Returns:
        `Path`

    Raises:
        DiffMaskError: If it cannot be made, or holds something.
    """
    folder = Path(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DiffMaskError(f"{folder} cannot be made ({reason(error)}): name a folder with --output_dir.") from error
    if any(folder.iterdir()) and not overwrite:
        raise DiffMaskError(
            f"The folder {folder} is not empty: name another with --output_dir, or add --overwrite_output_dir."
        )
    return folder
