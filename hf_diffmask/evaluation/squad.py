"""Exact match and F1 of answers, as in SQuAD."""

import re
import string
from collections import Counter
from collections.abc import Sequence

_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


_ARTICLES = re.compile(r"\b(?:a|an|the)\b")


def normalize_answer(text: str) -> str:
    """
    Answer in SQuAD's normal form: lower case, without ASCII punctuation, articles (a, an, the) and extra white space.

    Args:
        text (`str`): An answer.

    Returns:
        `str`: Words joined by one space; may be empty.
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_WITHOUT_PUNCTUATION)).split())


def exact_match(prediction: str, answers: Sequence[str]) -> float:
    """
    Whether a prediction equals one of the answers, after [`normalize_answer`].

    As in SQuAD v2.0, answers that are empty after normalisation do not count. If none is left, the question is
    unanswerable, and only an empty prediction is correct.

    Args:
        prediction (`str`): The predicted text, empty for no answer.
        answers (`Sequence[str]`): The annotators' answers, none for an unanswerable question.

    Returns:
        `float`: 1 or 0.
    """
    return float(normalize_answer(prediction) in _references(answers))


def f1(prediction: str, answers: Sequence[str]) -> float:
    """
    F1 over the words that a prediction shares with the best matching answer.

    Words come from [`normalize_answer`]; repeated words count repeatedly. For unanswerable questions see
    [`exact_match`].

    Args:
        prediction (`str`): The predicted text, empty for no answer.
        answers (`Sequence[str]`): The annotators' answers, none for an unanswerable question.

    Returns:
        `float`: In [0, 1].
    """
    predicted = normalize_answer(prediction).split()
    return max(_overlap(predicted, answer.split()) for answer in _references(answers))


def _references(answers: Sequence[str]) -> list[str]:
    """Normalised answers; the empty text for an unanswerable question."""
    return [answer for answer in map(normalize_answer, answers) if answer] or [""]


def _overlap(predicted: list[str], answer: list[str]) -> float:
    """F1 of two lists of words."""
    if not predicted or not answer:
        return float(predicted == answer)
    # Precision P = shared / predicted and recall R = shared / answer make 2PR / (P + R) = 2 shared / (both lengths).
    return 2 * (Counter(predicted) & Counter(answer)).total() / (len(predicted) + len(answer))
