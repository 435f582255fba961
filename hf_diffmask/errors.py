"""The exception for errors that a user can fix."""

# Recipes of earlier versions.
RETIRED = ("path", "fast")


class DiffMaskError(ValueError):
    """An input, setting or file cannot be used. The message is one sentence and says what to do.

    The command line prints only the message and exits with status 2; any other exception is a bug.
    """


class PipelineError(Exception):
    """
    The message of a [`DiffMaskError`] from loading an explainer inside [`~transformers.pipeline`].

    Transformers takes a `ValueError` as a reason to try other classes, and hides it behind the tracebacks of all.
    """


def retired(recipe: str, asked: str | None = None) -> DiffMaskError:
    """
    The error for what needs a recipe of earlier versions.

    Args:
        recipe (`str`): One of `RETIRED`.
        asked (`str`, *optional*): What needs it; by default the recipe itself was asked for.

    Returns:
        [`DiffMaskError`]
    """
    subject = f"The recipe {recipe!r}" if asked is None else f"{asked} needs the recipe {recipe!r}, which"
    return DiffMaskError(
        f"{subject} trains no explainers any more, only its saved explainers still load: train with --recipe ablation."
    )


def reason(error: BaseException) -> str:
    """
    One line from an error of another library.

    Args:
        error (`BaseException`): The error.

    Returns:
        `str`: First line of the innermost cause, without a final full stop; its class name if it has no message.
    """
    while error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, KeyError) and str(error):  # its text is the key alone
        return f"there is no {error}"
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
