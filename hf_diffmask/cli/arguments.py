"""Turns typed options into settings."""

import argparse
from pathlib import Path
from typing import Any

from transformers import HfArgumentParser

from ..data.writing import check_folder
from ..errors import DiffMaskError, reason


class _Help(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """Keeps the lines of a description, and names defaults that the help text does not name."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        said = action.help is not None and "Default: " in action.help
        return action.help if said or action.default is None else super()._get_help_string(action)


def parser_of(options: Any, command: str, description: str) -> HfArgumentParser:
    """
    Returns the parser of a command.

    Args:
        options (`type` or `tuple`): Data classes of its options.
        command (`str`): The command's name.
        description (`str`): What the command does, with examples.

    Returns:
        [`~transformers.HfArgumentParser`]
    """
    return HfArgumentParser(options, prog=f"hf-diffmask {command}", description=description, formatter_class=_Help)


def parse(parser: HfArgumentParser, arguments: list[str]) -> tuple[Any, ...]:
    """
    Returns a command's parsed options.

    Args:
        parser ([`~transformers.HfArgumentParser`]): Parser of the command.
        arguments (`list[str]`): Arguments after the command's name.

    Returns:
        `tuple`: One object per data class of the parser, then a namespace with its other arguments, if any.

    Raises:
        DiffMaskError: If an option is unknown, or options contradict each other. If a text begins with a dash and no
            `--` stands before it.
    """
    if any(not action.option_strings for action in parser._actions):
        arguments = _texts_last(parser, arguments)
    try:
        return parser.parse_args_into_dataclasses(arguments, look_for_args_file=False)
    except DiffMaskError:
        raise
    except ValueError as error:
        raise DiffMaskError(f"The options cannot be used: {reason(error)} (see {parser.prog} --help).") from error


def _texts_last(parser: HfArgumentParser, arguments: list[str]) -> list[str]:
    """
    The arguments of a command that takes texts, as options, `--`, texts.

    The parser alone would take the text after a flag for the flag's value, and a text like `-hello` for `-h`.
    """
    options: list[str] = []
    texts: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument == "--":
            texts += rest
        elif not argument.startswith("-"):
            texts.append(argument)
        else:
            name, is_whole, _ = argument.partition("=")
            known = parser._option_string_actions
            # Options may be shortened, as in --over.
            begun = (known[option] for option in known if name.startswith("--") and option.startswith(name))
            action = known.get(name) or next(begun, None)
            if action is None:
                raise DiffMaskError(
                    f"There is no option {argument[:40]!r} (see {parser.prog} --help): if it is a text, write -- "
                    "before it."
                )
            value = None if is_whole or action.nargs in (0, "?") else next(rest, None)
            if value is None:
                options.append(argument)
            else:
                is_dashed = value.startswith("-") and value not in known
                options += [f"{argument}={value}"] if is_dashed else [argument, value]
    return [*options, "--", *texts] if texts else options


def output_folder(name: str, overwrite: bool) -> Path:
    """
    A command's output folder. It is not made yet, so a run that is refused leaves nothing.

    Args:
        name (`str`): The folder.
        overwrite (`bool`): Whether the folder may hold files already.

    Returns:
        `Path`

    Raises:
        DiffMaskError: If the folder cannot be written, or holds files and `overwrite` is off.
    """
    folder = Path(name)
    check_folder(folder)
    if folder.exists() and any(folder.iterdir()) and not overwrite:
        raise DiffMaskError(
            f"The folder {folder} is not empty: name another with --output_dir, or add --overwrite_output_dir."
        )
    return folder
