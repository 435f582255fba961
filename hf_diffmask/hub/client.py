"""Hub requests with retries, time limits, and errors in one sentence."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from huggingface_hub.utils import _http
from transformers.utils import logging

from ..errors import DiffMaskError, reason

logger = logging.get_logger(__name__)

ATTEMPTS = 4
LONGEST_WAIT = 60.0  # seconds
TIMEOUT = 60.0  # seconds without a byte


def persist(commit: Callable[[], str], folder: Path, repo_id: str, token: str | None) -> str:
    """
    Commits, with retries after somebody else's commit, a Hub fault or a broken connection.

    Args:
        commit (`Callable`): Makes the commit.
        folder (`Path`): The folder to publish, for messages.
        repo_id (`str`): The repo, for messages.
        token (`str`, *optional*): Kept out of messages.

    Returns:
        `str`: The result of `commit`.

    Raises:
        DiffMaskError: If all tries fail. The message says what happened and what to do.
    """
    for attempt in range(ATTEMPTS):
        try:
            return commit()
        except (HFValidationError, LocalTokenNotFoundError, OfflineModeIsEnabled) as error:
            raise DiffMaskError(f"{safe(reason(error), token)}: {folder} was not pushed.") from error
        except DiffMaskError:
            raise
        except ValueError as error:  # the Hub rejects the front matter, for example an unknown licence
            said = safe(" ".join(str(error).split()), token)
            raise DiffMaskError(f"The Hub refused the card ({said}): put it right, then push again.") from error
        except (HfHubHTTPError, httpx2.TransportError, RuntimeError, OSError) as error:
            wait = _wait(_cause(error), attempt)
            if wait is None or attempt == ATTEMPTS - 1:
                happened = _what_happened(_cause(error), repo_id, token)
                raise DiffMaskError(
                    f"{happened} What was published before is whole, and {folder} is as it was."
                ) from None  # the exception chain would hold the request with the token
            logger.info(f"Pushing again in {wait:g} seconds ({safe(reason(error), token)}).")
            time.sleep(wait)
    raise AssertionError


def _cause(error: BaseException) -> BaseException:
    """The Hub's answer or the connection error behind an upload error."""
    while not isinstance(error, HfHubHTTPError | httpx2.TransportError) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _status(error: BaseException) -> int | None:
    return error.response.status_code if isinstance(error, HfHubHTTPError) else None


def _wait(error: BaseException, attempt: int) -> float | None:
    """Seconds until the next try, or `None` if a retry cannot help."""
    status = _status(error)
    request = error.response.request if isinstance(error, HfHubHTTPError) else getattr(error, "_request", None)
    if request is not None and request.method == "PUT":  # the client has already retried
        return None
    if isinstance(error, httpx2.TransportError) or status in (408, 409, 500, 502, 503, 504):
        return 0.5 * 2**attempt
    if status == 412:
        return 0.1 * 2**attempt
    if status == 429:
        asked = str(error.response.headers.get("Retry-After", ""))  # type: ignore
        seconds = float(asked) if asked.isdigit() else float(2**attempt)
        return seconds if seconds <= LONGEST_WAIT else None
    return None


def _what_happened(error: BaseException, repo_id: str, token: str | None) -> str:
    """Why a push failed, and what to do."""
    again = "Run the same command again, and it goes on."
    said = safe(reason(error), token)
    if isinstance(error, httpx2.TransportError):
        return f"The connection to the Hub broke ({said or type(error).__name__}). {again}"
    status = _status(error)
    if status == 401:
        return "The Hub does not accept the token, or there is none: log in with `hf auth login`, then push again."
    if status == 403:
        return f"This token may not write to {repo_id}: use one with write access, or another repo, then push again."
    if isinstance(error, RepositoryNotFoundError) or status == 404:
        return f"There is no {repo_id}, or this token may not see it: check its name and the token, then push again."
    if status == 409:
        return f"Another operation on {repo_id} is in progress. {again}"
    if status == 412:
        return f"Others kept committing to {repo_id}. {again}"
    if status == 429:
        asked = error.response.headers.get("Retry-After")  # type: ignore
        return f"The Hub's rate limit is reached{f': wait {asked} seconds' if asked else ''}. {again}"
    if status is not None and status >= 500:
        return f"The Hub has a fault of its own ({status}). {again}"
    return f"The Hub refused the push ({said})."


def safe(text: str, token: str | None) -> str:
    """
    A text with access tokens hidden.

    Args:
        text (`str`): A message.
        token (`str`, *optional*): The token in use. Other tokens are found by their prefix `hf_`.

    Returns:
        `str`
    """
    return re.sub(r"\bhf_\w+", "hf_...", text.replace(token, "hf_...") if token else text)


@contextmanager
def bounded(timeout: float) -> Iterator[None]:
    """
    Gives up silent connections, because the client has no time limit for a commit's answer.

    Args:
        timeout (`float`): Seconds without a byte.
    """
    factory = _http._GLOBAL_CLIENT_FACTORY

    def bound(request: httpx2.Request) -> None:
        request.extensions["timeout"] = dict.fromkeys(("connect", "read", "write", "pool"), timeout)

    def bounded_client() -> httpx2.Client:
        client = factory()
        client.event_hooks = {**client.event_hooks, "request": [*client.event_hooks.get("request", []), bound]}
        return client

    _http.set_client_factory(bounded_client)
    try:
        yield
    finally:
        _http.set_client_factory(factory)
