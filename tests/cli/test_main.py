"""`hf-diffmask` without a command, with an unknown command or with --help lists the commands."""

import pytest

from hf_diffmask_entry import main


def test_help_teaches(capsys):
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert all(command in printed for command in ("train", "ablate", "explain", "demo"))
    assert main([]) == 2 and main(["fly"]) == 2
    for command in ("train", "ablate", "explain", "demo"):
        with pytest.raises(SystemExit) as stop:
            main([command, "--help"])
        assert stop.value.code == 0
    assert "--text_column" in capsys.readouterr().out
