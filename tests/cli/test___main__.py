"""`python -m hf_diffmask.cli` runs the command and exits with its status."""

import runpy

import pytest

import hf_diffmask


def run(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["hf_diffmask.cli", *arguments])
    with pytest.raises(SystemExit) as stop:
        runpy.run_module("hf_diffmask.cli", run_name="__main__")
    return stop.value.code


def test_version_and_exit_status(monkeypatch, capsys):
    assert run(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"hf-diffmask {hf_diffmask.__version__}\n"
    assert run(monkeypatch, "fly") == 2
    assert capsys.readouterr().err.startswith("hf-diffmask: there is no command 'fly'")
