"""A report is a page with every figure and its data; input texts are escaped."""

import json
import warnings
from html.parser import HTMLParser

import pytest

from hf_diffmask.analysis.report import Entry, write

pytest.importorskip("matplotlib", reason="figures need hf-diffmask[plots]")
FACTS = {
    "version": "1.2",
    "explainers": [
        {"model": "<mine>", "base_model": "acme/base", "masking": "input", "margin": 0.1, "states": ["a", "b"]}
    ],
    "data": "texts & more.csv",
    "inputs": 1200,
    "available": 34567,
    "notes": ["A <note>."],
}


class Page(HTMLParser):
    """Tags, attributes and text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def entry():
    from matplotlib.figure import Figure

    figure = Figure()
    figure.add_subplot().set_title("\U0001f3ac")  # no glyph in the font
    table = [["token", "<state>"], ["<b>film</b>", "0.50"], ["\u202e", "0.25"]]
    return Entry("one", "A <title>", ["First & foremost.", "Second."], 'An "alt"', {"values": [0.5]}, table, figure)


def test_files(entry, tmp_path):
    other = entry._replace(name="two", title="Another")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write(tmp_path, FACTS, {"First": [entry], "Empty": [], "Last": [other]})
    names = {"index.html", "report.json", "one.png", "one.json", "two.png", "two.json"}
    assert {path.name for path in tmp_path.iterdir()} == names
    assert (tmp_path / "two.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((tmp_path / "one.json").read_text()) == {"values": [0.5]}
    assert json.loads((tmp_path / "report.json").read_text()) == {
        **FACTS,
        "figures": [
            {"title": "A <title>", "image": "one.png", "data": "one.json"},
            {"title": "Another", "image": "two.png", "data": "two.json"},
        ],
    }


def test_the_page(entry, tmp_path):
    write(tmp_path, FACTS, {"First": [entry], "Empty": []})
    page = Page((tmp_path / "index.html").read_text(encoding="utf-8"))
    for said in (
        "Explainer <mine>: input masking, margin 0.1 nats, 2 states, for the base model acme/base.",
        "Inputs: 1,200 of 34,567, the first of texts & more.csv.",
        "hf-diffmask 1.2;", "A <note>.", "A <title>", "First & foremost.", "<state>", "<b>film</b>", "\\u202e",
    ):  # fmt: skip
        assert said in page.text, said
    assert page.tags.count("section") == 1 and "Empty" not in page.text
    assert ("alt", 'An "alt"') in page.attributes and "b" not in page.tags and "\u202e" not in page.text
    links = [value for name, value in page.attributes if name in ("href", "src")]
    assert sorted(set(links)) == ["one.json", "one.png", "report.json"]
    assert page.tags.count("th") == 4 and page.tags.count("td") == 2
