"""Tests whether the prediction can be read from masks or gates."""

from collections.abc import Sequence

import numpy as np
import torch

from .explained import Explained
from .finding import Finding, _judged
from .readable import base_rate_of, by_length_alone, pattern_features, readable


def pattern(
    found: Sequence[Explained], special: Sequence[Sequence[int]], texts: Sequence[int], class_conditional: bool
) -> Finding:
    """
    (a) Can the prediction be read from the pattern of the mask alone?

    Args:
        found (`Sequence[Explained]`): The explainer's explanations.
        special (`Sequence[Sequence[int]]`): For each input, 1 at special tokens.
        texts (`Sequence[int]`): For each input (a window of a text), the number of its text.
        class_conditional (`bool`): Whether the explainer is told the prediction; then the finding is not judged.

    Returns:
        [`Finding`]
    """
    masks = [
        [kept for kept, is_special in zip(one.kept, marks, strict=True) if not is_special]
        for one, marks in zip(found, special, strict=True)
    ]
    classes = [one.predicted for one in found]
    accuracy = readable(np.array([pattern_features(mask) for mask in masks]), classes, texts)
    by_length, base_rate = by_length_alone(masks, classes, texts), base_rate_of(classes)
    verdict, note = _judged(accuracy - max(base_rate, by_length), base_rate, texts, class_conditional)
    figures = {"accuracy": accuracy, "base_rate": base_rate, "by_length": by_length}
    question = "Can the prediction be read from positions and counts of the mask alone?"
    return Finding("pattern", question, verdict, figures, note)


def probe_alone(
    found: Sequence[Explained], untrained: Sequence[Explained], texts: Sequence[int], class_conditional: bool
) -> Finding:
    """
    (d) Do the probes make the prediction themselves?

    A classifier reads the prediction from the gate logits of the first state, without words and positions. The first
    state does not know the prediction yet. References: the logits of untrained probes, and random classes (control
    task of Hewitt and Liang 2019).

    Args:
        found (`Sequence[Explained]`): The explainer's explanations.
        untrained (`Sequence[Explained]`): Explanations of untrained probes.
        texts (`Sequence[int]`): For each input (a window of a text), the number of its text.
        class_conditional (`bool`): Whether the explainer is told the prediction; then the finding is not judged.

    Returns:
        [`Finding`]: `all_states`, the accuracy from the logits of all states, is not judged: upper states know the
        prediction.
    """

    def of(explanations: Sequence[Explained], states: int) -> np.ndarray:
        rows = [one.logits[:, :states] for one in explanations]
        return np.array([np.concatenate([row.mean(0), row.std(0), row.min(0), row.max(0)]) for row in rows])

    classes = [one.predicted for one in found]
    drawn = torch.randperm(len(classes), generator=torch.Generator().manual_seed(0)).tolist()
    figures = {
        "accuracy": readable(of(found, 1), classes, texts),
        "base_rate": base_rate_of(classes),
        "by_length": by_length_alone([one.logits.tolist() for one in found], classes, texts),
        "untrained": readable(of(untrained, 1), classes, texts),
        "control": readable(of(found, 1), [classes[k] for k in drawn], texts),
    }
    reference = max(figures[name] for name in ("base_rate", "by_length", "untrained", "control"))
    verdict, note = _judged(figures["accuracy"] - reference, figures["base_rate"], texts, class_conditional)
    figures["selectivity"] = figures["accuracy"] - figures["control"]
    figures["all_states"] = readable(of(found, found[0].logits.shape[1]), classes, texts)
    question = "Can the prediction be read from the gates of the first state alone, without the words?"
    return Finding("probe_alone", question, verdict, figures, note)
