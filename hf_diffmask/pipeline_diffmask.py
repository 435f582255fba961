"""`pipeline("diffmask-attribution")`: text or question in; prediction, attribution and a check of it out."""

import types
from collections.abc import Iterator
from typing import Any

import datasets
import torch
from torch import Tensor
from transformers.pipelines.base import ChunkPipeline
from transformers.utils import logging

from . import heads, question_answering
from .data import EncodedText, Text, encode, max_length, windows
from .errors import DiffMaskError
from .explainers.per_example import REFINE_FORWARDS, per_example, refine
from .explainers.reinforce import reinforce
from .gates import hard_mask
from .grid import Attribution
from .merging import length_weighted_mean, merge_words, most_central
from .modeling_diffmask import DiffMaskModel
from .outputs import Recorded
from .path_explanation import CURVE, explain_path

logger = logging.get_logger(__name__)

AGGREGATIONS = ("token", "word")
# Methods that need no probes.
SEARCHES: dict[str, Any] = {"per_example": per_example, "reinforce": reinforce}
# Defaults of what is for question answering alone.
ANSWERING: dict[str, Any] = {"top_k": 0, "max_answer_length": 30, "handle_impossible_answer": False}
# What becomes of an explanation outside the margin.
ON_VIOLATION = ("keep", "search", "refine", "abstain")
# What the pipeline adds to a window's features, and the base model must not see.
_OWN_KEYS = ("special_tokens_mask", "is_last", "encoded", "units")


class DiffMaskAttributionPipeline(ChunkPipeline):
    """
    Explains predictions: how tokens rank as evidence, and which of them suffice to preserve the output.

    Import `hf_diffmask` first, which registers the task:

    ```python
    >>> import hf_diffmask
    >>> from transformers import pipeline

    >>> explain = pipeline("diffmask-attribution")
    >>> result = explain("a warm and quietly funny film")
    >>> [token["token"] for token in result["tokens"] if token["kept"] and not token["special"]]
    ```

    Inputs longer than the base model takes are split into overlapping windows. The prediction is then the mean of the
    windows' probabilities, weighted by their length; a token in an overlap is taken from the window where it is most
    central; and divergence and drop compare those means. Each window is ranked, and its mask searched, for its own
    prediction, or for `label`.

    Args (of the constructor or of a call):
        state (`str` or `int`, *optional*, defaults to the last):
            The state whose hard mask `kept`, `kept_share` and the check speak of: a name, or a number from 0.
        verify (`bool`, *optional*, defaults to `True`):
            Whether to check each explanation with a second, masked pass.
        aggregation (`str`, *optional*, defaults to `"token"`): `"word"` merges sub-words.
        method (`str`, *optional*, defaults to `"amortised"`):
            `"per_example"` or `"reinforce"` search the mask of each input by itself, see `hf_diffmask.explainers`:
            hundreds of passes instead of one. They give keep probabilities at the state that units are masked at.
        on_violation (`str`, *optional*, defaults to `"keep"`):
            What becomes of an explanation outside the margin. `"keep"`: it is returned, and says so. `"abstain"`:
            prediction and check are returned, and no tokens. `"search"`, for paths: the smallest mask on the input's
            own path that is within the margin is searched, see [`~hf_diffmask.budget_search.smallest_budget`].
            `"refine"`, for explainers of the recipes `fast` and `paper`: its masks are searched for the input by
            itself, starting from the explainer's, so that it is within the margin again.
        margin (`float`, *optional*, defaults to the config's):
            For paths (`--recipe path`): what an explanation may cost, see [`DiffMaskConfig`].
        label (`str` or `int`, *optional*, defaults to the prediction):
            For paths of one class: the class to explain, its name or number.
        curve (`bool`, *optional*, defaults to `False`): For paths: whether to run masks of every share.
        refine_steps (`int`, *optional*, defaults to `0`):
            For paths: gradient steps on the scores of each input, from the explainer's own, see
            [`~hf_diffmask.explainers.path_refinement.refine_scores`]: 24 forward passes each.
        top_k (`int`, *optional*): For question answering: how many `answers` to list, none by default.
        max_answer_length (`int`, *optional*, defaults to 30): For question answering: tokens of the longest answer.
        handle_impossible_answer (`bool`, *optional*, defaults to `False`):
            For question answering: whether "no answer" is one of the answers, as models for SQuAD v2 can give it.
        batch_size (`int`, *optional*, defaults to `1`): Windows that run through the base model at once.

    Returns (for each input, a `dict` that notebooks show as the grid of tokens and states):
        - **label**, **score** -- the base model's prediction and its probability.
        - **answer**, **start**, **end**, **score** -- in the place of the label, for question answering: the answer,
          its characters in the context, and its probability; the empty text, 0 and 0 for no answer. With `top_k` also
          **answers**, a list of such `dict`s, the best first.
        - **tokens** -- a list of `{token, start, end, special, score, kept, states}`: offsets in characters of the
          original text, `states` the keep probability at each state, `score` their mean, all in [0, 1]; tokens of a
          pair carry `segment`, 0 or 1 (question or context), and `None` for special ones. Of a path, `score` is that
          of `state`, and `evidence` the score that it comes from, which has a sign and no bounds.
        - **states** -- the states' names, and **state** -- the one that `kept` speaks of.
        - **kept_share** -- the share of tokens kept, special ones left out.
        - **divergence** -- in nats, between the output on the whole and on the masked input; **same_prediction** and
          **within_margin** -- whether the label is unchanged, and the divergence, or the drop, at most **margin**.
          Absent without `verify`. Of an answer the divergence is the sum of those of start and end, in the window that
          it comes from, and the prediction is unchanged if the same characters are still the best answer.
        - **forwards** -- with `on_violation="refine"` or `"search"`, or `refine_steps`, the forward passes that this
          took, 0 where no refining was needed; the keep probabilities of `state` are then those found.
        - **abstained** -- with `on_violation="abstain"`, whether `tokens` is empty, and `kept_share` `None`, since the
          explanation is outside the margin.
        - **drop** -- of a path of one class, in the place of the divergence what the margin bounds: how much less
          probable the class is on the masked input. **explained_label** -- the class, where one was asked for.
          **curve** -- a list of `{kept_share, divergence, drop}`, from nothing kept to everything.

    Raises:
        DiffMaskError: If the model is no explainer, an input is empty or no text, or an argument is unknown.
    """

    _load_tokenizer = True
    _load_processor = False
    _load_image_processor = False
    _load_video_processor = False
    _load_feature_extractor = False

    def __init__(self, model: DiffMaskModel, *args: Any, **kwargs: Any):
        if not isinstance(model, DiffMaskModel):
            # What was saved: the model here is what AutoModel made of it, without its head.
            kind = (model.config.architectures or [type(model).__name__])[0]
            raise DiffMaskError(
                f"{model.name_or_path} is no explainer but a {kind}: train one for it with "
                "`hf-diffmask train --base_model ...`, then name the folder that this writes."
            )
        super().__init__(model, *args, **kwargs)
        if not model.is_calibrated:
            logger.warning(
                "This path saw no validation inputs, which thresholds come from: its masks keep everything. Rank by "
                '`evidence`, or use `on_violation="search"`.'
            )
        self.length = max_length(self.model.base, self.tokenizer)

    def _sanitize_parameters(
        self,
        state: str | int | None = None,
        verify: bool | None = None,
        aggregation: str | None = None,
        method: str | None = None,
        on_violation: str | None = None,
        margin: float | None = None,
        label: str | int | None = None,
        curve: bool | None = None,
        refine_steps: int | None = None,
        **answering: Any,
    ) -> tuple[dict, dict, dict]:
        forward: dict[str, Any] = {}
        post: dict[str, Any] = {}
        of_path = {"margin": margin, "label": label, "curve": curve, "refine_steps": refine_steps}
        if self.model.config.objective != "path":
            for name, value in of_path.items():
                if value is not None:
                    raise DiffMaskError(f"`{name}` is for explainers that were trained with --recipe path.")
            if on_violation == "search":
                raise DiffMaskError(
                    '`on_violation="search"` is for explainers that were trained with --recipe path: this one can '
                    '"refine" its masks.'
                )
        elif on_violation == "refine":
            raise DiffMaskError('A path needs no refining to be within its margin: use `on_violation="search"`.')
        if margin is not None:
            if not margin > 0:
                raise DiffMaskError(f"`margin` must be greater than 0, but is {margin}.")
            forward["margin"] = post["margin"] = float(margin)
        if label is not None:
            forward["label"] = post["label"] = self._label_index(label)
        if curve is not None:
            forward["curve"] = curve
        if refine_steps is not None:
            if refine_steps < 0:
                raise DiffMaskError(f"`refine_steps` must be 0 or more, but is {refine_steps}.")
            forward["refine_steps"] = post["refine_steps"] = refine_steps
        if state is not None:
            forward["state"] = post["state"] = self._state_index(state)
        if verify is not None:
            forward["verify"] = verify
        if aggregation is not None:
            if aggregation not in AGGREGATIONS:
                raise DiffMaskError(f"`aggregation` must be one of {', '.join(AGGREGATIONS)}, but is {aggregation!r}.")
            post["aggregation"] = aggregation
        if method is not None:
            if method != "amortised" and method not in SEARCHES:
                raise DiffMaskError(f"`method` must be amortised, {' or '.join(SEARCHES)}, but is {method!r}.")
            forward["method"] = post["method"] = method
        if on_violation is not None:
            if on_violation not in ON_VIOLATION:
                raise DiffMaskError(
                    f"`on_violation` must be one of {', '.join(ON_VIOLATION)}, but is {on_violation!r}."
                )
            forward["on_violation"] = post["on_violation"] = on_violation
        if answering.keys() - ANSWERING.keys():
            raise DiffMaskError(f"There is no argument {', '.join(sorted(answering.keys() - ANSWERING.keys()))}.")
        if answering and self.model.config.task != heads.QUESTION_ANSWERING:
            raise DiffMaskError(f"`{next(iter(answering))}` is for question answering, and this explainer's is not.")
        return {}, forward, {**post, **answering}

    def _check_together(self, verify: bool, method: str, on_violation: str, of_path: dict[str, Any]) -> None:
        """Refuses what does not go together, whether it was said to the constructor or in a call."""
        if on_violation != "keep" and not verify:
            raise DiffMaskError(f"`on_violation={on_violation!r}` needs the check: leave `verify` on.")
        if method in SEARCHES:
            if on_violation in ("search", "refine"):
                raise DiffMaskError(
                    f"`method={method!r}` stays within the margin by itself: leave `on_violation` out."
                )
            for name, value in of_path.items():
                if value:
                    raise DiffMaskError(f"`method={method!r}` does without the path: leave `{name}` out.")
        elif of_path["margin"] and on_violation != "search" and not self.model.is_calibrated:
            raise DiffMaskError(
                "This explainer was trained without validation inputs, and which of its masks cost a margin is not "
                'known: use `on_violation="search"`.'
            )

    def _state_index(self, state: str | int) -> int:
        names = list(self.model.config.state_names)
        if state in names:
            return names.index(state)
        if isinstance(state, int) and -len(names) <= state < len(names):
            return state % len(names)
        raise DiffMaskError(f"There is no state {state!r}: name one of {', '.join(names)}, or a number from 0.")

    def _label_index(self, label: str | int) -> int:
        if self.model.config.target != "prediction":
            raise DiffMaskError("This explainer explains the whole output, and no class by itself: leave `label` out.")
        names = self.model.base.config.id2label
        if label in names.values():
            return next(number for number, name in names.items() if name == label)
        if isinstance(label, int) and label in names:
            return label
        raise DiffMaskError(f"There is no class {label!r}: name one of {', '.join(names.values())}, or its number.")

    def __call__(self, inputs: Any, **kwargs: Any) -> Any:
        """
        Explains a text, or each of a list, a generator or a data set of texts.

        Args:
            inputs (`str`, `dict`, `list`, generator or data set):
                Texts, or pairs as `{"text": ..., "text_pair": ...}`; for question answering `{"question": ...,
                "context": ...}`; of a [`~datasets.Dataset`], those columns.
            kwargs: See the class.

        Returns:
            `dict` for one input, a list of them for a list, an iterator over them for anything else.
        """
        if isinstance(inputs, datasets.Dataset | datasets.IterableDataset):
            inputs = (row for row in inputs)
        if isinstance(inputs, list | tuple):
            if not inputs:
                return []
            inputs = [self._as_input(item, f"Input {position}") for position, item in enumerate(inputs)]
        elif isinstance(inputs, types.GeneratorType):
            inputs = (self._as_input(item, f"Input {position}") for position, item in enumerate(inputs))
        elif isinstance(inputs, str | dict) or not isinstance(inputs, torch.utils.data.Dataset):
            inputs = self._as_input(inputs, "The input")
        return super().__call__(inputs, **kwargs)

    def _as_input(self, item: Any, what: str) -> Text:
        if self.model.config.task == heads.QUESTION_ANSWERING:
            return question_answering.as_question(item, what)
        return _as_text(item, what)

    def preprocess(self, input_: Text | dict[str, str]) -> Iterator[dict[str, Any]]:
        encoded = encode(self.tokenizer, self._as_input(input_, "The input"))
        if all(segment is None for segment in encoded.segments):
            raise DiffMaskError("The input holds no token: give a text with at least one visible character.")
        if self.model.config.task == heads.QUESTION_ANSWERING:
            question_answering.check_room(encoded, self.length)
        parts = list(windows(encoded, self.length))
        for position, window in enumerate(parts):
            features = {name: torch.tensor([values]) for name, values in window.features.items()}
            yield {**features, "is_last": position == len(parts) - 1, "encoded": encoded, "units": window.units}

    def _forward(
        self,
        model_inputs: dict[str, Any],
        state: int = -1,
        verify: bool = True,
        method: str = "amortised",
        on_violation: str = "keep",
        margin: float | None = None,
        label: int | None = None,
        curve: bool = False,
        refine_steps: int = 0,
    ) -> dict[str, Any]:
        of_path = {"margin": margin, "label": label is not None, "curve": curve, "refine_steps": refine_steps}
        self._check_together(verify, method, on_violation, of_path)
        features = {name: value for name, value in model_inputs.items() if name not in _OWN_KEYS}
        special = model_inputs["special_tokens_mask"]
        recorded: Recorded = self.model.record(**features)
        classes = None if label is None else torch.full((len(special),), label, device=special.device)
        output = self.model(**features, special_tokens_mask=special, recorded=recorded, margin=margin, classes=classes)
        if self.model.config.objective == "path" and method == "amortised":
            found = explain_path(
                self.model,
                output,
                recorded,
                {**features, "special_tokens_mask": special},
                state=state,
                margin=margin,
                classes=classes,
                verify=verify,
                search=on_violation == "search",
                curve=curve,
                refine_steps=refine_steps,
            )
        elif method == "amortised":
            found = {"keep_probability": output.keep_probability}
        else:
            masked_at = 0 if self.model.config.masks_inputs else state
            keep = SEARCHES[method](self.model, {**features, "special_tokens_mask": special}, masked_at)
            # One column, for the one state; what cannot be masked is kept.
            found = {"keep_probability": keep.masked_fill(~output.maskable, 1.0)[..., None]}
        outputs = {
            "target": output.target,
            "attention_mask": features["attention_mask"],
            **{name: model_inputs[name] for name in ("is_last", "encoded", "units")},
            **found,
        }
        if "kept" in outputs:
            return outputs
        column = state if method == "amortised" else 0
        outputs["kept"] = hard_mask(outputs["keep_probability"][..., column, None])
        if verify:
            outputs["masked"] = self.model.masked_forward(outputs["kept"][..., 0], state, recorded, **features)
        if verify and on_violation == "refine":
            outside = self.model.cost(output.target, outputs["masked"]) > float(self.model.config.margin)
            outputs["refined"] = outside[:, None]
            if outside.any():
                self._refine(outputs, {**features, "special_tokens_mask": special}, state, outside)
        return outputs

    def _refine(self, outputs: dict[str, Any], features: dict[str, Tensor], state: int, outside: Tensor) -> None:
        """Searches the masks of windows outside the margin, from the explainer's own; changes `outputs` in place."""
        picked = {name: value[outside] for name, value in features.items()}
        keep = outputs["keep_probability"][outside]
        keep[..., state] = refine(self.model, picked, keep[..., state], state)
        outputs["keep_probability"][outside] = keep
        outputs["kept"][outside] = hard_mask(keep[..., state, None])
        del picked["special_tokens_mask"]
        outputs["masked"][outside] = self.model.masked_forward(hard_mask(keep[..., state]), state, None, **picked)

    def postprocess(
        self,
        model_outputs: list[dict[str, Any]],
        state: int = -1,
        aggregation: str = "token",
        method: str = "amortised",
        on_violation: str = "keep",
        margin: float | None = None,
        label: int | None = None,
        refine_steps: int = 0,
        **answering: Any,
    ) -> dict[str, Any]:
        encoded: EncodedText = model_outputs[0]["encoded"]
        names = list(self.model.config.state_names)
        if method != "amortised":
            names, state = [names[0 if self.model.config.masks_inputs else state]], 0
        keep_probability = most_central(model_outputs, encoded, "keep_probability")
        (kept,) = most_central(model_outputs, encoded, "kept").T
        evidence = most_central(model_outputs, encoded, "evidence") if "evidence" in model_outputs[0] else None
        is_pair = 1 in encoded.segments
        tokens = []
        for unit, token in enumerate(encoded.tokens):
            segment = encoded.segments[unit]
            states = keep_probability[unit].tolist()
            tokens.append(
                {
                    "token": token,
                    "start": encoded.offsets[unit][0],
                    "end": encoded.offsets[unit][1],
                    "special": segment is None,
                    "score": sum(states) / len(states) if evidence is None else states[state],
                    "kept": bool(kept[unit]),
                    "states": states,
                    **({} if evidence is None else {"evidence": evidence[unit, state].item()}),
                    **({"segment": segment} if is_pair else {}),
                }
            )
        ordinary = [token for token in tokens if not token["special"]]
        prediction, check = self.prediction(model_outputs, label, **answering)
        result: dict[str, Any] = {
            **prediction,
            "tokens": merge_words(tokens, encoded) if aggregation == "word" else tokens,
            "states": names,
            "state": names[state],
            "kept_share": sum(token["kept"] for token in ordinary) / len(ordinary),
            "margin": float(self.model.config.margin) if margin is None else margin,
        }
        if label is not None:
            result["explained_label"] = self.model.base.config.id2label[label]
        if check is not None:
            result["divergence"], result["same_prediction"], cost = check
            if self.model.config.target == "prediction":
                result["drop"] = cost
            result["within_margin"] = cost <= result["margin"]
        if "curve" in model_outputs[0]:
            result["curve"] = self._curve(model_outputs, label, answering)
        if on_violation == "search" or refine_steps:
            result["forwards"] = sum(int(window["forwards"]) for window in model_outputs)
        elif on_violation == "refine":
            result["forwards"] = REFINE_FORWARDS * sum(bool(window["refined"]) for window in model_outputs)
        if on_violation == "abstain":
            result["abstained"] = not result["within_margin"]
            if result["abstained"]:
                result["tokens"], result["kept_share"] = [], None
        return Attribution(result)

    def prediction(
        self, model_outputs: list[dict[str, Any]], label: int | None = None, **answering: Any
    ) -> tuple[dict[str, Any], tuple[float, bool, float] | None]:
        """
        What the base model predicts of an input, and how a masked pass compares.

        Args:
            model_outputs (`list[dict]`):
                Of each window what [`~ChunkPipeline.preprocess`] yields of it, and `target`, the log-probabilities in
                nats, `(1, C)` or `(1, 2, T)`; `masked`, the same of the masked window, if there was a pass.
            label (`int`, *optional*): The class explained; by default the predicted one.
            answering: For question answering, see the class.

        Returns:
            `tuple`: `label` and `score`, or `answer`, `start`, `end` and `score`; and, if there was a masked pass, the
            divergence in nats, whether the prediction is unchanged, and the cost in the terms of the margin.
        """
        if self.model.config.task == heads.QUESTION_ANSWERING:
            return self._answer(model_outputs, model_outputs[0]["encoded"], {**ANSWERING, **answering})
        return self._classify(model_outputs, label)

    def _curve(
        self, model_outputs: list[dict[str, Any]], label: int | None, answering: dict[str, Any]
    ) -> list[dict[str, float]]:
        """What the masks of a path cost, from those that keep nothing to the one that keeps everything."""
        found = []
        for number, share in enumerate(CURVE):
            windows = [{**window, "masked": window["curve"][:, number]} for window in model_outputs]
            _, check = self.prediction(windows, label, **answering)
            assert check is not None
            point = {"kept_share": share, "divergence": check[0]}
            found.append({**point, "drop": check[2]} if self.model.config.target == "prediction" else point)
        return found

    def _classify(
        self, model_outputs: list[dict[str, Any]], label: int | None
    ) -> tuple[dict[str, Any], tuple[float, bool, float] | None]:
        """Label and score; divergence, whether the label is unchanged, and the cost, if there was a masked pass."""
        target = length_weighted_mean(model_outputs, "target")
        best = int(target.argmax())
        prediction = {"label": self.model.base.config.id2label[best], "score": target[best].exp().item()}
        if "masked" not in model_outputs[0]:
            return prediction, None
        masked = length_weighted_mean(model_outputs, "masked")
        # Rounding can leave a divergence of nothing a hair below 0.
        divergence = max(0.0, heads.divergence(target[None], masked[None]).item())
        classes = torch.tensor([best if label is None else label])
        cost = self.model.cost(target[None], masked[None], classes).item()
        return prediction, (divergence, int(masked.argmax()) == best, cost)

    def _answer(
        self, model_outputs: list[dict[str, Any]], encoded: EncodedText, answering: dict[str, Any]
    ) -> tuple[dict[str, Any], tuple[float, bool, float] | None]:
        """The answer and its characters; divergence, whether it is unchanged, and cost, if there was a masked pass."""
        top_k = answering.pop("top_k") or 0
        if top_k < 0:
            raise DiffMaskError(f"`top_k` must be 0 or more, but is {top_k}.")
        found = question_answering.answers(model_outputs, "target", encoded, max(1, top_k), **answering)
        listed = [
            {"answer": answer.text, "start": answer.start, "end": answer.end, "score": answer.score}
            for answer in found
        ]
        prediction = {**listed[0], **({"answers": listed} if top_k else {})}
        if "masked" not in model_outputs[0]:
            return prediction, None
        (again,) = question_answering.answers(model_outputs, "masked", encoded, 1, **answering)
        divergence = question_answering.check(
            model_outputs, question_answering.window_of(found[0], model_outputs, encoded)
        )
        return prediction, (divergence, again[:2] == found[0][:2], divergence)


def _as_text(item: Any, what: str) -> Text:
    """Checks one input and brings it into the form that `encode` takes."""
    if isinstance(item, dict) and "text" in item:
        parts = [item["text"], *([item["text_pair"]] if item.get("text_pair") is not None else [])]
    else:
        parts = list(item) if isinstance(item, tuple) and len(item) == 2 else [item]
    for part in parts:
        if not isinstance(part, str):
            raise DiffMaskError(
                f"{what} is no text but of type {type(part).__name__}: give a string, or a pair as "
                '{"text": ..., "text_pair": ...}.'
            )
        if not part.strip():
            raise DiffMaskError(f"{what} is empty: give a text with at least one visible character.")
    return parts[0] if len(parts) == 1 else (parts[0], parts[1])
