"""Data for plots, ready for JSON."""

from typing import TypedDict


class GroupCurve(TypedDict):
    """Mean keep probability of a group of tokens."""

    group: str
    count: int
    """Number of tokens in the group, over all inputs."""
    mean: list[float]
    """Mean for each state, in [0, 1]."""


class KeepByState(TypedDict):
    """Result of [`keep_by_state`]."""

    states: list[str]
    groups: list[GroupCurve]


class LabelMean(TypedDict):
    """Mean number of states that keep a token with this label."""

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
    """Result of [`states_kept_by_label`]."""

    num_states: int
    groups: list[LabelMean]


class FixedByState(TypedDict):
    """Result of [`fixed_by_state`]."""

    states: list[str]
    count: int
    """Number of inputs."""
    unchanged: list[float]
    """Share of inputs with an unchanged prediction under the hard mask of each state, in [0, 1]."""
    fixed: list[float]
    """Share of inputs with an unchanged prediction at a state and at all states above; never falls with depth."""


class DecidedByState(TypedDict):
    """Result of [`decided_by_state`]."""

    states: list[str]
    count: int
    """Number of inputs."""
    margin: float
    """The margin: largest cost of the masks."""
    lower: list[float]
    """For each state, the first quartile of the share of tokens that an input needs, in [0, 1]."""
    median: list[float]
    """The median of this share."""
    upper: list[float]
    """The third quartile of this share."""
    mean: list[float]
    """The mean of this share."""


class HeatMapPanel(TypedDict):
    """Keep probabilities from one explainer for an input."""

    title: str
    states: list[str]
    keep_probability: list[list[float]]
    """`T` rows of `S` values, in [0, 1]."""


class HeatMap(TypedDict):
    """Result of [`heat_map`]."""

    tokens: list[str]
    panels: list[HeatMapPanel]
