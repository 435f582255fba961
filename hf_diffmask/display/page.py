"""A self-contained page of explanations. All shown text is escaped."""

from collections.abc import Iterable
from html import escape
from typing import Any

from .grid import grid

# Shared by all pages; page-specific CSS follows.
PAGE_STYLE = """
:root { color-scheme: light dark; --text: #1b1b1b; --back: #ffffff; --line: #d0d0d0; --quiet: #5c5c5c; }
@media (prefers-color-scheme: dark) {
  :root { --text: #ececec; --back: #16181c; --line: #44484f; --quiet: #a9adb5; }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back); margin: 0 auto;
  padding: 1rem; }
section { border-top: 1px solid var(--line); }
.quiet { color: var(--quiet); }
.scroll { overflow-x: auto; }
.scroll:focus { outline: 2px solid var(--quiet); }
table { border-collapse: collapse; font-size: 0.85rem; }
th, td { padding: 0.15rem 0.5rem; text-align: right; white-space: nowrap; }
"""


_STYLE = """
body { max-width: 70rem; }
section { padding: 1rem 0; }
"""


def to_html(results: Iterable[dict[str, Any]], title: str = "Attributions by Differentiable Masking") -> str:
    """
    A self-contained page with a grid for each input, see [`~hf_diffmask.display.grid.grid`].

    Args:
        results (`Iterable[dict]`): Results of the pipeline.
        title (`str`, *optional*): Title of the page.

    Returns:
        `str`: HTML without scripts or outside resources.
    """
    sections = "\n".join(f"<section>{grid(result, f'dm-{number}')}</section>" for number, result in enumerate(results))
    return f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title><style>{PAGE_STYLE}{_STYLE}</style></head>
<body><h1>{escape(title)}</h1>
<p class="quiet">Colour and number: the probability that a token is kept, from 0 (dark) to 1 (bright), at the state
that is chosen. Struck out: the mask of that state drops it. The sentence says whether this mask was checked, and
whether the check holds. Click a token for its curve over states.</p>
{sections}
</body></html>
"""
