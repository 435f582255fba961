"""A file is whole or unchanged, lies where it was named, and has the permissions that users expect."""

import contextlib
import errno
import os
import re
import resource
import stat
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from hf_diffmask import DiffMaskError
from hf_diffmask.about import PACKAGE
from hf_diffmask.data.writing import check_folder, is_stream, refusal, write_text, writing

LONG = "x" * 3_000_000


@contextlib.contextmanager
def full_disk(size=1 << 20):
    """No file can grow beyond `size` bytes: the system refuses as for a full disk, with EFBIG in place of ENOSPC."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextlib.contextmanager
def umask(mask):
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


@pytest.mark.parametrize(("mask", "expected"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600), (0o027, 0o640)])
def test_a_new_file_has_the_permissions_of_the_umask(tmp_path, mask, expected):
    with umask(mask):
        write_text(tmp_path / "new", "a film")
        with writing(tmp_path / "bytes", "wb") as file:
            file.write(b"a film")
    assert mode(tmp_path / "new") == mode(tmp_path / "bytes") == expected
    assert (tmp_path / "new").read_text() == (tmp_path / "bytes").read_text() == "a film"
    assert sorted(os.listdir(tmp_path)) == ["bytes", "new"]


def test_a_replaced_file_keeps_its_permissions(tmp_path):
    path = tmp_path / "mine"
    path.write_text("old")
    path.chmod(0o640)
    write_text(path, "new")
    assert (path.read_text(), mode(path)) == ("new", 0o640)


def test_links_stay_and_their_targets_are_written(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "file").write_text("old")
    (tmp_path / "far" / "again").symlink_to("file")
    (tmp_path / "link").symlink_to("far/again")
    (tmp_path / "new").symlink_to(tmp_path / "far" / "made")
    for name, target in (("link", "file"), ("new", "made")):
        write_text(tmp_path / name, "a film")
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / "far" / target).read_text() == "a film" and not (tmp_path / "far" / target).is_symlink()
    assert (tmp_path / "far" / "again").is_symlink()
    assert sorted(os.listdir(tmp_path / "far")) == ["again", "file", "made"]
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(DiffMaskError, match="circle cannot be written"):
        write_text(tmp_path / "circle", "a film")


def test_a_pipe_takes_what_is_written(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for name in ("pipe", "link"):
        read = []
        reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_text()))  # noqa: B023
        reader.start()
        assert is_stream(tmp_path / name)
        write_text(tmp_path / name, LONG)
        reader.join()
        assert read == [LONG] and stat.S_ISFIFO(os.stat(tmp_path / "pipe").st_mode)
    assert sorted(os.listdir(tmp_path)) == ["link", "pipe"]


def test_a_pipe_whose_reader_has_gone(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(DiffMaskError, match=r"pipe cannot be written \(Broken pipe\): its reader has closed it\.$"):
        with writing(tmp_path / "pipe") as file:
            os.close(reader)
            file.write(LONG)


def test_the_own_output_takes_what_is_written_in_order(capfd, tmp_path):
    (tmp_path / "link").symlink_to("/dev/stdout")
    for path in ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", tmp_path / "link"):
        assert is_stream(path)
        print("before", end="")
        write_text(path, " é ")
        print("after", end="")
        assert capfd.readouterr().out == "before é after"
    assert os.listdir(tmp_path) == ["link"]
    write_text("/dev/null", "gone")
    assert not is_stream(tmp_path) and not is_stream(tmp_path / "nothing")


def test_a_full_disk_changes_nothing(tmp_path):
    (tmp_path / "old").write_text("mine")
    with full_disk():
        for name in ("old", "new"):
            with pytest.raises(DiffMaskError) as error:
                write_text(tmp_path / name, LONG)
            said = "(File too large): make room on its disk, or name another place."
            assert str(error.value) == f"{tmp_path / name} cannot be written {said}"
    assert os.listdir(tmp_path) == ["old"] and (tmp_path / "old").read_text() == "mine"
    with pytest.raises(DiffMaskError, match=r"/dev/full cannot be written \(No space left on device\): make room"):
        write_text("/dev/full", "a film")


def test_places_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("mine")
    for path, why in (
        (tmp_path / "file" / "new", "Not a directory"),
        (tmp_path / "gone" / "new", "No such file or directory"),
        (tmp_path, "Is a directory"),
        ("/proc/new", "No such file or directory"),
    ):
        with pytest.raises(DiffMaskError) as error:
            write_text(path, "a film")
        assert str(error.value) == f"{path} cannot be written ({why}): name a place where you may write."
    assert os.listdir(tmp_path) == ["file"] and (tmp_path / "file").read_text() == "mine"


def test_a_protected_file_stays(tmp_path, monkeypatch):
    path = tmp_path / "mine"
    path.write_text("old")
    path.chmod(0o444)
    # The administrator may write everything, so the system's answer is a stand-in here.
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    with pytest.raises(DiffMaskError, match=r"mine cannot be written \(Permission denied\)"):
        write_text(path, "new")
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["mine"]


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, DiffMaskError])
def test_an_error_of_the_block_changes_nothing(tmp_path, kind):
    (tmp_path / "old").write_text("mine")
    for name in ("old", "new"):
        with pytest.raises(kind, match="on purpose"), writing(tmp_path / name) as file:
            file.write("half")
            raise kind("on purpose")
    assert os.listdir(tmp_path) == ["old"] and (tmp_path / "old").read_text() == "mine"


def test_an_error_about_another_file_is_not_taken_for_its_own(tmp_path):
    with pytest.raises(FileNotFoundError, match="elsewhere"), writing(tmp_path / "new"):
        open(tmp_path / "elsewhere")  # noqa: SIM115
    assert os.listdir(tmp_path) == []


def test_odd_names_and_characters(tmp_path):
    for name in ("n" * 255, "é ü*?[1]", "-x", ".hidden"):
        write_text(tmp_path / name, "caf\udce9 ☕")
        assert (tmp_path / name).read_text(encoding="utf-8") == "caf\\udce9 ☕"


def test_a_refusal_is_told_in_every_library(tmp_path, tokenizer):
    """Each error is a real one, of a file that cannot grow."""
    weights, found = {"a": torch.ones(20_000)}, []
    with full_disk(3_000):
        for save in (
            lambda: (tmp_path / "file").write_text(LONG),
            lambda: save_file(weights, tmp_path / "a.safetensors"),
            lambda: torch.save(weights, tmp_path / "a.pt"),
            lambda: tokenizer.save_pretrained(tmp_path / "tokenizer"),
        ):
            with pytest.raises(Exception) as error:
                save()
            found.append(refusal(error.value))
    assert found == [errno.EFBIG, errno.EFBIG, errno.ENOSPC, errno.EFBIG]
    for other in (ValueError("no space"), FileNotFoundError(errno.ENOENT, "gone"), RuntimeError("shapes differ"),
                  RuntimeError("[enforce fail at inline_container.cc:145] . failed reading zip archive")):  # fmt: skip
        assert refusal(other) is None


def test_a_folder_is_checked_and_not_made(tmp_path, monkeypatch):
    check_folder(tmp_path / "deep" / "er")
    check_folder(tmp_path)
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file", tmp_path / "file" / "deep"):
        with pytest.raises(DiffMaskError, match="file is a file: name a folder"):
            check_folder(path)
    # The administrator may write everything, so the system's answer is a stand-in here.
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    with pytest.raises(DiffMaskError, match=r"er cannot be written \(Permission denied\): name a place"):
        check_folder(tmp_path / "deep" / "er")
    assert os.listdir(tmp_path) == ["file"]


def test_paths_may_be_of_either_kind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_text("here", "a film")
    write_text(Path("there"), "a film")
    assert sorted(os.listdir(tmp_path)) == ["here", "there"]


def test_nothing_else_writes_files():
    """Checkpoints are written by `transformers.Trainer` and beside its files."""
    others = {"data/writing.py", "training/checkpoints.py", "training/trainer.py"}
    writes = re.compile(r"\.write_(text|bytes)\(|savefig\((?!file)|\bopen\([^()]*[\"'][wax]b?[\"']|NamedTemporaryFile")
    found = {
        path.relative_to(PACKAGE).as_posix(): line.strip()
        for path in PACKAGE.rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if writes.search(line) and "os.devnull" not in line
    }
    assert {name: line for name, line in found.items() if name not in others} == {}
