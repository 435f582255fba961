"""The card beside an explainer: generated sections, from what is known of it, among whatever its owner writes."""

import json
import os
import re
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResult, EvalResultEntry, ModelCard, ModelCardData, eval_result_entries_to_yaml

from . import heads
from .errors import DiffMaskError, reason
from .modeling_diffmask import DiffMaskModel
from .results import add_results, read_results
from .validation import StateRow, format_table
from .wording import visible

LIBRARY = "hf-diffmask"
TEMPLATE = resources.files("hf_diffmask.model_cards") / "explainer.md"
PLOT = "sparsity_divergence.png"
# Sections that every card has, whatever is known.
NEEDED = ("summary", "states", "meaning", "citation")

_SECTION = re.compile(r"<!-- hf-diffmask: begin (\w+) -->\n(.*?)\n?<!-- hf-diffmask: end \1 -->", re.DOTALL)
_FRONT = re.compile(r"\A---[ \t]*\n(.*?)^---[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{%|%\}|\[More Information Needed\]")
# Of the front matter: what is ours to say. All else is the owner's, and so is a licence once there is one.
_OURS = {"library_name", "pipeline_tag", "base_model", "base_model_relation", "datasets", "metrics", "model-index"}


def render(
    explainer: DiffMaskModel,
    results: dict[str, Any],
    model_id: str,
    base_model: str | None,
    license: str | None = None,
    plot: str | None = None,
    loadable: bool = True,
    remote_code: bool = False,
) -> str:
    """
    Makes a card of what is known of an explainer.

    Args:
        explainer ([`DiffMaskModel`]): The explainer; its base model is not loaded.
        results (`dict`): What is known of it, see [`~hf_diffmask.results.read_results`].
        model_id (`str`): What it is loaded by: an id on the Hub, or a folder.
        base_model (`str`, *optional*): Id of the base model on the Hub, if it is there.
        license (`str`, *optional*): Identifier of the licence.
        plot (`str`, *optional*): File name of the plot of divergence over the share that is kept.
        loadable (`bool`, *optional*, defaults to `True`): Whether whoever reads the card can load the base model.
        remote_code (`bool`, *optional*, defaults to `False`): Whether the code lies beside the explainer.

    Returns:
        `str`: Front matter and sections, each between marks.
    """
    config = explainer.config
    named = base_model or Path(config.base_model_name_or_path or "the base model").name.replace("`", "'")
    of_path = config.objective == "path"
    has_masks = of_path and explainer.is_calibrated
    coverage = explainer.threshold_at(float(config.margin))[1][-1].item() if has_masks else None
    answers = config.task == heads.QUESTION_ANSWERING
    rows = [StateRow(**row) for row in results.get("states", [])]
    training, measured, audit = (results.get(part) for part in ("training", "faithfulness", "audit"))
    examples = results.get("examples", [])
    evaluations = _evaluations(results, config.task)
    data = ModelCardData(
        library_name=LIBRARY,
        pipeline_tag=config.task,
        base_model=base_model,
        base_model_relation=None if base_model is None else "adapter",
        datasets=[training["dataset"]] if training and training["dataset_on_hub"] else None,
        metrics=list(dict.fromkeys(one.metric_type for one in evaluations)) or None,
        tags=["diffmask", "interpretability", "attribution", "explainability"],
        license=license,
        model_name=model_id.rpartition("/")[-1],
        eval_results=evaluations or None,
    )
    return str(
        ModelCard.from_template(
            data,
            template_str=TEMPLATE.read_text(encoding="utf-8"),
            base_model=named,
            model_id=json.dumps(model_id),
            example=_example(config.task, bool(training and training["pairs"])),
            table=format_table([row._replace(state=markdown(row.state)) for row in rows]) if rows else "",
            validation_size=training["validation_inputs"] if training else "the",
            margin=config.margin,
            class_conditional=config.class_conditional,
            path=of_path,
            coverage=None if coverage is None else f"{coverage:.2f}",
            preserved="prediction" if config.target == "prediction" else "output",
            cost_name="drop" if config.target == "prediction" else "divergence",
            question_answering=answers,
            hidden_masking=config.masking == "hidden",
            training="" if training is None else _training(training),
            examples=examples,
            faithfulness=measured and {"about": _about_faithfulness(measured), "table": measured["table"]},
            audit=audit and {"about": _about_audit(audit), "table": audit["table"]},
            plot=plot,
            loadable=loadable,
            remote_code=remote_code,
        )
    )


def write_card(folder: str | os.PathLike, explainer: DiffMaskModel, license: str | None = None) -> Path | None:
    """
    Writes `README.md` into an explainer's folder: the generated sections, among whatever is there of its owner.

    Args:
        folder (`str` or `os.PathLike`): The explainer's folder.
        explainer ([`DiffMaskModel`]): The explainer.
        license (`str`, *optional*): Identifier of the licence; by default the one that the card names already.

    Returns:
        `Path` or `None`: The card; `None` where there was one without a section of ours.

    Raises:
        DiffMaskError: If the front matter that is there cannot be read.
    """
    path = Path(folder) / "README.md"
    there = path.read_text(encoding="utf-8") if path.exists() else ""
    if there and not _SECTION.search(there):
        return None
    card = card_for(folder, explainer, license)
    path.write_text(merge(there, card), encoding="utf-8")
    write_eval_results(folder)
    return path


def card_for(folder: str | os.PathLike, explainer: DiffMaskModel, license: str | None = None, **settings: Any) -> str:
    """
    The generated card of an explainer's folder.

    Args:
        folder (`str` or `os.PathLike`): The explainer's folder.
        explainer ([`DiffMaskModel`]): The explainer.
        license (`str`, *optional*): Identifier of the licence.
        settings: Of [`render`], where they differ from those of a folder.

    Returns:
        `str`
    """
    named = explainer.config.base_model_name_or_path
    # A folder of this machine says nothing to a reader elsewhere.
    is_local = named is None or named.startswith((".", "/")) or os.path.isdir(named)
    settings = {
        "model_id": Path(folder).resolve().name,
        "base_model": None if is_local else named,
        "plot": PLOT if (Path(folder) / PLOT).is_file() else None,
        **settings,
    }
    return render(explainer, read_results(folder), license=license, **settings)


def merge(card: str, generated: str, also: str = "") -> str:
    """
    Puts generated sections into a card; all else in it stays as its owner wrote it.

    Args:
        card (`str`): What is there, or nothing.
        generated (`str`): What [`render`] made.
        also (`str`, *optional*): Another card, of whose front matter the owner's keys and tags stay, too.

    Returns:
        `str`: Sections take the place of those of the same name; new ones follow the one before them, or come last.
        Of the front matter the owner's keys and tags stay.

    Raises:
        DiffMaskError: If the front matter of `card` cannot be read.
    """
    card = card if card.strip() else generated
    sections = {match[1]: match[0] for match in _SECTION.finditer(generated)}
    body = _FRONT.sub("", card, count=1)
    body = _SECTION.sub(lambda match: sections.get(match[1], ""), body)
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
        `dict`: Empty where there is none.

    Raises:
        DiffMaskError: If it is no YAML, or no mapping.
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
    What the owner of a card wrote into it.

    Args:
        card (`str`): The card.

    Returns:
        `str`: Its text without front matter and generated sections, without white space around it.
    """
    return re.sub(r"\n{3,}", "\n\n", _SECTION.sub("", _FRONT.sub("", card, count=1))).strip()


def validate(card: str) -> None:
    """
    Checks that a card says something and can be read.

    Args:
        card (`str`): The card.

    Raises:
        DiffMaskError: If its front matter cannot be read or lacks what names an explainer, a section is empty or
            missing, or a placeholder is left in one.
    """
    front = front_matter(card)
    named = ("library_name", "pipeline_tag", "tags")
    wrong = [f"the front matter has no {name}" for name in named if not front.get(name)]
    try:
        ModelCard(card)
    except (TypeError, ValueError, KeyError) as error:
        wrong.append(f"the front matter cannot be used ({reason(error)})")
    sections = {match[1]: match[2] for match in _SECTION.finditer(card)}
    wrong += [f"the section {name!r} is missing" for name in NEEDED if name not in sections]
    for name, text in sections.items():
        if found := _PLACEHOLDER.search(re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
            wrong.append(f"a placeholder is left in the section {name!r} ({found[0]})")
    wrong += [f"there is nothing under the heading {name!r}" for name in _empty_headings(card)]
    if wrong:
        raise DiffMaskError(f"The card cannot be published: {'; '.join(wrong)}.")


def _empty_headings(card: str) -> list[str]:
    """Headings that another one of their level or above follows, or nothing."""
    text = re.sub(r"```.*?```", "code", _FRONT.sub("", card, count=1), flags=re.DOTALL)
    lines = [line for line in re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL).splitlines() if line.strip()]
    empty = []
    for line, following in zip(lines, [*lines[1:], "# "], strict=True):
        here, there = (re.match(r"(#{1,6}) ", one) for one in (line, following))
        if here and there and len(there[1]) <= len(here[1]):
            empty.append(line.lstrip("# "))
    return empty


def update_card(folder: str | os.PathLike, explainer: DiffMaskModel, **parts: Any) -> None:
    """
    Adds what was measured to what is known of a local explainer, and makes its card anew.

    Args:
        folder (`str` or `os.PathLike`): The explainer's folder.
        explainer ([`DiffMaskModel`]): The explainer.
        parts: See [`~hf_diffmask.results.add_results`].

    Raises:
        DiffMaskError: If the card is somebody else's; what was measured is kept.
    """
    add_results(folder, **parts)
    if write_card(folder, explainer) is None:
        raise DiffMaskError(
            f"{Path(folder) / 'README.md'} has no section of ours, and is left as it is: `hf-diffmask card {folder}` "
            "adds the sections to it."
        )


def check_local(folder: str | os.PathLike | None) -> None:
    """
    Sees to it that a card can be updated.

    Args:
        folder (`str` or `os.PathLike`, *optional*): The explainer's folder.

    Raises:
        DiffMaskError: If it is no folder of an explainer.
    """
    if folder is None or not (Path(folder) / "config.json").is_file():
        raise DiffMaskError("There is no card to update: name a local folder of an explainer.")


def write_eval_results(folder: str | os.PathLike) -> None:
    """
    Writes `.eval_results/hf-diffmask.yaml`, in which the Hub looks for evaluations, where the data are on the Hub.

    Args:
        folder (`str` or `os.PathLike`): The explainer's folder.
    """
    path = Path(folder) / ".eval_results" / f"{LIBRARY}.yaml"
    measured = read_results(folder).get("faithfulness")
    if not measured or not measured["dataset_on_hub"]:
        path.unlink(missing_ok=True)  # of other data
        return
    entries = [
        EvalResultEntry(
            dataset_id=measured["dataset"],
            task_id=measured.get("dataset_config") or "default",
            value=round(figures["mean"], 4),
            notes=f"{name} of diffmask, preset {measured['preset']}, {measured['inputs']} inputs",
        )
        for name, figures in measured["figures"].items()
    ]
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False), encoding="utf-8")


def markdown(text: str) -> str:
    """
    Escapes a text for a card.

    Args:
        text (`str`): Any text.

    Returns:
        `str`: The same, in one line, with nothing in it that is markup.
    """
    return re.sub(r"([\\`*_\[\]{}|~#!])", r"\\\1", escape(visible(text)))


def emphasised(text: str, spans: list[tuple[int, int]]) -> str:
    """
    Sets parts of a text in bold.

    Args:
        text (`str`): The text.
        spans (`list[tuple[int, int]]`): Start and end of each part, in characters, in order.

    Returns:
        `str`: Markdown, escaped. Parts with only white space between them are one.
    """
    joined: list[list[int]] = []
    for start, end in spans:
        if joined and not text[joined[-1][1] : start].strip():
            joined[-1][1] = end
        elif text[start:end].strip():
            joined.append([start, end])
    parts, last = [], 0
    for start, end in joined:
        parts += [markdown(text[last:start]), f"**{markdown(text[start:end])}**"]
        last = end
    return "".join([*parts, markdown(text[last:])])


def _example(task: str, pairs: bool) -> str:
    if task == heads.QUESTION_ANSWERING:
        return '{"question": "When was the mill sold?", "context": "The mill was sold in 1902."}'
    if pairs:
        return '{"text": "A man repairs a boat.", "text_pair": "Somebody is at work."}'
    return '"a warm and quietly funny film"'


def _evaluations(results: dict[str, Any], task: str) -> list[EvalResult]:
    """Figures of the last state and of faithfulness, as the Hub's model index has them."""
    found = []

    def add(name: str, value: float, dataset: str, on_hub: bool, of: str) -> None:
        shown = dataset if on_hub else Path(dataset).name
        found.append(
            EvalResult(
                task_type=task, task_name=of, dataset_type=shown, dataset_name=shown, metric_type=name,
                metric_value=round(value, 4), metric_name=name.replace("_", " "),
            )
        )  # fmt: skip

    training, measured = results.get("training"), results.get("faithfulness")
    if training and results.get("states"):
        last = dict(results["states"][-1])
        state = last.pop("state")
        for name, value in last.items():
            of = f"hard masks at {state}, validation inputs"
            add(name, value, training["dataset"], training["dataset_on_hub"], of)
    if measured:
        for name, figures in measured["figures"].items():
            of = f"faithfulness, preset {measured['preset']}"
            add(name, figures["mean"], measured["dataset"], measured["dataset_on_hub"], of)
    return found


def _training(training: dict[str, Any]) -> str:
    """Data, settings, machine, duration and energy, as a list."""
    about = {
        "data": f"{markdown(training['dataset'])}: {training['inputs']:,} inputs, without labels",
        "validation inputs": f"{training['validation_inputs']:,}",
        "machine": training["machine"],
        "duration": f"{training['minutes']:.1f} minutes",
        **({"energy": f"{training['energy_kwh']:.4f} kWh (codecarbon)"} if training.get("energy_kwh") else {}),
        "versions": ", ".join(f"{name} {version}" for name, version in training["versions"].items()),
        **training["settings"],
    }
    return "\n".join(f"- {name}: {value}" for name, value in about.items() if value is not None)


def _about_faithfulness(measured: dict[str, Any]) -> str:
    mean = ", a mean over them" if ", " in measured["held_out"] else ""
    return (
        f"Preset `{measured['preset']}`, {measured['inputs']} inputs of {markdown(measured['dataset'])}; means with "
        "95 % intervals of the bootstrap over inputs. Comprehensiveness: higher is better; sufficiency: lower is "
        f"better. Held out: tokens taken away by `{measured['held_out']}`{mean}. {measured['machine']}."
    )


def _about_audit(audit: dict[str, Any]) -> str:
    about = "Known criticisms of learned explainers as tests"
    return f"{about}, on {audit['texts']} texts of {markdown(audit['dataset'])}. {audit['machine']}."
