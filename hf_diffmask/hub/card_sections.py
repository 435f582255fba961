"""Merges generated sections into a card that its owner edits."""

import re
from typing import Any

import yaml
from huggingface_hub import ModelCard

from ..errors import DiffMaskError, reason

# Sections of every card, with or without results.
NEEDED = ("summary", "states", "meaning", "citation")


SECTION = re.compile(r"<!-- hf-diffmask: begin (\w+) -->\n(.*?)\n?<!-- hf-diffmask: end \1 -->", re.DOTALL)


_FRONT = re.compile(r"\A---[ \t]*\n(.*?)^---[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)


_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{%|%\}|\[More Information Needed\]")


# Generated keys of the front matter. All others are the owner's, as is an existing licence.
_OURS = {"library_name", "pipeline_tag", "base_model", "base_model_relation", "datasets", "metrics", "model-index"}


def merge(card: str, generated: str, also: str = "") -> str:
    """
    A card with new generated sections and the owner's own text.

    Args:
        card (`str`): The existing card, or an empty text.
        generated (`str`): The card from [`render`].
        also (`str`, *optional*): Another card; the owner's keys and tags in its front matter stay as well.

    Returns:
        `str`: A section replaces the one with the same name. A new section follows its predecessor, or comes last.
        The owner's keys and tags in the front matter stay.

    Raises:
        DiffMaskError: If the front matter of `card` cannot be read.
    """
    card = card if card.strip() else generated
    sections = {match[1]: match[0] for match in SECTION.finditer(generated)}
    body = _FRONT.sub("", card, count=1)
    body = SECTION.sub(lambda match: sections.get(match[1], ""), body)
    before = None
    for name, section in sections.items():
        if f"<!-- hf-diffmask: begin {name} -->" not in body:
            end = f"<!-- hf-diffmask: end {before} -->"
            if before is not None and end in body:
                body = body.replace(end, f"{end}\n\n{section}", 1)
            else:
                body = f"{body.rstrip()}\n\n{section}\n"
        before = name
    new, owners = front_matter(generated), [front_matter(also), front_matter(card)]
    old = {**owners[0], **owners[1]}
    front = {name: value for name, value in old.items() if name not in _OURS}
    tags = list(dict.fromkeys([*new.get("tags", []), *(tag for one in owners for tag in one.get("tags") or [])]))
    front = {**front, **{name: value for name, value in new.items() if name != "tags"}, "tags": tags}
    if "license" not in new and "license" in old:
        front["license"] = old["license"]
    return f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---\n\n{body.strip()}\n"


def front_matter(card: str) -> dict[str, Any]:
    """
    Reads the front matter of a card.

    Args:
        card (`str`): The card.

    Returns:
        `dict`: Empty if there is none.

    Raises:
        DiffMaskError: If the front matter is not YAML, or not a mapping.
    """
    match = _FRONT.match(card)
    if match is None:
        return {}
    try:
        found = yaml.safe_load(match[1]) or {}
    except yaml.YAMLError as error:
        raise DiffMaskError(f"The front matter of the card is no YAML ({reason(error)}): put it right.") from error
    if not isinstance(found, dict):
        raise DiffMaskError("The front matter of the card must be names with values: put it right.")
    return found


def outside(card: str) -> str:
    """
    The owner's text in a card.

    Args:
        card (`str`): The card.

    Returns:
        `str`: The text without front matter and generated sections, stripped.
    """
    return re.sub(r"\n{3,}", "\n\n", SECTION.sub("", _FRONT.sub("", card, count=1))).strip()


def validate(card: str) -> None:
    """
    Checks that a card is complete and can be read.

    Args:
        card (`str`): The card.

    Raises:
        DiffMaskError: If its front matter cannot be read or lacks a required key, or if a section is missing, is empty
            or contains a placeholder.
    """
    front = front_matter(card)
    named = ("library_name", "pipeline_tag", "tags")
    wrong = [f"the front matter has no {name}" for name in named if not front.get(name)]
    try:
        ModelCard(card)
    except (TypeError, ValueError, KeyError) as error:
        wrong.append(f"the front matter cannot be used ({reason(error)})")
    sections = {match[1]: match[2] for match in SECTION.finditer(card)}
    wrong += [f"the section {name!r} is missing" for name in NEEDED if name not in sections]
    for name, text in sections.items():
        if found := _PLACEHOLDER.search(re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
            wrong.append(f"a placeholder is left in the section {name!r} ({found[0]})")
    wrong += [f"there is nothing under the heading {name!r}" for name in _empty_headings(card)]
    if wrong:
        raise DiffMaskError(f"The card cannot be published: {'; '.join(wrong)}.")


def _empty_headings(card: str) -> list[str]:
    """Headings with neither text nor a sub-heading below them."""
    text = re.sub(r"```.*?```", "code", _FRONT.sub("", card, count=1), flags=re.DOTALL)
    lines = [line for line in re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL).splitlines() if line.strip()]
    empty = []
    for line, following in zip(lines, [*lines[1:], "# "], strict=True):
        here, there = (re.match(r"(#{1,6}) ", one) for one in (line, following))
        if here and there and len(there[1]) <= len(here[1]):
            empty.append(line.lstrip("# "))
    return empty
