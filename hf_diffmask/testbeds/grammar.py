"""Sentences from a small grammar, for the demo and the tests without a data set or labels."""

import random

_SUBJECTS = (
    "the film", "this movie", "the story", "the plot", "the script", "the acting", "the cast", "the lead actor",
    "the director", "the music", "the ending", "the first half", "the dialogue", "the camera work", "every scene",
)  # fmt: skip
_GOOD = (
    "wonderful", "charming", "moving", "funny", "brilliant", "delightful", "warm", "clever", "gripping", "beautiful",
    "touching", "fresh", "superb", "engaging", "smart",
)  # fmt: skip
_BAD = (
    "dull", "boring", "tedious", "awful", "silly", "flat", "tired", "clumsy", "predictable", "pointless", "shallow",
    "weak", "forgettable", "messy", "lifeless",
)  # fmt: skip
_DEGREES = ("", "", "very ", "quite ", "surprisingly ", "simply ", "utterly ", "never less than ")
_OPENINGS = (
    "", "", "on a rainy evening in town , ", "after ten minutes , ", "with its large budget , ", "in the end , ",
    "for a second film , ", "as my sister said , ", "in black and white , ",
)  # fmt: skip
_CLOSINGS = (
    "", "", " and it runs for two hours", " , which we saw on a monday", " and the room was full",
    " from start to end",
    " , like the book it is based on", " in spite of the rain outside",
)  # fmt: skip
_CONTRASTS = (" but ", " , although ", " , yet ")


def sentences(count: int, seed: int = 0) -> list[str]:
    """
    Random sentences about films, with praise, blame (either may be negated) or both, among neutral words.

    Args:
        count (`int`): Number of sentences.
        seed (`int`, *optional*, defaults to 0): Seed of the draw.

    Returns:
        `list[str]`: Sentences, without labels.
    """
    rng = random.Random(seed)

    def clause(words: tuple[str, ...]) -> str:
        return f"{rng.choice(_SUBJECTS)} is {rng.choice(_DEGREES)}{rng.choice(words)}"

    def sentence() -> str:
        kind = rng.random()
        words = _GOOD if rng.random() < 0.5 else _BAD
        body = clause(words)
        if kind < 0.25:
            body += rng.choice(_CONTRASTS) + clause(_BAD if words is _GOOD else _GOOD)
        elif kind < 0.45:
            body += f" and {rng.choice(words)}"
        elif kind < 0.6:
            body = body.replace(" is ", " is not ", 1)
        return f"{rng.choice(_OPENINGS)}{body}{rng.choice(_CLOSINGS)} ."

    return [sentence() for _ in range(count)]
