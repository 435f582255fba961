"""Loads an explainer as a pipeline."""

from typing import Any

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import pipeline

from ..about import BUNDLED_EXPLAINER, TASK
from ..errors import DiffMaskError, reason


def load_pipeline(model: str | None, **kwargs: Any) -> Any:
    """
    An explainer as a pipeline.

    Args:
        model (`str`, *optional*): A folder or an id on the Hub; the bundled explainer by default.
        kwargs: Passed on to [`~transformers.pipeline`].

    Returns:
        [`DiffMaskAttributionPipeline`]

    Raises:
        DiffMaskError: If the model cannot be loaded, or is no explainer.
    """
    model = model or BUNDLED_EXPLAINER
    try:
        return pipeline(TASK, model=model, **kwargs)
    except DiffMaskError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError, StrictDataclassError, SafetensorError) as error:
        raise DiffMaskError(
            f"The explainer {model} cannot be loaded: name a folder that `hf-diffmask train` wrote, or a Hub id "
            f"that can be reached ({reason(error)})."
        ) from error
