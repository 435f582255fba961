"""The audit finds explainers that give the prediction away."""

import numpy as np
import pytest

from hf_diffmask.audit.explained import explain_inputs
from hf_diffmask.audit.leaks import pattern, probe_alone
from hf_diffmask.audit.thresholds import READABLE
from hf_diffmask.data.features import TextFeatures
from tests.audit.helpers import MANY, LabelInPattern, made, one


def test_a_label_in_the_pattern_is_caught(classifier, tokenizer):
    inputs = TextFeatures(tokenizer, MANY, 64).items
    special, texts = [one["special_tokens_mask"] for one in inputs], range(len(inputs))
    found = explain_inputs(made(LabelInPattern, classifier, tokenizer), tokenizer, inputs)
    said = pattern(found, special, texts, class_conditional=False)
    assert said.verdict == "fail" and said.figures["accuracy"] == 1.0
    assert said.figures["accuracy"] > max(said.figures["base_rate"], said.figures["by_length"]) + READABLE
    told = pattern(found, special, texts, class_conditional=True)
    assert told.verdict == "reported" and told.figures == said.figures and "class-conditional" in told.note
    shut = [one._replace(kept=[False] * len(one.kept)) for one in found]
    assert pattern(shut, special, texts, class_conditional=False).verdict == "pass", "empty masks hold no prediction"
    of_one_class = [one._replace(predicted=int(number < 20)) for number, one in enumerate(found)]
    said = pattern(of_one_class, special, texts, class_conditional=False)
    assert said.verdict == "reported" and "nearly all inputs are of one class" in said.note


def test_what_the_gates_say_alone():
    """Logits that tell the class fail, unless untrained probes or input lengths tell the class as well."""
    generator = np.random.default_rng(0)
    predicted, texts = [k % 2 for k in range(600)], range(600)

    def probes(shift=0.0, longer=0):
        return [
            one(label, logits=generator.normal(size=(5 + longer * label, 2)) + shift * label) for label in predicted
        ]

    silent, telling = probes(), probes(shift=9.0)
    assert probe_alone(silent, silent, texts, False).verdict == "pass"
    said = probe_alone(telling, silent, texts, False)
    assert said.verdict == "fail" and said.figures["accuracy"] > 0.95
    assert said.figures["selectivity"] == pytest.approx(said.figures["accuracy"] - said.figures["control"])
    assert 0.4 < said.figures["control"] < 0.6 and said.figures["untrained"] < 0.6
    assert probe_alone(telling, probes(shift=9.0), texts, False).verdict == "pass", "untrained probes tell it"
    lengths = probe_alone(probes(longer=9), silent, texts, False)
    assert lengths.figures["accuracy"] > 0.8 and lengths.verdict == "pass", lengths
    above = [row._replace(logits=row.logits * [1, 0] + [[0, 9 * row.predicted]]) for row in silent]
    said = probe_alone(above, silent, texts, False)
    assert said.verdict == "pass" and said.figures["all_states"] > 0.95, "upper states may hold the prediction"
    assert probe_alone(telling, silent, texts, True).verdict == "reported"
