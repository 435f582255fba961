"""Zero-shot classification by an entailment model: any labels, each explained by the text that entails it."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..errors import DiffMaskError
from ..explainer.modeling_diffmask import DiffMaskModel

PLACE = "{}"
TEMPLATE = f"This example is {PLACE}."
"""The hypothesis of Transformers' pipeline."""


class ZeroShot:
    """
    Candidate labels for the texts of an explainer of an entailment model.

    Each label becomes a hypothesis, and each pair of text and hypothesis is an input of its own: one forward pass and
    one masked pass a label. What is explained is the probability of entailment.

    Args:
        model ([`DiffMaskModel`]): An explainer that preserves a prediction, for a model with a label "entailment".
        labels (`str` or a list of `str`): The candidate labels; a `str` names several, separated by commas.
        template (`str`, *optional*, defaults to `TEMPLATE`): The hypothesis, with `{}` in the place of the label.

    Raises:
        DiffMaskError: If the base model has no such label, or a label or the template is none.
    """

    def __init__(self, model: DiffMaskModel, labels: Any, template: str | None = None):
        self.template = TEMPLATE if template is None else template
        self.labels = _labels(labels)
        if not isinstance(self.template, str) or PLACE not in self.template:
            raise DiffMaskError(f"`hypothesis_template` must hold {{}} for the label, but is {self.template!r}.")
        if not model.preserved.of_choice:
            raise DiffMaskError("`candidate_labels` are for explainers of a classifier that preserve its prediction.")
        names = model.task.choice_names(model.base.config)
        entailing = [number for number, name in enumerate(names) if name.lower().startswith("entail")]
        if not entailing:
            raise DiffMaskError(
                f"`candidate_labels` need an entailment model, and this one has the labels {', '.join(names)}: none "
                'begins with "entail".'
            )
        self.task = model.task
        self.entailment = names[entailing[0]]
        self.contradiction = names[-1 if entailing[0] == 0 else 0]  # as in Transformers

    def pairs(self, text: Any, what: str) -> list[dict[str, Any]]:
        """
        The inputs for one text, one for each label.

        Args:
            text (`Any`): An input of the pipeline.
            what (`str`): Name of the input in an error.

        Returns:
            `list[dict]`: Pairs, in the order of the labels.

        Raises:
            DiffMaskError: If the input is a pair already.
        """
        text = self.task.check(text, what)
        if isinstance(text, tuple):
            raise DiffMaskError(f"{what} is a pair of texts: candidate labels are for single texts.")
        return [{"text": text, "text_pair": self.template.replace(PLACE, label)} for label in self.labels]

    def run(self, part: Any, run: Callable[[Any], Any]) -> Any:
        """
        Results for texts.

        Args:
            part (`list` or a generator of lists): The encoded pairs of one text, or of each text.
            run (`Callable`): Maps a generator of encoded pairs to an iterable of results.

        Returns:
            A list for one text; for a generator an iterator of lists.
        """
        if isinstance(part, list):
            return self._sorted(list(run(one for one in part)))
        return self._grouped(run(one for of_text in part for one in of_text))

    def _grouped(self, results: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
        found = []
        for result in results:
            found.append(result)
            if len(found) == len(self.labels):
                yield self._sorted(found)
                found = []

    def _sorted(self, results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The results with the candidate label as the label, the most probable first."""
        for label, result in zip(self.labels, results, strict=True):
            chances = result.pop("probabilities")
            yes, no = chances[self.entailment], chances[self.contradiction]
            result |= {"label": label, "score": yes / (yes + no)}
        return sorted(results, key=lambda result: -result["score"])


def _labels(labels: Any) -> list[str]:
    parts = labels.split(",") if isinstance(labels, str) else labels
    if not isinstance(parts, list | tuple) or not all(isinstance(one, str) for one in parts):
        raise DiffMaskError("`candidate_labels` must be a list of texts, or one text with commas.")
    found = list(dict.fromkeys(one.strip() for one in parts))
    if not found or not all(found):
        raise DiffMaskError("`candidate_labels` holds no label, or an empty one.")
    return found
