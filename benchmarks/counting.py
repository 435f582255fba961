"""The counting task: every method against what is known to matter, at both states (method page; paper, section 4).

    python benchmarks/counting.py --seeds 0,1,2 --output counting.json --plot counting.png

Trains a target and an explainer for each seed and prints the mean, over the seeds, of D_KL and D_JS between the truth
and each method's attribution, normalised to a distribution, on the validation split.
"""

import tempfile
from typing import Any

from transformers import set_seed

from hf_diffmask import DiffMaskModel, DiffMaskTrainer, DiffMaskTrainingArguments
from hf_diffmask.tasks import counting
from hf_diffmask.training_args import recipe_config

MARGIN = 0.05
SETTINGS: dict[str, Any] = {
    "max_steps": 2500,
    "per_device_train_batch_size": 128,
    "learning_rate": 5e-3,
    "level_learning_rate": 5e-3,
    "multiplier_learning_rate": 0.01,
}


def train(
    target: counting.CountingForSequenceClassification,
    examples: counting.Counts,
    validation: counting.Counts,
    masking: str,
    seed: int,
) -> DiffMaskModel:
    """An explainer of both states. What two numbers say is lost when they are normalised: they are read as they are."""
    set_seed(seed)
    with tempfile.TemporaryDirectory() as folder:
        explainer = DiffMaskModel.from_base_model(
            target,
            states=counting.STATES,
            margin=MARGIN,
            **{**recipe_config("fast", masking), "normalize_states": False},
        )
        args = DiffMaskTrainingArguments(
            output_dir=folder, margin=MARGIN, seed=seed, use_cpu=True, report_to="none", **SETTINGS
        )
        DiffMaskTrainer(
            explainer, args, examples.features(), validation.features(), processing_class=counting.digit_tokenizer()
        ).train()
    return explainer.eval()
