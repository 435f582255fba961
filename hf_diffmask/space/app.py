"""Builds and launches the page of the Space."""

import importlib.util
import os
from typing import Any

import gradio as gr
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from ..about import VERSION
from ..display.grid import STYLE
from .endpoints import add_endpoints
from .guarded import UNSERVED, GuardedBlocks, SmallRequests
from .handlers import Handlers, connect
from .service import Service
from .settings import CONCURRENCY, Settings
from .tabs import lay_out
from .views import CSS, INTRODUCTION

# By default Gradio summarises its last 10,000 events after each event, which takes memory and time.
os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "100")
os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", "100")
SESSIONS = 200


def build(settings: Settings | None = None, service: Service | None = None) -> gr.Blocks:
    """
    The page of the Space. Its first explainer is loaded and warm.

    Args:
        settings ([`Settings`], *optional*): By default from environment variables.
        service ([`Service`], *optional*): An existing service; by default a new one.

    Returns:
        `gradio.Blocks`: The page for [`launch`].

    Raises:
        DiffMaskError: If a setting is wrong, or the first explainer cannot be loaded.
    """
    settings = settings or Settings.from_environment()
    service = service or Service(settings)
    first = service.shelf.get("")
    with GuardedBlocks(title="Differentiable Masking", analytics_enabled=False, delete_cache=(3600, 86400)) as page:
        gr.Markdown(INTRODUCTION)
        layout = lay_out(settings, list(service.shelf.menu), first)
        connect(layout, Handlers(service, settings))
        add_endpoints(service)
    return page


def launch(page: gr.Blocks, settings: Settings | None = None, **options: Any) -> Any:
    """
    Starts a page.

    Args:
        page (`gradio.Blocks`): See [`build`].
        settings ([`Settings`], *optional*): By default from environment variables.
        options: Passed on to `gradio.Blocks.launch`.

    Returns:
        `tuple`: Result of `gradio.Blocks.launch`.
    """
    settings = settings or Settings.from_environment()
    page.queue(default_concurrency_limit=CONCURRENCY, max_size=1000)
    return page.launch(
        css=STYLE + CSS,
        max_threads=CONCURRENCY + 8,
        max_file_size=int(settings.upload_megabytes * 1e6),
        state_session_capacity=SESSIONS,
        enable_monitoring=False,
        run_history=False,
        mcp_server=importlib.util.find_spec("mcp") is not None,
        app_kwargs={
            "routes": [Route("/health", health)],
            "exception_handlers": UNSERVED,
            # A file, and as much again as a form or a text needs.
            "middleware": [Middleware(SmallRequests, most=int(settings.upload_megabytes * 1e6) + 1_000_000)],
        },
        ssr_mode=False,
        **options,
    )


async def health(request: Request) -> JSONResponse:
    """
    Answer for health checks. The page starts after the first explainer is loaded.

    Args:
        request (`starlette.requests.Request`): Any request.

    Returns:
        `starlette.responses.JSONResponse`: `status` and `version`.
    """
    return JSONResponse({"status": "ok", "version": VERSION})
