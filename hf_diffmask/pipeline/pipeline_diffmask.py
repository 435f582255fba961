"""`pipeline("diffmask-attribution")`: from a text or question to a prediction and a checked attribution."""

import os
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from transformers.pipelines.base import ChunkPipeline
from transformers.utils import logging

from ..base.running import Recorded
from ..data.encoding import EncodedText, check_vocabulary, max_length
from ..data.units import Unit, with_units
from ..data.windows import windows
from ..errors import DiffMaskError
from ..explainer.modeling_diffmask import DiffMaskModel
from ..masks.gates import hard_mask
from .explanation import explain_choices, explain_windows, of_choice
from .inputs import check_on_error, explained, read_input, with_keywords
from .labels import Asked, choices_of, numbers_of
from .options import PER_EXAMPLE, check_together, count_of, sorted_options
from .parts import ENTITIES, Parts, Targets, each_part, explain_parts, parts_of
from .results import read, result_of
from .zero_shot import ZeroShot

logger = logging.get_logger(__name__)

# Keys that the pipeline adds to a window; the base model does not take them.
_OWN_KEYS = ("is_last", "is_whole", "encoded", "units", "asked")


class DiffMaskAttributionPipeline(ChunkPipeline):
    """
    Explains predictions: scores the tokens, and marks tokens that suffice to preserve the output.

    `import hf_diffmask` registers the task:

    ```python
    >>> import hf_diffmask
    >>> from transformers import pipeline

    >>> explain = pipeline("diffmask-attribution")
    >>> result = explain("a warm and quietly funny film")
    >>> [token["token"] for token in result["tokens"] if token["kept"] and not token["special"]]
    ```

    Long inputs are split into overlapping windows. The prediction is the mean of the windows' probabilities, weighted
    by length. Divergence and drop compare these means. A token in an overlap takes its values from the window where it
    is most central. Each window is explained for its own prediction, or for `label`.

    Args (of the constructor or of a call):
        state (`str` or `int`, *optional*, defaults to the last):
            The state with the returned and checked hard mask: a name, or a number from 0.
        verify (`bool`, *optional*, defaults to `True`):
            Whether to check each explanation with a second, masked pass.
        aggregation (`str`, *optional*, defaults to `"token"`):
            `"word"` merges tokens into words for display, see [`~hf_diffmask.data.words.words`].
        unit (`str` or a list, *optional*, defaults to the config's):
            Except for the recipe `paper`: what is masked together. `"token"`, `"word"`, `"sentence"`, or a list of
            `(start, end)` in characters, in a pair of its second text. A unit's evidence is the sum of its tokens'.
            Masks are calibrated for the config's unit. The result lists units in the place of tokens.
        method (`str`, *optional*, defaults to `"amortised"`):
            `"per_example"` and `"reinforce"` search a mask for each input, in hundreds of passes (see
            `hf_diffmask.methods`). They give keep probabilities only at the state at which units are masked.
        on_violation (`str`, *optional*, defaults to `"keep"`):
            Treatment of an explanation outside the margin. `"keep"` returns it, with `within_margin` false.
            `"abstain"` returns prediction and check, without tokens. `"refine"`, for the recipe `paper`,
            searches a mask within the margin for this input, starting from the explainer's mask. `"search"`, for other
            recipes, searches the smallest mask on the input's path within the margin, see
            [`~hf_diffmask.methods.budget_search.smallest_budget`].
        margin (`float`, *optional*, defaults to the config's):
            Not for the recipe `paper`: the largest cost of an explanation, see [`DiffMaskConfig`].
        label (`str`, `int`, or a list of them, *optional*, defaults to the prediction):
            With `target="prediction"`: the choice to explain, its name or number. For a list the result of an input is
            a list, one explanation for each label, from one forward pass and one masked pass a label.
            `"predicted"` stands for all labels that hold: those above 0.5 of a multi-label model.
        targets (`str` or a list, *optional*, defaults to `"entities"`):
            For token classification: what is explained. `"entities"` are those that the base model finds, grouped as
            Transformers' pipeline does with `aggregation_strategy="simple"`; `"all"` is every token; a list of
            `(start, end)` in characters names spans. The result of a text is a list with one explanation for each,
            from one forward pass and one masked pass each.
        probabilities (`bool`, *optional*, defaults to `False`):
            For classifiers: whether results hold the `probabilities` of all labels, by name.
        curve (`bool`, *optional*, defaults to `False`): Not for the recipe `paper`: whether to run masks at
            17 kept shares, 0 to 1.
        top_k (`int`, *optional*): For question answering: number of `answers` to list; by default none.
        max_answer_length (`int`, *optional*, defaults to 30): For question answering: tokens of the longest answer.
        handle_impossible_answer (`bool`, *optional*, defaults to `False`):
            For question answering: whether "no answer" is one of the answers, as in SQuAD v2.
        batch_size (`int`, *optional*, defaults to `1`): Windows per batch.
        on_error (`str`, *optional*, defaults to `"raise"`):
            Treatment of a row that cannot be explained, such as an empty text. `"raise"` gives the results before it,
            then raises; in a list, an empty row or one that is no text is refused before anything runs. `"skip"`
            gives `{"row": number, "error": sentence}` in its place and goes on. Rows count from 0.

    Returns (for each input, a `dict` that notebooks show as the grid of tokens and states):
        - **label**, **score** -- the base model's prediction and its probability; for regression the name of the
          label, the number, and **direction**, `"up"` or `"down"` from the mean; for several labels also **labels**,
          those above 0.5. **task** names the task.
        - **answer**, **start**, **end**, **score** -- for question answering, instead of the label: the answer, its
          characters in the context, and its probability. No answer is the empty text, 0 and 0. `top_k` adds
          **answers**, a list of such `dict`s, the best first.
        - **label**, **score**, **word**, **start**, **end** -- for token classification: the type of the explained
          part, its probability, and the part with its characters in the text. A text longer than a window gives
          **tokens** of the window that the part is in.
        - **tokens** -- a list of `{token, start, end, special, score, kept, states}`. `start` and `end` count
          characters of the text, without white space around the token. `states` holds the keep probability at each
          state, `score` their mean; all are in [0, 1]. Tokens of a pair have a `segment`: 0 or 1 (question or
          context), `None` for special tokens. Except for the recipe `paper`, `score` is the keep probability at
          `state`, and `evidence` is the signed, unbounded score.
        - **states** -- names of the states. **state** -- name of the state with the returned mask.
        - **unit** -- with units of several tokens: `"word"`, `"sentence"`, or `"unit"` for given spans. **tokens**
          then lists units: `token` is the text of a unit.
        - **kept_share** -- share of tokens or units kept, without special tokens.
        - **divergence** -- divergence of the masked output from the whole output, in nats for classes and answers; for
          an answer, in the answer's window. **drop** -- with `target="prediction"`, the drop of the choice.
          **same_prediction** -- whether the prediction is unchanged. **within_margin** -- whether the drop, or else
          the divergence, is at most **margin**; a drop below 0, a rise, is. Without `verify`, all except **margin**
          are absent.
        - **certificate** -- `"holds"` if the mask is within the margin; `"does not hold"` if it is not, or if its
          drop or divergence is no finite number; `"not checked"` without `verify`.
        - **forwards** -- forward passes for `on_violation="search"` or `"refine"`.
        - **searched** -- `True` if a search (`on_violation="search"` or `"refine"`) replaced the explainer's mask;
          absent otherwise.
        - **abstained** -- with `on_violation="abstain"`: whether the explanation is outside the margin. Then `tokens`
          is empty, and `kept_share` is `None`.
        - **explained_label** -- name of the choice, with `label`. **curve** -- a list of `{kept_share, divergence,
          drop}`, from no token kept to all tokens kept.

    Raises:
        DiffMaskError: If the model is no explainer, an input is empty or no text, or an argument is unknown.
    """

    _load_tokenizer = True
    _load_processor = False
    _load_image_processor = False
    _load_video_processor = False
    _load_feature_extractor = False

    def __init__(self, model: DiffMaskModel, *args: Any, on_error: str = "raise", **kwargs: Any):
        if not isinstance(model, DiffMaskModel):
            # The saved class, because AutoModel loads the model without its head.
            kind = (model.config.architectures or [type(model).__name__])[0]
            raise DiffMaskError(
                f"{model.name_or_path} is a {kind}, not an explainer: train an explainer for it with `hf-diffmask "
                "train --base_model ...`, then name its folder."
            )
        super().__init__(model, *args, **kwargs)
        check_vocabulary(self.tokenizer, model.config.vocab_size)
        self.on_error = check_on_error(on_error)
        if not model.masks.is_calibrated:
            logger.warning(
                "This explainer was trained without validation inputs and has no thresholds: its masks keep "
                'everything. Rank by `evidence`, or use `on_violation="search"`.'
            )
        self.length = max_length(self.model.base, self.tokenizer)

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> None:
        """
        Saves explainer and tokenizer, as [`DiffMaskModel.save_pretrained`] does.

        Transformers' own method would save this file as remote code and write `custom_pipelines` into the config.

        Args:
            save_directory (`str` or `os.PathLike`): The folder.
            kwargs: Passed on to both.

        Raises:
            DiffMaskError: If `save_directory` is a file.
        """
        if os.path.isfile(save_directory):
            raise DiffMaskError(f"{save_directory} is a file: name a folder.")
        self.model.save_pretrained(save_directory, **kwargs)
        self.tokenizer.save_pretrained(save_directory, **kwargs)

    def _sanitize_parameters(self, **options: Any) -> tuple[dict, dict, dict]:
        return sorted_options(self.model, **options)

    def __call__(
        self,
        inputs: Any = None,
        *,
        on_error: str | None = None,
        batch_size: int | None = None,
        num_workers: int | None = None,
        candidate_labels: str | Sequence[str] | None = None,
        hypothesis_template: str | None = None,
        **options: Any,
    ) -> Any:
        """
        Explanations of one text, or of each text in a list, column, stream or data set.

        Args:
            inputs (`str`, `dict` or a container of them):
                Texts, or pairs as `{"text": ..., "text_pair": ...}`; for question answering `{"question": ...,
                "context": ...}`. A [`~datasets.Dataset`] has these keys as columns. A tuple is a container, as a list
                is; inside a container, a tuple of two texts is a pair.
            on_error, batch_size (*optional*): See the class.
            num_workers (`int`, *optional*): No effect; part of Transformers' interface.
            candidate_labels, hypothesis_template (*optional*): For an entailment model: zero-shot classification, see
                [`ZeroShot`]. The result of a text is a list with one explanation for each label, the most probable
                first.
            options: See the class. For question answering also `question` and `context`, each a text or a container,
                instead of `inputs`.

        Returns:
            `dict` for one input; a list for a list, tuple, array, series or column; an iterator for a data set,
            generator or other iterator, which reads only as far as results are taken, and a batch ahead.

        Raises:
            DiffMaskError: If an input or an argument cannot be used.
        """
        inputs, options = with_keywords(self.model.task, inputs, options)
        on_error = self.on_error if on_error is None else check_on_error(on_error)
        if batch_size is not None:
            options["batch_size"] = count_of("batch_size", batch_size)
        zero_shot = None
        if hypothesis_template is not None and candidate_labels is None:
            raise DiffMaskError("`hypothesis_template` goes with `candidate_labels`: name some.")
        if candidate_labels is not None:
            if options.get("label") is not None:
                raise DiffMaskError("With `candidate_labels`, entailment is explained: leave `label` out.")
            zero_shot = ZeroShot(self.model, candidate_labels, hypothesis_template)
            options |= {"label": zero_shot.entailment, "probabilities": True}
        self._sanitize_parameters(**{name: value for name, value in options.items() if name != "batch_size"})

        def run(part: Any) -> Any:
            # Another process could not tell which row cannot be explained.
            return super(DiffMaskAttributionPipeline, self).__call__(part, num_workers=0, **options)

        read = partial(read_input, self.model.task, self.tokenizer, self.length)
        if zero_shot is None:
            return explained(inputs, self.model.task.check, read, run, on_error)
        each = partial(zero_shot.run, run=run)
        return explained(
            inputs,
            lambda text, what: [self.model.task.check(pair, what) for pair in zero_shot.pairs(text, what)],
            lambda text, what: [read(pair, what) for pair in zero_shot.pairs(text, what)],
            each,
            on_error,
        )

    def preprocess(
        self, encoded: EncodedText, targets: Targets = ENTITIES, unit: Unit | None = None
    ) -> Iterator[dict[str, Any]]:
        encoded = with_units(encoded, unit or self.model.config.unit, self.tokenizer.get_added_vocab())
        parts = list(windows(encoded, self.length))
        for position, window in enumerate(parts):
            features = {name: torch.tensor([values]) for name, values in window.features.items()}
            place = {"is_last": position == len(parts) - 1, "is_whole": len(parts) == 1}
            asked = {"asked": parts_of(targets, encoded, window.units)} if self.model.task.at_positions else {}
            yield {**features, **place, "encoded": encoded, "units": window.units, **asked}

    def _forward(
        self,
        model_inputs: dict[str, Any],
        state: int = -1,
        verify: bool = True,
        method: str = "amortised",
        on_violation: str = "keep",
        margin: float | None = None,
        label: Asked | None = None,
        **options: Any,
    ) -> dict[str, Any]:
        check_together(self.model, verify, method, on_violation, margin, label=label is not None, **options)
        features = {name: value for name, value in model_inputs.items() if name not in _OWN_KEYS}
        recorded = self.model.record(self.model.batch(**features))
        is_whole = bool(torch.as_tensor(model_inputs["is_whole"]).all())
        given = {"margin": margin, "on_violation": on_violation, **options}

        def explain(recorded: Recorded) -> dict[str, Any]:
            if method != "amortised":
                return _searched(self.model, recorded, method, state, verify)
            if label is None or isinstance(label, int):
                choice = (
                    None if label is None else torch.full_like(recorded.batch.maskable[:, 0], label, dtype=torch.long)
                )
                return explain_windows(self.model, recorded, choice=choice, state=state, verify=verify, **given)
            choices = choices_of(self.model, label, recorded.target, is_whole)
            return explain_choices(self.model, recorded, choices, state=state, verify=verify, **given)

        if self.model.task.at_positions:
            asked = model_inputs["asked"]
            found = explain_parts(self.model, recorded, [asked] if isinstance(asked, Parts) else asked, explain)
        else:
            found = explain(recorded)
        own = {name: model_inputs[name] for name in _OWN_KEYS if name in model_inputs}
        return {**found, "attention_mask": features["attention_mask"], **own}

    def postprocess(
        self, model_outputs: list[dict[str, Any]], label: Asked | None = None, **options: Any
    ) -> dict[str, Any] | list[dict[str, Any]]:
        own = self.tokenizer.get_added_vocab() if options.get("aggregation") == "word" else ()
        if self.model.task.at_positions:
            assert label is None or isinstance(label, int)
            return [result_of(self.model, [part], label, own, **options) for part in each_part(model_outputs)]
        if label is None or isinstance(label, int):
            return result_of(self.model, model_outputs, label, own, **options)
        # Without its masked pass: this is for the prediction alone.
        whole = [{name: window[name] for name in window if name != "masked"} for window in model_outputs]
        numbers = numbers_of(self.model, label, read(self.model, whole)[0])
        of_each = ([of_choice(window, number) for window in model_outputs] for number in numbers)
        return [
            result_of(self.model, windows, number, own, **options)
            for windows, number in zip(of_each, numbers, strict=True)
        ]


def _searched(model: DiffMaskModel, recorded: Recorded, method: str, state: int, verify: bool) -> dict[str, Any]:
    """The explanation by a method that searches a mask for each input."""
    keep = PER_EXAMPLE[method](model, recorded.batch.features, model.config.masked_at(state))
    # One column for the one state. Units that cannot be masked are kept.
    keep = recorded.batch.spread(keep.masked_fill(~recorded.batch.maskable, 1.0))[..., None]
    found = {"target": recorded.target, "keep_probability": keep, "kept": hard_mask(keep)}
    if verify:
        found["masked"] = model.masked(recorded, found["kept"][..., 0], state)
    return found
