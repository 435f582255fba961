"""Loaded explainers stay within the memory limit."""

import os
import shutil
import threading
from pathlib import Path

import pytest
import torch

import hf_diffmask
from hf_diffmask import DiffMaskError
from hf_diffmask.space.settings import Settings
from hf_diffmask.space.shelf import Shelf
from tests.explainer.helpers import indexed

pytest.importorskip("gradio", reason="the Space needs hf-diffmask[space]")


def test_explainers_are_held_within_the_memory_and_the_oldest_goes_first(tmp_path):
    shutil.copytree(Path(hf_diffmask.BUNDLED_CLASSIFIER), tmp_path / "classifier")
    for name in ("one", "two", "three"):
        shutil.copytree(hf_diffmask.BUNDLED_EXPLAINER, tmp_path / name)
    menu = tuple(str(tmp_path / name) for name in ("one", "two", "three"))
    size = Shelf(Settings(explainers=menu)).get("one").size
    # Size of the tensors: base model, explainer, and the explainer for other methods.
    assert size > os.path.getsize(tmp_path / "classifier/model.safetensors") * 0.9
    shelf = Shelf(Settings(explainers=menu, memory_gigabytes=2.5 * size / 1e9))
    one, two = shelf.get("one"), shelf.get("two")
    assert shelf.get("one") is one
    shelf.get("three")  # removes two, the least recently used
    assert shelf.get("one") is one and shelf.get("two") is not two
    assert list(shelf.menu) == ["one", "two", "three"] and "hf-diffmask: begin" not in one.card
    with pytest.raises(DiffMaskError, match="Two explainers of the menu have one name"):
        Shelf(Settings(explainers=(menu[0], menu[0])))
    small = Shelf(Settings(explainers=menu, memory_gigabytes=1e-9))
    assert small.get("one") is small.get("one")  # the last explainer always stays


def test_while_one_is_loaded_others_are_handed_out(monkeypatch):
    shelf, loading, go = Shelf(Settings(allowed=("org/*",))), threading.Event(), threading.Event()
    held = shelf.get("")

    def load(source):
        loading.set()
        assert go.wait(10)
        return held

    monkeypatch.setattr(shelf, "_load", load)
    thread = threading.Thread(target=shelf.get, args=("org/slow",))
    thread.start()
    assert loading.wait(10) and shelf.get("") is held and thread.is_alive()
    go.set()
    thread.join()
    assert list(shelf._held) == [hf_diffmask.BUNDLED_EXPLAINER, "org/slow"]


def test_hostile_folders_are_refused_in_one_sentence(folder, monkeypatch):
    monkeypatch.setattr(torch, "load", None)  # never called
    indexed(folder.parent / "classifier", "pytorch_model.bin")
    for part in (folder.parent / "classifier", folder):
        if part == folder:
            indexed(folder, "pytorch_model.bin")
        with pytest.raises(DiffMaskError, match=f"^model.safetensors.index.json of {part} names 'pytorch_model.bin'"):
            Shelf(Settings(explainers=(str(folder),))).get("")


def test_the_last_state():
    held = Shelf(Settings()).get("")
    assert held.last_state == len(held.explain("dull")["states"]) - 1


def test_a_card_loads_nothing(hostile):
    card = Shelf(Settings(explainers=(str(hostile),))).get("").card
    assert card.startswith("# Hostile card") and "![" not in card and "<img" not in card and "mermaid" not in card
    assert "[picture](https://example.invalid/1.png)" in card
