"""The one exception for what a user can put right."""


class DiffMaskError(ValueError):
    """Input, settings or files that cannot be used as given; the message is one sentence that says what to do.

    The command line prints the message alone and exits with status 2; any other exception is a bug.
    """


def reason(error: BaseException) -> str:
    """
    What went wrong, in one line, from an error of a library that wraps others or says more.

    Args:
        error (`BaseException`): The error.

    Returns:
        `str`: First line of the innermost cause that has one.
    """
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
