"""The data that plots draw, ready for JSON."""

from typing import TypedDict


class GroupCurve(TypedDict):
    """Mean keep probability of a group of tokens."""

    group: str
    count: int
    """Tokens in it, over all inputs."""
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
    """Tokens, over all inputs."""
    mean: float
    """In states, from 0 to their number."""
    standard_error: float | None
    """Of the mean, in states; `None` for a single token."""


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
    """Share of inputs whose prediction the hard mask of each state leaves as it is, in [0, 1]."""
    fixed: list[float]
    """Share of inputs for which the same holds at each state and at all above it; it never falls."""


class DecidedByState(TypedDict):
    """What [`decided_by_state`] returns."""

    states: list[str]
    count: int
    """Inputs."""
    margin: float
    """What the masks were allowed to cost."""
    lower: list[float]
    """Of each state, the share of its tokens that a quarter of the inputs need at most, in [0, 1]."""
    median: list[float]
    """The same for half of them."""
    upper: list[float]
    """The same for three quarters."""
    mean: list[float]
    """Mean share over the inputs."""


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
