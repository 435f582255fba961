"""Typed options become settings; folders are not overwritten without the option."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hf_diffmask import DiffMaskError
from hf_diffmask.cli.arguments import output_folder, parse, parser_of

DESCRIPTION = """Bakes bread.

  hf-diffmask bake --flour rye
  hf-diffmask bake --minutes 50"""


@dataclass
class BakeArguments:
    """Options for baking."""

    flour: str = field(metadata={"help": "Kind of flour."})
    minutes: int = field(default=40, metadata={"help": "Time in the oven."})
    salt: float | None = field(default=None, metadata={"help": "Grams. Default: by the flour."})

    def __post_init__(self):
        if self.minutes < 0:
            raise DiffMaskError("--minutes must be 0 or more.")
        if self.salt == 13:
            raise ValueError("An unlucky number.\nReally.")


@pytest.fixture
def parser():
    return parser_of(BakeArguments, "bake", DESCRIPTION)


def test_options_become_settings(parser):
    (found,) = parse(parser, ["--flour", "rye", "--minutes", "50"])
    assert found == BakeArguments("rye", 50, None)
    parser.add_argument("--hot", action="store_true")
    settings, more = parse(parser, ["--flour", "rye", "--hot"])
    assert settings == BakeArguments("rye") and more.hot is True


def test_what_cannot_be_used_is_one_sentence(parser):
    for arguments, message in (
        (["--flour", "rye", "--minutes", "-1"], "--minutes must be 0 or more."),
        (["--flour", "rye", "--salt", "13"],
         "The options cannot be used: An unlucky number (see hf-diffmask bake --help)."),
    ):  # fmt: skip
        with pytest.raises(DiffMaskError) as error:
            parse(parser, arguments)
        assert str(error.value) == message
    with pytest.raises(DiffMaskError, match=r"cannot be used: .*--sugar.*see hf-diffmask bake --help"):
        parse(parser, ["--flour", "rye", "--sugar", "2"])


@dataclass
class ServeArguments:
    """Options with flags, for a command that takes texts."""

    table: str | None = field(default=None)
    seats: int = field(default=2)
    outside: bool = field(default=False)
    candles: bool = field(default=True)


@pytest.mark.parametrize(
    ("arguments", "options", "texts"),
    [
        (["--outside", "good film"], {"outside": True}, ["good film"]),
        (["--outside", "false"], {"outside": True}, ["false"]),
        (["--outside=false", "a"], {"outside": False}, ["a"]),
        (["--out", "a"], {"outside": True}, ["a"]),
        (["--no_candles", "a", "--table", "3", "b"], {"candles": False, "table": "3"}, ["a", "b"]),
        (["a", "--outside"], {"outside": True}, ["a"]),
        (["--seats", "-1", "a"], {"seats": -1}, ["a"]),
        (["--table", "-hello", "a"], {"table": "-hello"}, ["a"]),
        (["--table=", "a"], {"table": ""}, ["a"]),
        (["--outside", "--", "-5", "--", "--outside"], {"outside": True}, ["-5", "--", "--outside"]),
        ([], {}, []),
    ],
)
def test_flags_never_take_the_text_after_them(arguments, options, texts):
    parser = parser_of(ServeArguments, "serve", "Serves.")
    parser.add_argument("texts", nargs="*")
    settings, given = parse(parser, arguments)
    assert settings == ServeArguments(**options) and given.texts == texts


@pytest.mark.parametrize("text", ["-5", "-hello", "-h is short", "--outsider = x", "-"])
def test_texts_that_begin_with_a_dash_are_refused(text):
    parser = parser_of(ServeArguments, "serve", "Serves.")
    parser.add_argument("texts", nargs="*")
    for arguments in ([text], ["--outside", text], ["a", text]):
        with pytest.raises(DiffMaskError) as error:
            parse(parser, arguments)
        assert str(error.value) == (
            f"There is no option {text!r} (see hf-diffmask serve --help): if it is a text, write -- before it."
        )


def test_flags_of_commands_without_texts_take_a_value():
    parser = parser_of(ServeArguments, "serve", "Serves.")
    for arguments, outside in (
        (["--outside"], True), (["--outside", "True"], True), (["--outside", "false", "--seats", "3"], False),
    ):  # fmt: skip
        assert parse(parser, arguments)[0].outside is outside


def test_files_of_arguments_are_not_looked_for(parser, tmp_path, monkeypatch):
    (tmp_path / "program.args").write_text("--minutes 3")
    monkeypatch.setattr("sys.argv", [str(tmp_path / "program.py")])
    assert parse(parser, ["--flour", "rye"])[0].minutes == 40


def test_help_keeps_its_lines_and_names_defaults_once(parser):
    printed = parser.format_help()
    assert printed.startswith("usage: hf-diffmask bake ") and DESCRIPTION in printed
    said = " ".join(printed.split())
    assert "Time in the oven. (default: 40)" in said and "Grams. Default: by the flour." in said
    assert said.count("(default: ") == 1


def test_output_folders(tmp_path):
    folder = output_folder(str(tmp_path / "deep" / "out"), False)
    assert folder == tmp_path / "deep" / "out" and not folder.parent.exists(), "a run that is refused leaves nothing"
    folder.mkdir(parents=True)
    assert output_folder(str(folder), False) == folder, "an empty folder is allowed"
    (folder / "thesis.txt").write_text("mine")
    assert output_folder(str(folder), True) == folder and (folder / "thesis.txt").read_text() == "mine"
    with pytest.raises(DiffMaskError) as error:
        output_folder(str(folder), False)
    assert str(error.value) == (
        f"The folder {folder} is not empty: name another with --output_dir, or add --overwrite_output_dir."
    )
    for wrong in (folder / "thesis.txt", Path(folder / "thesis.txt" / "below")):
        with pytest.raises(DiffMaskError, match=f"{folder / 'thesis.txt'} is a file: name a folder"):
            output_folder(str(wrong), True)
