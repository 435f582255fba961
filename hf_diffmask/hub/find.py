"""Finds explainers on the Hub."""

from typing import Any

import httpx2
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

from ..errors import DiffMaskError, reason
from .client import TIMEOUT, bounded, safe


def find(base_model: str | None = None, token: str | None = None, limit: int = 100) -> list[Any]:
    """
    Finds explainers on the Hub.

    Args:
        base_model (`str`, *optional*): Hub id of the explained base model; by default any.
        token (`str`, *optional*): By default from `hf auth login`; also finds private explainers.
        limit (`int`, *optional*, defaults to 100): Largest number of results.

    Returns:
        `list[huggingface_hub.ModelInfo]`: Most downloaded first, with tags and without cards: one malformed card would
        spoil the whole list.

    Raises:
        DiffMaskError: If `limit` is less than 1, or the Hub cannot be reached.
    """
    if limit < 1:
        raise DiffMaskError(f"--limit must be at least 1, but is {limit}.")
    tags = ["diffmask", *([] if base_model is None else [f"base_model:{base_model}"])]
    try:
        with bounded(TIMEOUT):
            return list(HfApi(token=token).list_models(filter=tags, sort="downloads", limit=limit))
    except (HfHubHTTPError, httpx2.TransportError, OfflineModeIsEnabled) as error:
        raise DiffMaskError(f"The Hub cannot be searched ({safe(reason(error), token)}).") from error
