"""Explainers for Transformers models by Differentiable Masking (De Cao et al. 2020): train, save, load, explain.

Importing this package registers its classes with `AutoConfig`, `AutoModel` and `pipeline("diffmask-attribution")`.
Classes for training, and `what_if`, are imported on first use.
"""

from typing import TYPE_CHECKING, Any

from transformers import AutoConfig, AutoModel
from transformers.pipelines import PIPELINE_REGISTRY

from .about import BUNDLED_CLASSIFIER, BUNDLED_EXPLAINER, METRICS, TASK
from .about import VERSION as __version__
from .base.running import Recorded
from .errors import DiffMaskError
from .explainer.configuration_diffmask import DiffMaskConfig
from .explainer.modeling_diffmask import DiffMaskModel
from .explainer.outputs import DiffMaskOutput
from .explainer.publishing import connect
from .pipeline.auto import AutoExplainer
from .pipeline.pipeline_diffmask import DiffMaskAttributionPipeline

if TYPE_CHECKING:
    from .pipeline.what_if import what_if
    from .training.arguments import DiffMaskTrainingArguments
    from .training.recipes.registry import recipe_config
    from .training.trainer import DiffMaskTrainer

_LATER = {
    "DiffMaskTrainer": "training.trainer",
    "DiffMaskTrainingArguments": "training.arguments",
    "recipe_config": "training.recipes.registry",
    "what_if": "pipeline.what_if",
}


def _hub() -> Any:
    """The module that publishes explainers, imported on first use because it imports this package."""
    from .hub import publisher

    return publisher


connect(_hub)
AutoConfig.register(DiffMaskConfig.model_type, DiffMaskConfig, exist_ok=True)
AutoModel.register(DiffMaskConfig, DiffMaskModel, exist_ok=True)
PIPELINE_REGISTRY.register_pipeline(
    TASK,
    pipeline_class=DiffMaskAttributionPipeline,
    pt_model=AutoExplainer,
    default={"model": (BUNDLED_EXPLAINER, "main")},
    type="text",
)

__all__ = [
    "BUNDLED_CLASSIFIER",
    "BUNDLED_EXPLAINER",
    "METRICS",
    "TASK",
    "DiffMaskAttributionPipeline",
    "DiffMaskConfig",
    "DiffMaskError",
    "DiffMaskModel",
    "DiffMaskOutput",
    "DiffMaskTrainer",
    "DiffMaskTrainingArguments",
    "Recorded",
    "__version__",
    "recipe_config",
    "what_if",
]


def __getattr__(name: str) -> Any:
    """Imports a public name on first use."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_LATER[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
