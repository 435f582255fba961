"""Makes the model card of an explainer from its results."""

import json
from importlib import resources
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from ..display.markdown import markdown
from ..explainer.configuration_diffmask import DiffMaskConfig
from ..masks.registry import MASKS
from ..tasks.preserved import PRESERVED
from ..tasks.registry import TASKS
from ..training.validation import StateRow, format_table

LIBRARY = "hf-diffmask"
TEMPLATE = resources.files("hf_diffmask.model_cards") / "explainer.md"


def render(
    config: DiffMaskConfig,
    coverage: float | None,
    results: dict[str, Any],
    model_id: str,
    base_model: str | None,
    license: str | None = None,
    plot: str | None = None,
    loadable: bool = True,
    remote_code: bool = False,
) -> str:
    """
    Makes the model card of an explainer from its results.

    Args:
        config ([`DiffMaskConfig`]): The explainer's config.
        coverage (`float`, *optional*): See [`Masks.coverage`].
        results (`dict`): Results of the explainer, see [`~hf_diffmask.hub.results.read_results`].
        model_id (`str`): Hub id or folder to load the explainer from.
        base_model (`str`, *optional*): Hub id of the base model.
        license (`str`, *optional*): Identifier of the licence.
        plot (`str`, *optional*): File name of the plot of divergence over kept share.
        loadable (`bool`, *optional*, defaults to `True`): Whether readers of the card can load the base model.
        remote_code (`bool`, *optional*, defaults to `False`): Whether the repo holds code to load the explainer.

    Returns:
        `str`: Front matter and sections, each section between two comments.
    """
    named = base_model or Path(config.base_model_name_or_path or "the base model").name.replace("`", "'")
    task, preserved = TASKS[config.task](), PRESERVED[config.target]
    rows = [StateRow(**row) for row in results.get("states", [])]
    training, measured, audit = (results.get(part) for part in ("training", "faithfulness", "audit"))
    examples = results.get("examples", [])
    evaluations = _evaluations(results, task.pipeline_tag)
    data = ModelCardData(
        library_name=LIBRARY,
        pipeline_tag=task.pipeline_tag,
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
            example=task.card_example(bool(training and training["pairs"])),
            table=format_table([row._replace(state=markdown(row.state)) for row in rows]) if rows else "",
            reported=training.get("reported_inputs", training["validation_inputs"]) if training else "the",
            margin=config.margin,
            class_conditional=config.class_conditional,
            path=MASKS[config.objective].any_margin,
            coverage=None if coverage is None else f"{coverage:.2f}",
            preserved=preserved.described,
            cost_name=preserved.figure,
            cost_words=preserved.words(task),
            divergence_words=task.divergence_words,
            hidden_masking=not config.masks_inputs,
            training="" if training is None else _training(training),
            examples=examples,
            faithfulness=measured
            and {"about": _about_faithfulness(measured), "table": _tables_of_faithfulness(measured)},
            audit=audit and {"about": _about_audit(audit), "table": audit["table"]},
            plot=plot,
            loadable=loadable,
            remote_code=remote_code,
        )
    )


def _evaluations(results: dict[str, Any], task: str) -> list[EvalResult]:
    """Figures of the last state and of faithfulness, in the form of the Hub's model index."""
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
    return (
        f"Preset `{measured['preset']}`, {measured['inputs']} inputs of {markdown(measured['dataset'])}; means with "
        "95 % intervals of the bootstrap over inputs. Comprehensiveness: higher is better; sufficiency: lower is "
        f"better. {_replacements(measured)} {measured['machine']}."
    )


def _replacements(measured: dict[str, Any]) -> str:
    """The replacements that training did not use, and those that it did."""
    if "unseen" not in measured:  # results of 0.1.0
        mean = ", a mean over them" if ", " in measured["held_out"] else ""
        return f"Unseen replacement: tokens removed by `{measured['held_out']}`{mean}."
    words = {"unseen": "Replacements that training did not use", "seen": "Replacements that training used"}
    lists = {group: ", ".join(f"`{name}`" for name in measured[group]) for group in words if measured[group]}
    return " ".join(f"{words[group]}: {names}." for group, names in lists.items())


def _tables_of_faithfulness(measured: dict[str, Any]) -> str:
    """The table of methods, and the table of LDS and R2 if they were measured."""
    if "random_masks" not in measured:
        return measured["table"]
    masks = measured["random_masks"]
    about = (
        f"First {masks['inputs']} inputs, {masks['masks']} random masks for each replacement. LDS: rank correlation "
        "of the sum of the kept tokens' scores with the log-odds of the predicted class. R2, for scores in log-odds: "
        "the share of the variance that the sums explain. Higher is better."
    )
    return "\n\n".join([measured["table"], about, masks["table"]])


def _about_audit(audit: dict[str, Any]) -> str:
    about = "Known criticisms of learned explainers as tests"
    return f"{about}, on {audit['texts']} texts of {markdown(audit['dataset'])}. {audit['machine']}."
