"""Helpers for display tests."""

from tests.helpers import STATE_NAMES


def make(tokens, **fields):
    rows = [
        {"token": token, "start": 0, "end": 1, "special": False, "score": sum(states) / 3, "kept": states[-1] > 0.5,
         "states": states}
        for token, states in tokens
    ]  # fmt: skip
    result = {
        "label": "POSITIVE", "score": 0.9, "tokens": rows, "states": STATE_NAMES, "state": STATE_NAMES[-1],
        "kept_share": 0.36, "margin": 0.1, "divergence": 0.0213, "same_prediction": True, "within_margin": True,
    }  # fmt: skip
    return {**result, **fields}
