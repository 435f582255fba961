"""Figures show exactly their data, for all kinds of values."""

import io
import itertools
import subprocess
import sys

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.container import BarContainer

from hf_diffmask import DiffMaskError
from hf_diffmask.display import plots
from tests.helpers import STATE_NAMES

HOSTILE = ["$x$", "$\\unknown{$", "\\frac{1}{0}", "a\nb", "\x1b[31m", "<script>", "%_^&#{}", "5 $", "\u202e", ""]


def panel(title, rows):
    return {"title": title, "states": STATE_NAMES, "keep_probability": rows}


def drawn(figure):
    """Pixels of a figure; fails if drawing fails."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=50)
    assert buffer.getvalue().startswith(b"\x89PNG")
    return buffer.getvalue()


def ticks(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def test_heat_map_shows_each_cell_and_name():
    rows = [[0.9, 0.8, 0.1], [0.3, 0.2, 0.0]]
    figure = plots.heat_map({"tokens": ["warm", "soup"], "panels": [panel("input masking", rows)]})
    axes, scale = figure.axes
    (mesh,) = axes.collections
    np.testing.assert_array_equal(np.asarray(mesh.get_array()).reshape(2, 3), rows)
    assert mesh.get_clim() == (0, 1) and mesh.get_cmap().name == "cividis"
    assert ticks(axes.yaxis) == ["warm", "soup"] and ticks(axes.xaxis) == STATE_NAMES
    # The first token is on top, with ticks in the middle of its cells.
    assert axes.get_ylim() == (2, 0)
    assert list(axes.get_yticks()) == [0.5, 1.5] and list(axes.get_xticks()) == [0.5, 1.5, 2.5]
    assert axes.get_title() == "input masking" and axes.get_xlabel() == "state" and axes.get_ylabel() == "token"
    assert scale.get_ylabel() == "keep probability"
    drawn(figure)


def test_heat_maps_stand_side_by_side():
    one, other = [[0.9, 0.8, 0.1]], [[0.2, 0.4, 0.6]]
    figure = plots.heat_map({"tokens": ["warm"], "panels": [panel("input", one), panel("hidden", other)]})
    left, right, _ = figure.axes
    drawn(figure)
    for axes, title, rows in ((left, "input", one), (right, "hidden", other)):
        assert axes.get_title() == title
        np.testing.assert_array_equal(np.asarray(axes.collections[0].get_array()).reshape(1, 3), rows)
        assert axes.get_ylim() == (1, 0)
    assert left.get_position().x1 < right.get_position().x0


def test_forty_tokens_are_legible():
    tokens = [f"word{k}" for k in range(40)]
    figure = plots.heat_map({"tokens": tokens, "panels": [panel("input", [[0.5, 0.5, 0.5]] * 40)]})
    drawn(figure)
    boxes = [label.get_window_extent() for label in figure.axes[0].yaxis.get_ticklabels()]
    assert len(boxes) == 40
    assert all(upper.y0 >= lower.y1 - 1 for upper, lower in itertools.pairwise(boxes))


def test_a_long_input_gives_an_image_that_can_be_written():
    figure = plots.heat_map({"tokens": ["w"] * 1500, "panels": [panel("input", [[0.5, 0.5, 0.5]] * 1500)]})
    assert figure.get_size_inches()[1] < 65


def test_texts_are_shown_as_they_are():
    tokens = [*HOSTILE, "w" * 100]
    rows = [[0.5, 0.5, 0.5]] * len(tokens)
    figure = plots.heat_map({"tokens": tokens, "panels": [{**panel("$\\bad{$", rows), "states": HOSTILE[:3]}]})
    drawn(figure)  # an invalid formula would raise
    labels = ticks(figure.axes[0].yaxis)
    assert labels[: len(HOSTILE)] == [
        "$x$", "$\\unknown{$", "\\frac{1}{0}", "a\\nb", "\\x1b[31m", "<script>", "%_^&#{}", "5 $", "\\u202e", "",
    ]  # fmt: skip
    assert labels[-1] == "w" * (plots.LONGEST_LABEL - 1) + "…"
    groups = [{"label": text, "special": False, "count": 1, "mean": 1.0, "standard_error": None} for text in HOSTILE]
    drawn(plots.states_kept({"num_states": 3, "groups": groups}, title="$\\bad{$"))


def test_lines_of_groups():
    groups = [
        {"group": "question", "count": 1234, "mean": [0.9, 0.5, 0.1]},
        {"group": "special tokens", "count": 2, "mean": [1.0, 1.0, 1.0]},
    ]
    figure = plots.keep_by_state({"states": STATE_NAMES, "groups": groups}, "of all")
    (axes,) = figure.axes
    question, special = axes.get_lines()
    assert list(question.get_xdata()) == [0, 1, 2] and list(question.get_ydata()) == [0.9, 0.5, 0.1]
    assert list(special.get_ydata()) == [1.0, 1.0, 1.0]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["question (n = 1,234)", "special tokens (n = 2)"]
    # The lines differ without colour as well.
    assert question.get_marker() != special.get_marker() and question.get_linestyle() != special.get_linestyle()
    assert ticks(axes.xaxis) == STATE_NAMES and figure.get_suptitle() == "of all"
    assert axes.get_ylabel() == "mean keep probability" and axes.get_ylim()[0] <= 0 and axes.get_ylim()[1] >= 1
    drawn(figure)


def test_every_group_has_its_line():
    groups = [{"group": f"group {k}", "count": k, "mean": [0.1 * k] * 3} for k in range(6)]
    assert len(plots.keep_by_state({"states": STATE_NAMES, "groups": groups}).axes[0].get_lines()) == 6


@pytest.mark.parametrize(("lowest", "bottom"), [(0.93, 0.9), (0.41, 0.4), (1.0, 0.9), (0.0, 0.0)])
def test_lines_of_what_is_fixed(lowest, bottom):
    data = {"states": STATE_NAMES, "count": 40, "unchanged": [1.0, 0.99, 1.0], "fixed": [lowest, 0.99, 1.0]}
    figure = plots.fixed_by_state(data)
    (axes,) = figure.axes
    unchanged, fixed = axes.get_lines()
    assert list(unchanged.get_ydata()) == data["unchanged"] and list(fixed.get_ydata()) == data["fixed"]
    assert axes.get_ylabel() == "share of 40 inputs" and axes.get_ylim()[0] == pytest.approx(bottom, abs=0.04)
    assert axes.get_ylim()[0] < bottom and axes.get_ylim()[1] > 1  # markers at the ends are whole
    drawn(figure)


def test_quartiles_of_what_was_decided():
    data = {"states": STATE_NAMES, "count": 1234, "margin": 0.1, "mean": [0.5] * 3}
    data |= {"lower": [0.4, 0.2, 0.1], "median": [0.6, 0.3, 0.2], "upper": [1.0, 0.9, 0.5]}
    figure = plots.decided_by_state(data, "of all")
    (axes,) = figure.axes
    # In the order of the page.
    assert [list(line.get_ydata()) for line in axes.get_lines()] == [data["upper"], data["median"], data["lower"]]
    assert "n = 1,234" in axes.get_ylabel() and axes.get_ylim()[0] <= 0 and axes.get_ylim()[1] >= 1
    drawn(figure)


def test_bars_and_their_errors():
    groups = [
        {"label": "ADJ", "special": False, "count": 1200, "mean": 2.5, "standard_error": 0.25},
        {"label": "X", "special": False, "count": 1, "mean": 1.0, "standard_error": None},
        {"label": "[SEP]", "special": True, "count": 3, "mean": 3.0, "standard_error": 0.0},
    ]
    figure = plots.states_kept({"num_states": 3, "groups": groups})
    (axes,) = figure.axes
    (bars,) = [container for container in axes.containers if isinstance(container, BarContainer)]
    assert [bar.get_width() for bar in bars] == [2.5, 1.0, 3.0]
    (segments,) = bars.errorbar.lines[2]
    ends = [[point[0] for point in segment] for segment in segments.get_segments()]
    assert ends == [[2.25, 2.75], [1.0, 1.0], [3.0, 3.0]]
    assert ticks(axes.yaxis) == ["ADJ (n = 1,200)", "X (n = 1)", "[SEP] (n = 3)"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first row is on top
    assert [bool(bar.get_hatch()) for bar in bars] == [False, False, True]
    assert "of 3" in axes.get_xlabel() and axes.get_xlim()[0] == 0 and axes.get_xlim()[1] >= 3
    cividis = colormaps["cividis"](np.linspace(0, 1, 256))
    assert all(np.abs(cividis - bar.get_facecolor()).sum(1).min() < 1e-6 for bar in bars)
    drawn(figure)


def test_faithfulness_over_cost_and_its_best():
    def figures(comprehensiveness, sufficiency):
        spread = {"comprehensiveness": comprehensiveness, "sufficiency": sufficiency}
        return {name: {"mean": mean, "low": mean - 0.1, "high": mean + 0.2} for name, mean in spread.items()}

    methods = {
        "diffmask": {"figures": figures(0.5, 0.1), "forwards": 1.1},
        "given": {"figures": figures(0.3, 0.2), "forwards": None},
    }
    bounds = {"comprehensiveness": {"low": -0.1, "high": 0.7}, "sufficiency": {"low": -0.05, "high": 0.8}}
    figure = plots.faithfulness_by_cost(methods, "of three", bounds)
    for axes, mean, across in zip(figure.axes, (0.5, 0.1), ([0.3, 0.7], [0.2, -0.05]), strict=True):
        (bars,) = axes.containers
        (point,) = zip(*bars.lines[0].get_data(), strict=True)
        assert point == pytest.approx((1.1, mean))
        (segment,) = bars.lines[2][0].get_segments()
        assert [end[1] for end in segment] == pytest.approx([mean - 0.1, mean + 0.2])
        lines = [line for line in axes.get_lines() if line is not bars.lines[0] and len(set(line.get_ydata())) == 1]
        assert [line.get_ydata()[0] for line in lines if line.get_linestyle() in (":", "--")] == across
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["given", "best ranking found", "diffmask"]
    drawn(figure)
    drawn(plots.faithfulness_by_cost(methods))


def test_without_matplotlib_one_sentence_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(DiffMaskError, match=r"pip install 'hf-diffmask\[plots\]'"):
        plots.keep_by_state({"states": STATE_NAMES, "groups": []})


def test_importing_does_not_import_matplotlib():
    code = "import sys, hf_diffmask.display.plots, hf_diffmask.cli.analyze; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0
