"""Records what an explainer reads of its base model: output, states and flow."""

from dataclasses import replace

from torch import Tensor
from transformers import PreTrainedModel

from ..base.flow import flow
from ..base.running import Batch, Recorded, record, record_with_attention
from ..tasks.task import Task
from .configuration_diffmask import DiffMaskConfig


def record_batch(base: PreTrainedModel, task: Task, config: DiffMaskConfig, batch: Batch) -> Recorded:
    """
    The base model's output and states for whole inputs, and with `read_flow` the flow to the positions of the head.

    Args:
        base ([`~transformers.PreTrainedModel`]): The base model.
        task ([`Task`]): Reads the output and knows the positions that the head reads.
        config ([`DiffMaskConfig`]): Names the states, and says whether flow is read.
        batch ([`Batch`]): The inputs.

    Returns:
        [`Recorded`]: One forward pass.

    Raises:
        DiffMaskError: If a state cannot be recorded, or flow cannot be read.
    """
    given, attention = (base, batch.inputs, config.state_names, batch.units), None
    if config.read_flow:
        output, states, attention = record_with_attention(*given)
    else:
        output, states = record(*given)
    recorded = Recorded(task.target(output, batch.inputs.get("attention_mask"), batch.explained), states, batch)
    if attention is None:
        return recorded
    if task.at_positions and batch.explained is None:
        return recorded._replace(attention=attention)
    # Of several reads, such as start and end, the mean.
    return recorded._replace(flow=flow(attention, task.positions(recorded).mean(1)))


def record_at(task: Task, recorded: Recorded, explained: Tensor) -> Recorded:
    """
    What is explained at some positions, from a pass that was recorded without any.

    Args:
        task ([`Task`]): A task with `at_positions`.
        recorded ([`Recorded`]): Result of [`record_batch`] for a batch without `explained`.
        explained (`torch.Tensor` of shape `(B, T)`, `bool`): The positions, at least one for each input.

    Returns:
        [`Recorded`]: Without another pass of the base model.
    """
    batch = replace(recorded.batch, explained=explained)
    found = Recorded(task.target_at(recorded.target, explained), recorded.states, batch)
    if recorded.attention is None:
        return found
    return found._replace(flow=flow(recorded.attention, task.positions(found).mean(1)))
