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
    The error for training, or a step that trains, with a recipe of earlier versions.

    Args:
        recipe (`str`): One of `RETIRED`.
        asked (`str`, *optional*): The step that needs the recipe; by default training itself.

    Returns:
        [`DiffMaskError`]
    """
    subject = f"The recipe {recipe!r}" if asked is None else f"{asked} needs the recipe {recipe!r}, which"
    return DiffMaskError(
        f"{subject} trains no explainers any more, only its saved explainers still load: train with --recipe ablation."
    )


def unrefined(asked: str) -> DiffMaskError:
    """
    The error for refining evidence, which took the training loss of the retired recipe `path`.

    Args:
        asked (`str`): The option or method that asks for it.

    Returns:
        [`DiffMaskError`]
    """
    return DiffMaskError(
        f"{asked} is gone with the recipe 'path', which no longer trains: leave it out; explainers are trained "
        "with --recipe ablation now."
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
