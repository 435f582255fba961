"""A page whose every request is answered with a result or a sentence, and whose log holds no texts of visitors."""

import inspect
import logging
import traceback
from typing import Any

import gradio as gr
from fastapi import HTTPException
from gradio.route_utils import FnIndexInferError
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import DiffMaskError

logger = logging.getLogger(__name__)
SHOWN = 500  # most characters of a message


class GuardedBlocks(gr.Blocks):
    """
    Blocks that report each error with a message.

    Gradio answers most errors with `{"error": null}`, and prints the whole request into the log.
    """

    async def process_api(self, block_fn: Any, inputs: list[Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
        try:
            # The next part of a running answer has the same inputs again.
            inputs = self._complete(self.fns[block_fn] if isinstance(block_fn, int) else block_fn, inputs)
            return await super().process_api(block_fn, inputs, *args, **kwargs)
        except DiffMaskError as error:
            raise _told(str(error)) from None
        except gr.Error as error:
            raise _told(error.message) from None
        except Exception as error:
            log(error)
            raise _told(f"The page failed ({type(error).__name__}): check the values, or try again.") from None

    @staticmethod
    def _complete(called: Any, inputs: list[Any]) -> list[Any]:
        """The values. Missing values at the end get their defaults, so old requests stay valid."""
        count = len(called.inputs)
        if len(inputs) == count:
            return inputs
        parameters = list(inspect.signature(called.fn).parameters.values())[:count] if called.fn else []
        missing = [one.default for one in parameters[len(inputs) :]]
        if len(parameters) == count > len(inputs) and inspect.Parameter.empty not in missing:
            return [*inputs, *missing]
        names = [one.name for one in parameters]
        raise DiffMaskError(
            f"{called.api_name} takes {len(called.inputs)} values, and {len(inputs)} came: give "
            f"{', '.join(names) or 'none'}."
        )


def log(error: BaseException) -> None:
    """
    Writes an unexpected error into the log.

    Args:
        error (`BaseException`): The error. Its message can hold a whole request, so only the beginning is written.
    """
    where = "".join(traceback.format_tb(error.__traceback__))
    logger.error("%s: %.100s\n%s", type(error).__name__, error, where)


def unserved(request: Request, error: Exception) -> JSONResponse:
    """
    The answer to a request that no endpoint takes.

    Args:
        request (`starlette.requests.Request`): The request.
        error (`Exception`): What Gradio raised.

    Returns:
        `starlette.responses.JSONResponse`: The status 400, with an `error`.
    """
    if isinstance(error, TypeError):  # names of values that do not fit
        return JSONResponse({"error": str(error)[:SHOWN]}, 400)
    return JSONResponse({"error": "There is no such endpoint: see /gradio_api/info."}, 400)


UNSERVED: dict[Any, Any] = {kind: unserved for kind in (TypeError, KeyError, FnIndexInferError)}
"""Handlers by type of error, for FastAPI."""


class SmallRequests:
    """
    Refuses requests that are too large, before they are parsed.

    Args:
        app (`ASGIApp`): The application.
        most (`int`): Largest number of bytes in a request's body.
    """

    def __init__(self, app: ASGIApp, most: int):
        self.app, self.most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self.most:
                raise HTTPException(413, f"The request is larger than the limit of {self.most:,} bytes.")
            return message

        await self.app(scope, counted if scope["type"] == "http" else receive, send)


def _told(message: str) -> gr.Error:
    return gr.Error(message if len(message) <= SHOWN else f"{message[:SHOWN]} ...", print_exception=False)
