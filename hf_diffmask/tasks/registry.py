"""All tasks by name. A new task is one line here."""

from collections.abc import Iterable, Mapping
from typing import Any

from transformers import PreTrainedConfig, PreTrainedModel

from ..errors import DiffMaskError
from .fill_mask import FillMask
from .multi_label import MultiLabelClassification
from .question_answering import QuestionAnswering
from .regression import Regression
from .sentence_similarity import SentenceSimilarity
from .task import Task
from .text_classification import TextClassification
from .token_classification import TokenClassification

TASKS: dict[str, type[Task]] = {
    one.name: one
    for one in (
        TextClassification,
        MultiLabelClassification,
        QuestionAnswering,
        Regression,
        TokenClassification,
        FillMask,
        SentenceSimilarity,
    )
}
DEFAULT = TextClassification.name


def fitting_task(class_names: Iterable[str], config: PreTrainedConfig, what: str) -> type[Task]:
    """
    The task of a base model, from its config.

    Args:
        class_names (`Iterable[str]`): Names of the model's class and its base classes.
        config ([`~transformers.PreTrainedConfig`]): Its config.
        what (`str`): Name of the model in an error.

    Returns:
        `type[Task]`

    Raises:
        DiffMaskError: If no task fits; the message names the model's class and the supported tasks.
    """
    class_names = list(class_names)
    for task in TASKS.values():
        if task.fits(class_names, config):
            return task
    if not class_names:
        raise DiffMaskError(
            f"{what} names no model class in its config (`architectures`), so its task is not known: save it "
            "with save_pretrained."
        )
    labels = f" with {config.num_labels} label(s) and problem type {config.problem_type!r}"
    raise DiffMaskError(
        f"{what} is a {class_names[0]}{labels}, which no task covers. Supported: "
        f"{'; '.join(task.described for task in TASKS.values())}."
    )


def task_of(model: PreTrainedModel) -> type[Task]:
    """
    The task of a loaded base model.

    Args:
        model ([`~transformers.PreTrainedModel`]): The base model.

    Returns:
        `type[Task]`

    Raises:
        DiffMaskError: If no task fits.
    """
    class_names = [one.__name__ for one in type(model).__mro__]
    return fitting_task(class_names, model.config, "The base model")


def model_task(model: PreTrainedModel) -> Task:
    """
    The task of a loaded base model, with the constants that its config gives.

    Args:
        model ([`~transformers.PreTrainedModel`]): The base model.

    Returns:
        [`Task`]

    Raises:
        DiffMaskError: If no task fits.
    """
    task = task_of(model)
    return task(task.given_constants(model.config))


def task_of_result(result: Mapping[str, Any]) -> Task:
    """
    The task of a result from the pipeline.

    Args:
        result (`Mapping`): The result. Results of version 0.1.0 name no task; their fields decide.

    Returns:
        [`Task`]
    """
    fitting = (one for one in TASKS.values() if one.field in result)
    return TASKS[result["task"]]() if "task" in result else next(fitting, TASKS[DEFAULT])()
