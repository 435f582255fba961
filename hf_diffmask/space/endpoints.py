"""Named endpoints of the page; they are also MCP tools."""

import gradio as gr

from .service import Service
from .settings import CONCURRENCY


class Endpoints:
    """
    The endpoints. Clients and MCP see the names, types and docstrings of the methods.

    Args:
        service ([`Service`]): The service that answers.
    """

    def __init__(self, service: Service):
        self.service = service

    def explain(
        self,
        text: str,
        pair: str = "",
        explainer: str = "",
        margin: float | None = None,
        on_violation: str = "keep",
        span: list[int] | None = None,
    ) -> dict:
        """Explains a prediction: the tokens that the model's output needs, and the cost of masking the others.

        Args:
            text: The text, or the question.
            pair: Second text of a pair, or the context of the question.
            explainer: A name from the menu, or an allowed id on the Hub; by default the first of the menu.
            margin: Largest cost of the explanation; by default the explainer's.
            on_violation: Outside the margin: keep, abstain, search, or refine (explainers of the recipe paper).
            span: Start and end of the tokens to explain, for token classification; by default the first entity.
        """
        return dict(self.service.explain(text, pair, explainer, margin, None, on_violation, span))

    def what_if(
        self, text: str, kept: list[int], pair: str = "", explainer: str = "", span: list[int] | None = None
    ) -> dict:
        """Predicts from chosen tokens of a text, next to the prediction for the whole text.

        Args:
            text: The text, or the question.
            kept: Numbers of the tokens to keep, from the tokens of explain.
            pair: Second text of a pair, or the context of the question.
            explainer: A name from the menu, or an allowed id on the Hub; by default the first of the menu.
            span: Start and end of the explained tokens, for token classification.
        """
        return self.service.what_if(text, kept, pair, explainer, span=span)

    def compare(self, text: str, pair: str = "", explainer: str = "", span: list[int] | None = None) -> list[dict]:
        """Explains a prediction with DiffMask, leave-one-out and Integrated Gradients, with the cost of each.

        Args:
            text: The text.
            pair: Second text of a pair.
            explainer: A name from the menu, or an allowed id on the Hub; by default the first of the menu.
            span: Start and end of the explained tokens, for token classification; by default the first entity.
        """
        return self.service.compare(text, pair, explainer, span)

    def explainers(self) -> list[str]:
        """Names of the explainers on the menu."""
        return list(self.service.shelf.menu)


def add_endpoints(service: Service) -> None:
    """
    Adds the endpoints to the page under construction.

    Args:
        service ([`Service`]): The service that answers.
    """
    endpoints = Endpoints(service)
    for endpoint in (endpoints.explain, endpoints.what_if, endpoints.compare, endpoints.explainers):
        gr.api(endpoint, api_name=endpoint.__name__, concurrency_limit=CONCURRENCY)
