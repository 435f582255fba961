"""Explainers for Transformers models by Differentiable Masking (De Cao et al. 2020): train, save, load, explain.

Importing this package registers its classes with `AutoConfig`, `AutoModel` and `pipeline("diffmask-attribution")`,
and the targets of the tasks with `AutoModelForSequenceClassification`.
"""

from pathlib import Path

from transformers import AutoConfig, AutoModel
from transformers.pipelines import PIPELINE_REGISTRY

from .configuration_diffmask import DiffMaskConfig
from .errors import DiffMaskError
from .modeling_diffmask import DiffMaskModel
from .outputs import DiffMaskOutput, Recorded
from .pipeline_diffmask import DiffMaskAttributionPipeline
from .tasks import counting, gru  # noqa: F401  registers their models
from .trainer import DiffMaskTrainer
from .training_args import DiffMaskTrainingArguments

__version__ = "0.1.0"

BUNDLED = Path(__file__).parent / "bundled"
BUNDLED_EXPLAINER = str(BUNDLED / "explainer")
BUNDLED_CLASSIFIER = str(BUNDLED / "classifier")
METRICS = str(Path(__file__).parent / "metrics")
TASK = "diffmask-attribution"

AutoConfig.register(DiffMaskConfig.model_type, DiffMaskConfig, exist_ok=True)
AutoModel.register(DiffMaskConfig, DiffMaskModel, exist_ok=True)
PIPELINE_REGISTRY.register_pipeline(
    TASK,
    pipeline_class=DiffMaskAttributionPipeline,
    pt_model=AutoModel,
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
]
