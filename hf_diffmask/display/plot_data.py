"""Data for plots, ready for JSON."""

from typing import TypedDict


class GroupCurve(TypedDict):
    """Mean keep probability of a group of tokens."""

    group: str
    count: int
    """Number of tokens in the group, over all inputs."""
    mean: list[float]
    """One for each state, in [0, 1]."""


class KeepByState(TypedDict):
    """What [`keep_by_state`] returns."""

    states: list[str]
    groups: list[GroupCurve]


class LabelMean(TypedDict):
    """Mean number of states at which the tokens of a label are kept."""

    label: str
    special: bool
    """Whether the label is the text of a special token."""
    count: int
    """Number of tokens, over all inputs."""
    mean: float
    """Mean, in states, from 0 to the number of states."""
    standard_error: float | None
    """Standard error of the mean, in states; `None` for a single token."""


class StatesKept(TypedDict):
    """What [`states_kept_by_label`] returns."""

    num_states: int
    groups: list[LabelMean]


class FixedByState(TypedDict):
    """What [`fixed_by_state`] returns."""

    states: list[str]
    count: int
    """Inputs."""
    unchanged: list[float]
    """Share of inputs whose prediction is unchanged under the hard mask of each state, in [0, 1]."""
    fixed: list[float]
    """Share of inputs whose prediction is unchanged at a state and at all above it; never falls."""


class DecidedByState(TypedDict):
    """What [`decided_by_state`] returns."""

    states: list[str]
    count: int
    """Inputs."""
    margin: float
    """Largest cost of the masks."""
    lower: list[float]
    """For each state, the first quartile of the share of tokens that an input needs, in [0, 1]."""
    median: list[float]
    """The median of this share."""
    upper: list[float]
    """The third quartile of this share."""
    mean: list[float]
    """The mean of this share."""


class HeatMapPanel(TypedDict):
    """One explainer's view of an input."""

    title: str
    states: list[str]
    keep_probability: list[list[float]]
    """`T` rows of `S`, in [0, 1]."""


class HeatMap(TypedDict):
    """What [`heat_map`] returns."""

    tokens: list[str]
    panels: list[HeatMapPanel]
