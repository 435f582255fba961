"""Exact match and F1 of answers, as SQuAD measures them."""

import re
import string
from collections import Counter
from collections.abc import Sequence

_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


_ARTICLES = re.compile(r"\b(?:a|an|the)\b")


def normalize_answer(text: str) -> str:
    """
    Lower case, without ASCII punctuation, articles (a, an, the) and surplus white space, as SQuAD compares answers.

    Args:
        text (`str`): An answer.

    Returns:
        `str`: Words with one space between them, possibly none.
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_WITHOUT_PUNCTUATION)).split())


def exact_match(prediction: str, answers: Sequence[str]) -> float:
    """
    Whether a prediction is one of the answers, after [`normalize_answer`].

    As in the evaluation of SQuAD v2.0, answers of which normalisation leaves nothing do not count; where none is left,
    the question is unanswerable, and only an empty prediction is right.

    Args:
        prediction (`str`): The predicted text, empty for no answer.
        answers (`Sequence[str]`): The annotators' answers, none for an unanswerable question.

    Returns:
        `float`: 1 or 0.
    """
    return float(normalize_answer(prediction) in _references(answers))


def f1(prediction: str, answers: Sequence[str]) -> float:
    """
    Harmonic mean of precision and recall over the words that a prediction shares with an answer, of the best answer.

    Words are those of [`normalize_answer`], and count as often as they occur. Unanswerable questions are as in
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
    """What a prediction is compared with: the empty text for an unanswerable question."""
    return [answer for answer in map(normalize_answer, answers) if answer] or [""]


def _overlap(predicted: list[str], answer: list[str]) -> float:
    """F1 of two lists of words."""
    if not predicted or not answer:
        return float(predicted == answer)
    # Precision P = shared / predicted and recall R = shared / answer make 2PR / (P + R) = 2 shared / (both lengths).
    return 2 * (Counter(predicted) & Counter(answer)).total() / (len(predicted) + len(answer))
