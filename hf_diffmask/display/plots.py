"""Figures of the analyses: each function draws one kind of data from `analysis` as a matplotlib `Figure`.

Figures are made without pyplot: no window, no global state, any backend.
"""

import itertools
from typing import TYPE_CHECKING, Any

from ..errors import DiffMaskError
from .plot_data import DecidedByState, FixedByState, HeatMap, KeepByState, StatesKept
from .wording import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LONGEST_LABEL = 24  # characters
TALLEST = 60.0  # inches; rows of a longer heat map get thinner

# Positions of line colours on cividis: safe for colour-blind readers, and dark enough for a white page.
_LINES = [(0.0, "o", "-"), (0.45, "s", "--"), (0.75, "^", "-."), (0.25, "D", ":")]
# `$` in texts from models and data sets must not start a formula.
_LITERAL: dict[str, Any] = {"parse_math": False, "usetex": False}


def check_matplotlib() -> None:
    """
    Checks that matplotlib is installed.

    Raises:
        DiffMaskError: If matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise DiffMaskError("Figures need matplotlib: pip install 'hf-diffmask[plots]'.") from error


def _figure(width: float, height: float) -> "Figure":
    check_matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def _shown(text: str) -> str:
    text = visible(text)
    return text if len(text) <= LONGEST_LABEL else text[: LONGEST_LABEL - 1] + "…"


def _color(position: float) -> tuple[float, float, float, float]:
    from matplotlib import colormaps

    return colormaps["cividis"](position)


def _name_states(axes: "Axes", states: list[str], first: float = 0.0) -> None:
    axes.set_xticks(
        [first + k for k in range(len(states))], [_shown(name) for name in states], rotation=45, ha="right",
        rotation_mode="anchor", fontsize=8, **_LITERAL,
    )  # fmt: skip
    axes.set_xlabel("state")


def heat_map(data: HeatMap) -> "Figure":
    """
    Draws keep probabilities, tokens x states, with one panel for each explainer.

    Args:
        data ([`~hf_diffmask.display.plot_data.HeatMap`]): One input, with one or two explainers.

    Returns:
        `matplotlib.figure.Figure`

    Raises:
        DiffMaskError: If matplotlib is not installed.
    """
    count = len(data["tokens"])
    row = min(0.2, TALLEST / count)  # inches
    width = sum(max(2.0, 0.24 * len(panel["states"])) for panel in data["panels"])
    figure = _figure(width + 2.8, row * count + 1.7)
    panels = figure.subplots(1, len(data["panels"]), sharey=True, squeeze=False)[0]
    for axes, panel in zip(panels, data["panels"], strict=True):
        # White lines between cells: neighbours with the same colour can be counted.
        image = axes.pcolormesh(
            panel["keep_probability"], cmap="cividis", vmin=0, vmax=1, edgecolors="white", linewidth=0.4
        )
        _name_states(axes, panel["states"], 0.5)
        axes.set_title(visible(panel["title"]), fontsize=10, **_LITERAL)
        axes.spines[:].set_visible(False)
    panels[0].set_yticks(
        [k + 0.5 for k in range(count)], [_shown(token) for token in data["tokens"]], fontsize=min(9.0, 60 * row),
        **_LITERAL,
    )  # fmt: skip
    panels[0].invert_yaxis()
    panels[0].set_ylabel("token")
    for axes in panels[1:]:
        axes.tick_params(axis="y", length=0)
    # The colour scale of a long map gets the length for 30 tokens.
    figure.colorbar(
        image,
        ax=list(panels),
        label="keep probability",
        ticks=[0, 0.25, 0.5, 0.75, 1],
        aspect=25,
        shrink=min(1.0, 30 / count),
        anchor=(0.0, 1.0),
    )
    return figure


def keep_by_state(data: KeepByState, title: str = "") -> "Figure":
    """
    Draws the mean keep probability over states, one line for each group of tokens.

    Args:
        data ([`~hf_diffmask.display.plot_data.KeepByState`]): The means.
        title (`str`, *optional*): Title.

    Returns:
        `matplotlib.figure.Figure`

    Raises:
        DiffMaskError: If matplotlib is not installed.
    """
    figure = _figure(max(6.0, 0.35 * len(data["states"]) + 2), 4.2)
    lines = {f"{group['group']} (n = {group['count']:,})": group["mean"] for group in data["groups"]}
    axes = _lines(figure, data["states"], lines, title)
    axes.set_ylim(-0.03, 1.03)
    axes.set_ylabel("mean keep probability")
    return figure


def fixed_by_state(data: FixedByState, title: str = "") -> "Figure":
    """
    Draws the share of predictions unchanged at each state, and the share unchanged from each state upwards.

    Args:
        data ([`~hf_diffmask.display.plot_data.FixedByState`]): The shares.
        title (`str`, *optional*): Title.

    Returns:
        `matplotlib.figure.Figure`

    Raises:
        DiffMaskError: If matplotlib is not installed.
    """
    figure = _figure(max(6.0, 0.35 * len(data["states"]) + 2), 4.2)
    lines = {
        "unchanged under this state's mask": data["unchanged"],
        "and under those of all states above": data["fixed"],
    }
    axes = _lines(figure, data["states"], lines, title)
    # Shares are close to 1: an axis from the next lower tenth makes differences visible.
    lowest = min(int(10 * min(data["fixed"])) / 10, 0.9)
    axes.set_ylim(lowest - 0.03 * (1 - lowest), 1 + 0.03 * (1 - lowest))
    axes.set_ylabel(f"share of {data['count']:,} inputs")
    return figure


def decided_by_state(data: DecidedByState, title: str = "") -> "Figure":
    """
    Draws the share of tokens that inputs need at each state, one line for each quartile.

    Args:
        data ([`~hf_diffmask.display.plot_data.DecidedByState`]): The shares.
        title (`str`, *optional*): Title.

    Returns:
        `matplotlib.figure.Figure`

    Raises:
        DiffMaskError: If matplotlib is not installed.
    """
    figure = _figure(max(6.0, 0.35 * len(data["states"]) + 2), 4.2)
    lines = {
        "three quarters of the inputs": data["upper"],
        "half of them": data["median"],
        "a quarter of them": data["lower"],
    }
    axes = _lines(figure, data["states"], lines, title)
    axes.set_ylim(-0.03, 1.03)
    axes.set_ylabel(f"share of tokens that inputs need at most (n = {data['count']:,})", fontsize=9)
    return figure


def _lines(figure: "Figure", states: list[str], lines: dict[str, list[float]], title: str) -> "Axes":
    axes = figure.subplots()
    for (label, values), (color, marker, dashes) in zip(lines.items(), itertools.cycle(_LINES)):
        axes.plot(
            range(len(states)), values, label=label, color=_color(color), marker=marker, linestyle=dashes, markersize=5
        )
    _name_states(axes, states)
    axes.grid(axis="y", color="#d0d0d0", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(visible(title), fontsize=10, **_LITERAL)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return axes


def sparsity_divergence(data: dict[str, list[tuple[float, float]]], margin: float, cost: str) -> "Figure":
    """
    Draws the cost of masks over the kept share of tokens.

    Args:
        data (`dict`): Points of share and cost by state, see [`~hf_diffmask.training.validation.cost_by_share`].
        margin (`float`): The margin, drawn as a horizontal line.
        cost (`str`): Name of the cost, with its unit.

    Returns:
        `matplotlib.figure.Figure`

    Raises:
        DiffMaskError: If matplotlib is not installed.
    """
    figure = _figure(6.0, 4.2)
    axes = figure.subplots()
    for number, (state, points) in enumerate(data.items()):
        shares, costs = zip(*sorted(points), strict=True)
        color = _color(0.9 * number / max(1, len(data) - 1))
        axes.plot(shares, costs, label=_shown(state), color=color, marker="os^Dv<>"[number % 7], markersize=4)
    axes.axhline(margin, color="#606060", linestyle="--", linewidth=1.0, label="margin")
    axes.set_xlim(-0.03, 1.03)
    axes.set_xlabel("share of tokens kept")
    axes.set_ylabel(f"mean {cost}")
    axes.grid(color="#d0d0d0", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    legend = figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    for text in legend.get_texts():
        text.set(**_LITERAL)
    return figure


def states_kept(data: StatesKept, title: str = "") -> "Figure":
    """
    Draws the mean number of states that keep a token: one bar with standard error for each label.

    Args:
        data ([`~hf_diffmask.display.plot_data.StatesKept`]): The means. Bars of special tokens are hatched.
        title (`str`, *optional*): Title.

    Returns:
        `matplotlib.figure.Figure`

    Raises:
        DiffMaskError: If matplotlib is not installed.
    """
    groups = data["groups"]
    figure = _figure(6.5, 0.28 * len(groups) + 1.3)
    axes = figure.subplots()
    bars = axes.barh(
        range(len(groups)),
        [group["mean"] for group in groups],
        xerr=[group["standard_error"] or 0.0 for group in groups],
        color=[_color(0.9 if group["special"] else 0.6) for group in groups],
        error_kw={"capsize": 2, "elinewidth": 1},
    )
    for bar, group in zip(bars, groups, strict=True):
        bar.set_hatch("//" if group["special"] else "")
    axes.set_yticks(
        range(len(groups)), [f"{_shown(group['label'])} (n = {group['count']:,})" for group in groups], fontsize=9,
        **_LITERAL,
    )  # fmt: skip
    axes.set_ylim(len(groups) - 0.4, -0.6)
    axes.set_xlim(0, data["num_states"] * 1.02)
    axes.set_xlabel(f"mean number of states, of {data['num_states']}, at which a token is kept")
    axes.grid(axis="x", color="#d0d0d0", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(visible(title), fontsize=10, **_LITERAL)
    return figure


def faithfulness_by_cost(
    methods: dict[str, Any], title: str = "", bounds: dict[str, dict[str, float]] | None = None
) -> "Figure":
    """
    Draws comprehensiveness and sufficiency of methods over their cost.

    Args:
        methods (`dict`): For each method: `figures`, each with `mean`, `low` and `high`; and `forwards`, its cost in
            forward passes, or `None`.
        title (`str`, *optional*): Title.
        bounds (`dict`, *optional*): For both figures, `low` and `high`: lowest and highest value of any ranking.

    Returns:
        `matplotlib.figure.Figure`: Two panels. Methods without a cost, and the better bound, are horizontal lines.

    Raises:
        DiffMaskError: If matplotlib is not installed.
    """
    figure = _figure(9.0, 4.4)
    panels = figure.subplots(1, 2)
    for axes, name, better in zip(panels, ("comprehensiveness", "sufficiency"), ("higher", "lower"), strict=True):
        for (method, found), marker, number in zip(
            methods.items(), itertools.cycle("os^Dv<>ph*"), itertools.count(), strict=False
        ):
            value = found["figures"][name]
            color = _color(0.9 * number / max(1, len(methods) - 1))
            label = _shown(method) if name == "comprehensiveness" else None
            if found["forwards"] is None:
                axes.axhline(value["mean"], color=color, linestyle=":", label=label)
                continue
            spread = [[value["mean"] - value["low"]], [value["high"] - value["mean"]]]
            axes.errorbar(
                max(found["forwards"], 0.01), value["mean"], yerr=spread, color=color, marker=marker, capsize=3,
                linestyle="none", label=label,
            )  # fmt: skip
        if bounds is not None:
            best = bounds[name]["high" if better == "higher" else "low"]
            label = "best ranking found" if name == "comprehensiveness" else None
            axes.axhline(best, color="#606060", linestyle="--", linewidth=1.0, label=label)
        axes.set_xscale("log")
        axes.set_xlabel("cost, in forward passes of the base model")
        axes.set_ylabel(f"{name} ({better} is better)")
        axes.grid(color="#d0d0d0", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(visible(title), fontsize=10, **_LITERAL)
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return figure
