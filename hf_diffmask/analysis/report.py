"""The report of `hf-diffmask analyze`: a page, and each figure as image and data. All text is escaped."""

import json
import warnings
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..data.writing import make_folder, write_text, writing
from ..display.page import PAGE_STYLE
from ..display.wording import visible

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STYLE = """
body { max-width: 60rem; overflow-wrap: anywhere; }
section { padding: 0.5rem 0; }
a { color: inherit; }
figure { margin: 1rem 0 2rem; }
figure img { max-width: 100%; height: auto; border-radius: 0.3rem; }
figcaption p { margin: 0.5rem 0; }
.note { border-left: 0.3rem solid var(--quiet); padding-left: 0.7rem; }
th:first-child { text-align: left; }
"""


class Entry(NamedTuple):
    """A figure of the report, with its data."""

    name: str
    """File name without suffix."""
    title: str
    caption: list[str]
    """Paragraphs, unescaped."""
    alt: str
    data: Any
    table: list[list[str]]
    """The data as rows; the first row is the header."""
    figure: "Figure"


def _shown(text: str) -> str:
    return escape(visible(text))


def _table(rows: list[list[str]]) -> str:
    header = "".join(f'<th scope="col">{_shown(cell)}</th>' for cell in rows[0])
    lines = "\n".join(
        f'<tr><th scope="row">{_shown(first)}</th>' + "".join(f"<td>{_shown(cell)}</td>" for cell in others) + "</tr>"
        for first, *others in rows[1:]
    )
    return f"<table><thead><tr>{header}</tr></thead><tbody>\n{lines}\n</tbody></table>"


def _figure(entry: Entry) -> str:
    caption = "\n".join(f"<p>{_shown(paragraph)}</p>" for paragraph in entry.caption)
    return f"""<figure>
<figcaption><h3>{_shown(entry.title)}</h3>
{caption}
</figcaption>
<a href="{entry.name}.png"><img src="{entry.name}.png" alt="{_shown(entry.alt)}"></a>
<details><summary>The data (<a href="{entry.name}.json">{entry.name}.json</a>)</summary>
<div class="scroll" tabindex="0" role="region" aria-label="Data of the figure: {_shown(entry.title)}">
{_table(entry.table)}
</div></details>
</figure>"""


def _page(facts: dict[str, Any], sections: dict[str, list[Entry]]) -> str:
    explainers = "".join(
        f"<li>Explainer {_shown(e['model'])}: {e['masking']} masking, margin {e['margin']:g} nats, "
        f"{len(e['states'])} states, for the base model {_shown(e['base_model'])}.</li>\n"
        for e in facts["explainers"]
    )
    notes = "\n".join(f'<p class="note">{_shown(note)}</p>' for note in facts["notes"])
    body = "\n".join(
        f"<section>\n<h2>{_shown(title)}</h2>\n" + "\n".join(map(_figure, entries)) + "\n</section>"
        for title, entries in sections.items()
        if entries
    )
    return f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>What is kept, and where</title><style>{PAGE_STYLE}{_STYLE}</style></head>
<body><h1>What is kept, and where</h1>
<ul class="quiet">
{explainers}<li>Inputs: {facts["inputs"]:,} of {facts["available"]:,}, the first of {_shown(facts["data"])}.</li>
<li>hf-diffmask {facts["version"]}; the same facts for programs: <a href="report.json">report.json</a>.</li>
</ul>
{notes}
{body}
</body></html>
"""


def write(folder: Path, facts: dict[str, Any], sections: dict[str, list[Entry]]) -> None:
    """
    Writes a report: `index.html`, `report.json`, and a PNG and a JSON file for each figure.

    Args:
        folder (`Path`): Output folder.
        facts (`dict`):
            Facts about the run, ready for JSON: `version`, `explainers` (each with `model`, `base_model`, `masking`,
            `margin` in nats and `states`), `data`, `inputs`, `available` and `notes`.
        sections (`dict[str, list[Entry]]`): Title and figures of each section.
    """
    make_folder(folder)
    entries = [entry for section in sections.values() for entry in section]
    for entry in entries:
        write_text(folder / f"{entry.name}.json", json.dumps(entry.data, indent=1) + "\n")
        with warnings.catch_warnings():
            # The plot shows boxes for glyphs that the font lacks; the page's tables show the text.
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            with writing(folder / f"{entry.name}.png", "wb") as file:
                entry.figure.savefig(file, format="png", dpi=150)
    figures = [{"title": entry.title, "image": f"{entry.name}.png", "data": f"{entry.name}.json"} for entry in entries]
    report = json.dumps({**facts, "figures": figures}, indent=1)
    write_text(folder / "report.json", report + "\n")
    write_text(folder / "index.html", _page(facts, sections))
