"""Loads an explainer as a pipeline."""

from typing import Any

from transformers import pipeline

from ..about import BUNDLED_EXPLAINER, TASK
from ..errors import DiffMaskError, reason
from ..explainer.guest import load_tokenizer
from ..explainer.loading import load_explainer
from ..explainer.repository import LOADING_ERRORS


def load_pipeline(
    model: str | None,
    revision: str | None = None,
    token: str | None = None,
    trust_remote_code: bool = False,
    **kwargs: Any,
) -> Any:
    """
    An explainer as a pipeline.

    [`~transformers.pipeline`] itself hides the cause if an explainer cannot be loaded.

    Args:
        model (`str`, *optional*): A folder or an id on the Hub; the bundled explainer by default.
        revision (`str`, *optional*): Branch, tag or commit on the Hub.
        token (`str`, *optional*): Hub token; by default from `hf auth login`.
        trust_remote_code (`bool`, *optional*, defaults to `False`): Whether to run code of the base model's repo. Code
            of the explainer's repo is never run.
        kwargs: Passed on to [`~transformers.pipeline`].

    Returns:
        [`DiffMaskAttributionPipeline`]

    Raises:
        DiffMaskError: If the model cannot be loaded, or is no explainer. The message says why.
    """
    model = model or BUNDLED_EXPLAINER
    explainer = load_explainer(model, revision=revision, token=token, trust_remote_code=trust_remote_code)
    tokenizer = load_tokenizer(model, explainer.guest.revision, trust_remote_code, token=token)
    try:
        return pipeline(TASK, model=explainer, tokenizer=tokenizer, **kwargs)
    except DiffMaskError:
        raise
    except LOADING_ERRORS as error:
        raise DiffMaskError(f"The explainer {model} cannot be used ({reason(error)}).") from error
