"""Pages are escaped and self-contained."""

import html.parser

from hf_diffmask.display.page import to_html
from tests.display.helpers import make

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
