"""Tables of figures, checked letter by letter."""

from hf_diffmask.evaluation.tables import table, table_of_more, table_of_random_masks, table_of_replacements


def figure(mean, low=0.0, high=1.0):
    return {"mean": mean, "low": low, "high": high}


def entry(comprehensiveness, sufficiency, **more):
    both = {"comprehensiveness": figure(comprehensiveness), "sufficiency": figure(sufficiency, -0.25, 0.5)}
    held_out = {"comprehensiveness": figure(0.3), "sufficiency": figure(0.0625)}
    return {"figures": both, "by_held_out": {"pad": held_out}, "forwards": 12.345, "seconds": 0.00125, **more}


def test_the_table_of_methods():
    mine = entry(0.4, 0.05, forwards=None, seconds=None)
    assert table({"loo": entry(0.6, 0.1), "mine": mine}).splitlines() == [
        "| method | comprehensiveness | sufficiency | pad (unseen): both | cost in forwards | seconds an input |",
        "|---|---|---|---|---|---|",
        "| loo | 0.600 (0.000 to 1.000) | 0.100 (-0.250 to 0.500) | 0.300 / 0.062 | 12.3 | 0.0013 |",
        "| mine | 0.400 (0.000 to 1.000) | 0.050 (-0.250 to 0.500) | 0.300 / 0.062 |  |  |",
    ]


def test_each_other_replacement_has_a_column_that_says_whether_it_was_seen():
    one = entry(0.6, 0.1)
    one["by_held_out"]["attention"] = {"comprehensiveness": figure(0.2), "sufficiency": figure(-0.5)}
    one["unseen"] = {"figures": {"comprehensiveness": figure(0.45), "sufficiency": figure(0.08)}}
    one["seen"] = {"figures": one["by_held_out"]["attention"]}
    header, _, line = table({"loo": one}, ("attention",)).splitlines()
    columns = dict(zip(header.split(" | "), line.split(" | "), strict=True))
    assert columns["pad (unseen): both"] == "0.300 / 0.062"
    assert columns["attention (seen): both"] == columns["mean of seen: both"] == "0.200 / -0.500"
    assert columns["mean of unseen: both"] == "0.450 / 0.080"
    assert table({}).splitlines()[0].startswith("| method |")


def test_the_table_of_random_masks():
    def of(mean, unseen):
        return {
            "by_replacement": {"mask": {**figure(mean, -0.25), "inputs": 9}, "pad": {"inputs": 0}},
            "unseen": {**figure(unseen, 0.0), "inputs": 9},
        }

    found = {"a": {"lds": of(0.5, 0.75), "r2": of(0.25, 0.0)}, "b": {"lds": of(0.125, 1.0), "r2": None}}
    assert table_of_random_masks(found, ["pad"]).splitlines() == [
        "| method | LDS, mask (unseen) | LDS, pad (seen) | LDS, mean of unseen "
        "| R2, mask (unseen) | R2, pad (seen) | R2, mean of unseen |",
        "|---|---|---|---|---|---|---|",
        "| a | 0.500 (-0.250 to 1.000) |  | 0.750 (0.000 to 1.000) "
        "| 0.250 (-0.250 to 1.000) |  | 0.000 (0.000 to 1.000) |",
        "| b | 0.125 (-0.250 to 1.000) |  | 1.000 (0.000 to 1.000) |  |  |  |",
    ]


def test_bounds_add_a_column():
    reached = {"comprehensiveness": figure(0.987), "sufficiency": figure(0.5)}
    header, line, loo = table({"loo": entry(0.6, 0.1, reached=reached)}).splitlines()
    assert header.endswith("| seconds an input | of the way to the best: both |") and loo.endswith("| 0.99 / 0.50 |")
    assert header.count("|") == line.count("|") == loo.count("|") == 8


def test_the_table_over_replacements():
    def of(comprehensiveness, low):
        both = {"comprehensiveness": figure(comprehensiveness), "sufficiency": figure(0.125)}
        less = {"comprehensiveness": {"low": low, "high": 0.0}, "sufficiency": {"low": -1.0, "high": 2.0}}
        return {"every_replacement": {"figures": both, "less_the_first": less}}

    assert table_of_replacements({"a": of(0.5, 0.0), "b": of(0.25, -0.5)}).splitlines() == [
        "| method | comprehensiveness | sufficiency | comprehensiveness, less the first method's "
        "| sufficiency, less the first method's |",
        "|---|---|---|---|---|",
        "| a | 0.500 (0.000 to 1.000) | 0.125 (0.000 to 1.000) | 0.000 to 0.000 | -1.000 to 2.000 |",
        "| b | 0.250 (0.000 to 1.000) | 0.125 (0.000 to 1.000) | -0.500 to 0.000 | -1.000 to 2.000 |",
    ]


def test_further_figures_of_which_a_method_may_lack_some():
    found = {
        "a": {"deletion": figure(0.5), "stability": figure(0.75)},
        "b": {"soft": figure(0.25), "deletion": figure(0.0)},
    }
    assert table_of_more(found).splitlines() == [
        "| method | deletion | stability | soft |",
        "|---|---|---|---|",
        "| a | 0.500 | 0.750 |  |",
        "| b | 0.000 |  | 0.250 |",
    ]
