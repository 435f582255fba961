"""The named endpoints of the page, which are tools of MCP, too."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import gradio as gr

from ..errors import DiffMaskError
from .service import Service
from .settings import CONCURRENCY


class Endpoints:
    """
    The endpoints. Names, types and docstrings of the methods are what clients and MCP are told.

    Args:
        service ([`Service`]): What explains.
    """

    def __init__(self, service: Service):
        self.service = service

    def explain(
        self, text: str, pair: str = "", explainer: str = "", margin: float | None = None, on_violation: str = "keep"
    ) -> dict:
        """Explains a prediction: which tokens of a text the model's output needs, and what dropping the others costs.

        Args:
            text: The text, or the question.
            pair: Second text of a pair, or the context of the question.
            explainer: A name of the menu, or an id on the Hub that is allowed; by default the first of the menu.
            margin: What the explanation may cost; by default the explainer's.
            on_violation: keep, search or abstain.
        """
        return dict(self.service.explain(text, pair, explainer, margin, None, on_violation))

    def what_if(self, text: str, kept: list[int], pair: str = "", explainer: str = "") -> dict:
        """Predicts from some tokens of a text, beside the prediction of the whole.

        Args:
            text: The text, or the question.
            kept: Numbers of the tokens that stay, as in the tokens of explain.
            pair: Second text of a pair, or the context of the question.
            explainer: A name of the menu, or an id on the Hub that is allowed; by default the first of the menu.
        """
        return self.service.what_if(text, kept, pair, explainer)

    def compare(self, text: str, pair: str = "", explainer: str = "") -> list[dict]:
        """Explains a prediction by DiffMask, leave-one-out and Integrated Gradients, with the cost of each.

        Args:
            text: The text.
            pair: Second text of a pair.
            explainer: A name of the menu, or an id on the Hub that is allowed; by default the first of the menu.
        """
        return self.service.compare(text, pair, explainer)

    def explainers(self) -> list[str]:
        """Names of the explainers that are served."""
        return list(self.service.shelf.menu)


def add_endpoints(service: Service) -> None:
    """
    Adds the endpoints to the page that is being built.

    Args:
        service ([`Service`]): What explains.
    """
    endpoints = Endpoints(service)
    for endpoint in (endpoints.explain, endpoints.what_if, endpoints.compare, endpoints.explainers):
        gr.api(refusing(endpoint), api_name=endpoint.__name__, concurrency_limit=CONCURRENCY)


def refusing(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """
    An endpoint that says what was wrong, instead of `Internal error`.

    Args:
        endpoint (`Callable`): One that raises [`DiffMaskError`].

    Returns:
        `Callable`: The same, but that it raises `gradio.Error`.
    """

    @wraps(endpoint)
    def refused(*args: Any, **kwargs: Any) -> Any:
        try:
            return endpoint(*args, **kwargs)
        except DiffMaskError as error:
            raise gr.Error(str(error), print_exception=False) from error

    return refused
