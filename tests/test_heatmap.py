"""What is shown: escaped, self-contained, and saying what the numbers say."""

import html.parser

import pytest

from hf_diffmask.heatmap import to_html, to_text
from hf_diffmask.wording import certificate, dropped_at, visible

NAMES = ["embeddings", "block.0.input", "block.0.output"]


def make(tokens, **fields):
    rows = [
        {"token": token, "start": 0, "end": 1, "special": False, "score": sum(states) / 3, "kept": states[-1] > 0.5,
         "states": states}
        for token, states in tokens
    ]  # fmt: skip
    result = {
        "label": "POSITIVE", "score": 0.9, "tokens": rows, "states": NAMES, "state": NAMES[-1], "kept_share": 0.36,
        "margin": 0.1, "divergence": 0.0213, "same_prediction": True, "within_margin": True,
    }  # fmt: skip
    return {**result, **fields}


HOSTILE = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "\"><svg onload=alert(1)>", "'><b>", "&lt;b&gt;",
    "{{7*7}}", "${7*7}", "</style><script>", "javascript:alert(1)", "<!--", "]]>",
]  # fmt: skip


class Tags(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text.append(data)


def test_everything_from_the_input_is_escaped():
    result = make([(text, [0.9, 0.8, 0.7]) for text in HOSTILE], label="<script>alert(2)</script>")
    page = Tags()
    page.feed(to_html([result], title="<script>alert(3)</script>"))
    allowed = {"html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "section", "span", "div",
               "table", "thead", "tbody", "tr", "th", "td", "strong", "fieldset", "legend", "input", "label", "button",
               "figure", "figcaption", "svg", "path", "polyline", "circle"}  # fmt: skip
    assert set(page.tags) <= allowed
    assert not any(name.startswith("on") or name == "src" for name, _ in page.attributes)
    assert not any(name == "href" for name, _ in page.attributes)
    shown = "".join(page.text)
    assert all(text in shown for text in HOSTILE)


def test_page_is_self_contained_and_holds_the_numbers():
    page = to_html([make([("film", [0.91, 0.62, 0.31])])])
    assert "http" not in page and "<script" not in page and "@import" not in page
    assert all(value in page for value in ("0.91", "0.62", "0.31"))
    assert "prefers-color-scheme: dark" in page and 'tabindex="0"' in page and "dropped at" in page


def test_dropped_at_is_the_first_state_that_masks():
    token = make([("film", [0.9, 0.5, 0.1])])["tokens"][0]
    assert dropped_at(token, NAMES) == "block.0.input"
    assert dropped_at(make([("film", [0.9, 0.8, 0.51])])["tokens"][0], NAMES) is None


def test_certificate_says_what_was_checked():
    good = certificate(make([]))
    assert "64 % of the tokens" in good and "0.021 nats" in good and "within the margin of 0.1" in good
    bad = certificate(make([], same_prediction=False, within_margin=False))
    assert "outside the margin" in bad and "the prediction changes" in bad
    unchecked = {name: value for name, value in make([]).items() if name != "divergence"}
    assert "not verified" in certificate(unchecked)


def test_text_cannot_steer_a_terminal():
    assert visible("a\x1b[31mb\u202ec\x00\ud800") == "a\\x1b[31mb\\u202ec\\x00\\ud800"
    shown = to_text(make([("\x1b[2J", [0.9, 0.8, 0.7])]), color=False)
    assert "\x1b" not in shown
    assert "\x1b[" in to_text(make([("film", [0.9, 0.8, 0.7])]), color=True)


def test_text_marks_what_is_dropped_without_colour():
    shown = to_text(make([("warm", [0.9, 0.8, 0.7]), ("the", [0.9, 0.4, 0.1])]), color=False)
    assert "warm (the)" in shown and "dropped at block.0.input" in shown and "kept to the end" in shown


@pytest.mark.parametrize("value", [0.0, 0.2, 0.4, 0.5, 0.6, 0.8, 1.0])
def test_contrast_of_every_colour(value):
    import re

    style = re.search(r"background: rgb\((\d+), (\d+), (\d+)\); color: (#\w+)", to_html([make([("x", [value] * 3)])]))
    background, front = [int(channel) for channel in style.groups()[:3]], style.group(4)

    def luminance(channels):
        linear = [c / 255 / 12.92 if c / 255 <= 0.03928 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted([luminance(background), 0.0 if front == "#000" else 1.0], reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_a_path_says_what_is_dropped_and_what_that_does_to_the_class():
    result = make([("film", [0.9, 0.2, 0.6]), ("warm", [0.1, 0.2, 0.3])])
    for token, kept in zip(result["tokens"], (True, False), strict=True):
        token |= {"evidence": 0.4, "kept": kept}
    result |= {"drop": 0.0314, "divergence": 0.5, "same_prediction": True, "within_margin": True, "kept_share": 0.5}
    assert "moves the probability of" in certificate(result) and "by -0.031, within" in certificate(result)
    result["explained_label"] = "<b>"
    assert "of <b> by" in certificate(result) and "&lt;b&gt;" in to_html([result]) and "<b>" not in to_html([result])
    text = to_text(result, False)
    assert text.count("dropped") == 1 and "dropped at" not in text
    assert "<td>kept</td>" in to_html([result]) and "<td>dropped</td>" in to_html([result])
