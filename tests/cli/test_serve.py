"""`hf-diffmask serve` reports wrong settings."""

import pytest

from hf_diffmask_entry import main

pytest.importorskip("gradio", reason="the Space needs hf-diffmask[space]")


def test_commands_say_what_is_wrong(tmp_path, capsys):
    assert main(["serve", "--explainers", str(tmp_path / "nothing")]) == 2
    assert "cannot be loaded" in capsys.readouterr().err
    assert main(["serve", "--port", "99999"]) == 2
    assert "name another --port" in capsys.readouterr().err
