"""The figures of the report, each with its data and captions."""

from collections.abc import Sequence
from typing import Any, Literal

from ..data.encoding import Text
from ..display import plots
from ..display.certificate import certificate
from ..display.wording import predicted
from ..pipeline.pipeline_diffmask import DiffMaskAttributionPipeline
from . import decisions, tokens
from .report import Entry
from .tagging import Tag, tag

_DECIDED: tuple[tuple[str, Literal["lower", "median", "upper", "mean"]], ...] = (
    ("a quarter of the inputs, at most", "lower"),
    ("half of them, at most", "median"),
    ("three quarters, at most", "upper"),
    ("mean", "mean"),
)


def segments(text: Text) -> list[str]:
    return [text] if isinstance(text, str) else list(text)


def tags_of(texts: Sequence[Text], model: str) -> list[list[list[Tag]]]:
    """Tags for each text, or for both texts of a pair."""
    flat = iter(tag([segment for text in texts for segment in segments(text)], model))
    return [[next(flat) for _ in segments(text)] for text in texts]


def heat_map_entry(number: int, text: Text, results: dict[str, dict[str, Any]]) -> Entry:
    data = tokens.heat_map({f"{masking} masking": result for masking, result in results.items()})
    first = next(iter(results.values()))
    states = [f"{state} ({masking})" for masking, result in results.items() for state in result["states"]]
    rows = zip(*(panel["keep_probability"] for panel in data["panels"]), strict=True)
    return Entry(
        f"heat_map_{number}",
        f"Input {number}",
        [
            *segments(text),
            f"Prediction: {predicted(first)}, {first['score']:.3f}.",
            *(f"{masking.capitalize()} masking: {certificate(result).words}" for masking, result in results.items()),
        ],
        f"Heat map of the keep probability of each of {len(data['tokens'])} tokens at each of {len(first['states'])} "
        f"states, by {' and by '.join(panel['title'] for panel in data['panels'])}.",
        data,
        [
            ["token", *states],
            *(
                [token, *(f"{keep:.2f}" for panel in row for keep in panel)]
                for token, row in zip(data["tokens"], rows, strict=True)
            ),
        ],
        plots.heat_map(data),
    )


def keep_by_state_entry(explain: DiffMaskAttributionPipeline, results: list[dict[str, Any]]) -> Entry:
    config = explain.model.config
    data = tokens.keep_by_state(results)
    title = "Mean keep probability by state"
    if explain.model.masks.nested:
        rule = "A token that a state drops stays dropped, so that no line rises."
    else:
        rule = "Each state decides for itself, so that a line may rise."
    ends = [f"{group['group']} {group['mean'][0]:.2f} to {group['mean'][-1]:.2f}" for group in data["groups"]]
    return Entry(
        f"{config.masking}_keep_by_state",
        title,
        [f"Mean over the tokens of each group. {rule} {_special(explain)}"],
        f"Lines of the mean keep probability over the states. From the first state to the last: {', '.join(ends)}.",
        data,
        [
            ["tokens", "count", *data["states"]],
            *([g["group"], str(g["count"]), *(f"{keep:.3f}" for keep in g["mean"])] for g in data["groups"]),
        ],
        plots.keep_by_state(data, f"{title}, {config.masking} masking"),
    )


def _special(explain: DiffMaskAttributionPipeline) -> str:
    if explain.model.config.mask_special_tokens:
        return ""
    return "This explainer never masks special tokens: they are kept at every state."


def fixed_by_state_entry(explain: DiffMaskAttributionPipeline, texts: Sequence[Text], batch_size: int) -> Entry:
    config = explain.model.config
    unchanged = decisions.unchanged_predictions(explain.model, explain.tokenizer, texts, batch_size)
    data = decisions.fixed_by_state(config.columns, unchanged)
    title = "Share of predictions fixed by state"
    return Entry(
        f"{config.masking}_fixed_by_state",
        title,
        [
            "A prediction is fixed at a state if the hard masks of this state and of all above it leave it as it is: "
            "from there on up, what is kept is enough to decide. The other line asks it of each state's mask alone.",
        ],
        f"Two lines over the states. Fixed from the first state on: {data['fixed'][0]:.3f} of the "
        f"predictions; unchanged under the last state's mask: {data['unchanged'][-1]:.3f}.",
        data,
        [
            ["share of inputs", *data["states"]],
            ["unchanged", *(f"{share:.3f}" for share in data["unchanged"])],
            ["fixed", *(f"{share:.3f}" for share in data["fixed"])],
        ],
        plots.fixed_by_state(data, f"{title}, {config.masking} masking"),
    )


def decided_by_state_entry(explain: DiffMaskAttributionPipeline, texts: Sequence[Text], batch_size: int) -> Entry:
    config = explain.model.config
    shares = decisions.smallest_shares(explain.model, explain.tokenizer, texts, batch_size=batch_size)
    data = decisions.decided_by_state(config.columns, shares, config.margin)
    cost = explain.model.preserved.falls(explain.model.task)
    # If probes are told the prediction, their scores do not come from the state alone.
    knows = "the state, given the prediction," if config.class_conditional or config.read_context else "the state"
    title = f"When it was decided: the smallest budget within a margin of {config.margin:g}"
    return Entry(
        f"{config.masking}_decided_by_state",
        title,
        [
            f"Of each input and state, the share of tokens in the smallest mask of its path under which {cost} by at "
            f"most {config.margin:g}; each such mask was run, or keeps everything. What is not in it is irrelevant to "
            f"the prediction, and {knows} tells that. A smaller mask between two that were run may do, too.",
        ],
        f"Lines of the quartiles of the share over the states. The median from the first state to the last: "
        f"{data['median'][0]:.2f} to {data['median'][-1]:.2f}.",
        data,
        [
            ["share of its tokens that an input needs", *data["states"]],
            *([name, *(f"{share:.3f}" for share in data[key])] for name, key in _DECIDED),
        ],
        plots.decided_by_state(data, f"{title}, {config.masking} masking"),
    )


def states_kept_entry(
    explain: DiffMaskAttributionPipeline,
    results: list[dict[str, Any]],
    spans: Sequence[Sequence[Sequence[tokens.Span]]],
    by: str,
    order: Sequence[str] = (),
) -> Entry:
    config = explain.model.config
    labels = [tokens.token_labels(result, of_text) for result, of_text in zip(results, spans, strict=True)]
    data = tokens.states_kept_by_label(results, labels, order)
    title = f"States at which a token is kept, by {by}"
    rows = [
        [g["label"], str(g["count"]), f"{g['mean']:.3f}", "" if (e := g["standard_error"]) is None else f"{e:.3f}"]
        for g in data["groups"]
    ]
    return Entry(
        f"{config.masking}_states_kept_by_{by.replace(' ', '_')}",
        title,
        [
            f"Mean number of states, of {data['num_states']}, whose hard mask keeps a token (in brackets how many "
            "tokens), with its standard error. A part of a word has the label of the word. Hatched: special tokens. "
            + _special(explain),
        ],
        f"Bars of means: {', '.join(f'{label} {mean}' for label, _, mean, _ in rows)}.",
        data,
        [[by, "tokens", "mean", "standard error"], *rows],
        plots.states_kept(data, f"{title}, {config.masking} masking"),
    )
