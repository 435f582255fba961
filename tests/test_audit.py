"""The audit: each test by hand, and explainers that are broken on purpose."""

import json

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from hf_diffmask import DiffMaskModel, DiffMaskTrainingArguments
from hf_diffmask.audit import (
    HOLDS,
    READABLE,
    ROUNDING,
    audit,
    correlations,
    distance,
    margin,
    pattern,
    probe_alone,
    random_base,
    seeds,
    swapped,
)
from hf_diffmask.cli import main
from hf_diffmask.cli.audit import margin_alike
from hf_diffmask.data import TextFeatures
from hf_diffmask.errors import DiffMaskError
from hf_diffmask.explained import Explained, explained, masking_everything
from hf_diffmask.readable import pattern_features, readable

GOOD = ["warm", "funny", "clever", "moving", "lovely", "brilliant", "touching", "delightful"]
BAD = ["dull", "boring", "awful", "lazy", "tired", "stupid", "pointless", "terrible"]
FRAMES = [
    "a {} film with a good deal of rain in it",
    "the second half of this story is {} from start to end",
    "i found the whole thing {}",
    "{} and long , with a cast of twelve",
]
TEXTS = [frame.format(word) for frame in FRAMES for word in [*GOOD, *BAD]]
ENDS = ["", "today", "once more", "in the end", "they said", "to me", "at first", ", again", "tonight"]
MANY = [f"{text} {end}" for text in TEXTS for end in ENDS]


class LeaveOneOut(DiffMaskModel):
    """A sound explainer, by hand: keeps the words that its base model needs, whatever it predicts."""

    def forward(self, input_ids, attention_mask=None, special_tokens_mask=None, **given):
        recorded = given.get("recorded")
        output = super().forward(input_ids, attention_mask, special_tokens_mask, **given)
        features = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            **{k: v for k, v in given.items() if k == "token_type_ids"},
        }
        scores = torch.zeros(input_ids.shape)
        for unit in range(input_ids.shape[1]):
            mask = torch.ones_like(input_ids, dtype=torch.bool)
            mask[:, unit] = False
            masked = self.masked_forward(mask, -1, recorded, **features)
            scores[:, unit] = (
                output.target.gather(-1, output.target.argmax(-1, keepdim=True))[:, 0]
                - masked.gather(-1, output.target.argmax(-1, keepdim=True))[:, 0]
            )
        scores = scores.masked_fill(~output.maskable, -99)
        needed = scores >= scores.topk(3, dim=-1).values[:, -1:]
        output.keep_probability = self.keep(needed, output, scores)[..., None].expand(output.logits.shape)
        return output

    def keep(self, needed, output, scores):
        """From 0.1 to 0.4, and 0.9 where a unit is kept: in the order of the scores."""
        rank = scores.argsort(-1).argsort(-1) / scores.shape[1]
        return torch.where(needed, 0.6 + 0.3 * rank, 0.4 * rank).masked_fill(~output.maskable, 1.0)


class LabelInPattern(LeaveOneOut):
    """Says the prediction by whether the first word is kept."""

    def keep(self, needed, output, scores):
        keep = super().keep(needed, output, scores)
        keep[:, 1] = torch.where(output.target.argmax(-1) == 1, 0.95, 0.05)
        return keep


class Random(LeaveOneOut):
    """Keeps as much, anywhere."""

    def keep(self, needed, output, scores):
        noise = torch.rand(scores.shape).masked_fill(~output.maskable, -99)
        return super().keep(noise >= noise.topk(3, dim=-1).values[:, -1:], output, noise)


def made(kind, classifier, tokenizer):
    explainer = DiffMaskModel.from_base_model(classifier, tokenizer, class_conditional=False)
    explainer.__class__ = kind
    return explainer.eval()


@pytest.fixture
def inputs(tokenizer):
    return TextFeatures(tokenizer, TEXTS, 64).items


@pytest.fixture
def special(inputs):
    return [one["special_tokens_mask"] for one in inputs]


def one(predicted=0, scores=(0.5,), kept=(True,), logits=((0.0,),), cost=0.0, agrees=True):
    return Explained(predicted, list(scores), list(kept), np.array(logits), cost, agrees)


def test_what_can_be_read():
    classes, texts = [k % 2 for k in range(60)], range(60)
    noise = np.random.default_rng(0).normal(size=(60, 3))
    told = np.column_stack([noise, np.array(classes) + 0.1 * noise[:, 0]])
    assert readable(told, classes, texts) == 1.0
    assert 0.3 < readable(noise, classes, texts) < 0.7
    with pytest.raises(DiffMaskError, match=r"At least 20 texts are needed .*, and there are 19"):
        readable(noise, classes, [k % 19 for k in range(60)])


def test_windows_of_a_text_are_read_together():
    """A text's own mark on all its windows tells nothing of other texts, and would if they were split up."""
    generator = np.random.default_rng(0)
    texts = np.repeat(np.arange(40), 10)
    classes = (texts % 2).tolist()
    marks = generator.normal(size=(40, 30))[texts] + 0.01 * generator.normal(size=(400, 30))
    assert readable(marks, classes, texts.tolist()) < 0.75 < 0.95 < readable(marks, classes, range(400))


def test_features_of_a_pattern_by_hand():
    found = pattern_features([True, True, False, True])
    assert found[:4] == [3.0, 0.75, 1.0, 2], "three, of four; both odd places; two runs"
    tenths = found[4:14]
    # Places 0, 2, 5 and 7 of ten; the mean where there is none.
    assert [tenths[k] for k in (0, 2, 5, 7)] == [1.0, 1.0, 0.0, 1.0] and tenths[1] == 0.75
    assert found[14:18] == [1.0, 1.0, 0.0, 1.0] and found[22:26] == [1.0, 0.0, 1.0, 1.0] and found[18] == 0.0
    assert len(pattern_features([False])) == len(found) and not any(pattern_features([False]))


def test_explained_are_the_explainer_s_own_masks(explainer, tokenizer, inputs):
    for features, found in zip(inputs[:3], explained(explainer, tokenizer, inputs, batch_size=5)[:3], strict=True):
        batch = {name: torch.tensor([values]) for name, values in features.items()}
        with torch.no_grad():
            output = explainer(**batch)
            kept = output.keep_probability[..., -1] > 0.5
            bare = {name: value for name, value in batch.items() if name != "special_tokens_mask"}
            masked = explainer.masked_forward(kept, **bare)
        assert found.kept == kept[0].tolist() and found.predicted == output.target.argmax().item()
        assert found.scores == pytest.approx(output.keep_probability.mean(-1)[0].tolist(), abs=1e-5)
        divergence = (output.target.exp() * (output.target - masked)).sum().item()
        assert found.cost == pytest.approx(divergence, abs=1e-5)
        assert found.agrees == (masked.argmax().item() == found.predicted)
        assert found.logits.shape == (len(found.kept) - 2, explainer.config.num_states)


def test_a_sound_explainer_passes(classifier, tokenizer, inputs):
    """Of too few texts to judge by what can be read from it, but that it holds is seen."""
    explainer = made(LeaveOneOut, classifier, tokenizer)
    other = made(LeaveOneOut, classifier, tokenizer)
    findings = {found.name: found for found in audit(explainer, tokenizer, inputs, None, [other])}
    assert findings["seeds"].figures["rank_correlation"] == pytest.approx(1.0) and findings["seeds"].verdict == "pass"
    assert findings["swapped_baseline"].verdict == "pass", findings["swapped_baseline"]
    assert findings["random_base"].verdict == "not checked"
    for name in ("pattern", "probe_alone"):
        assert findings[name].verdict == "reported" and "too few" in findings[name].note


def test_a_label_in_the_pattern_is_caught(classifier, tokenizer):
    inputs = TextFeatures(tokenizer, MANY, 64).items
    special, texts = [one["special_tokens_mask"] for one in inputs], range(len(inputs))
    found = explained(made(LabelInPattern, classifier, tokenizer), tokenizer, inputs)
    said = pattern(found, special, texts, class_conditional=False)
    assert said.verdict == "fail" and said.figures["accuracy"] == 1.0
    assert said.figures["accuracy"] > max(said.figures["base_rate"], said.figures["by_length"]) + READABLE
    told = pattern(found, special, texts, class_conditional=True)
    assert told.verdict == "reported" and told.figures == said.figures and "class-conditional" in told.note
    shut = [one._replace(kept=[False] * len(one.kept)) for one in found]
    assert pattern(shut, special, texts, class_conditional=False).verdict == "pass", "a mask that says nothing"
    of_one_class = [one._replace(predicted=int(number < 20)) for number, one in enumerate(found)]
    said = pattern(of_one_class, special, texts, class_conditional=False)
    assert said.verdict == "reported" and "nearly all inputs are of one class" in said.note


def test_random_masks_are_caught(classifier, tokenizer, inputs):
    explainer = made(Random, classifier, tokenizer)
    found = explained(explainer, tokenizer, inputs)
    said = swapped(explainer, tokenizer, inputs, found)
    assert said.verdict == "fail"
    assert min(value for name, value in said.figures.items() if name.startswith("agreement")) < HOLDS
    assert margin(found, 0.1).verdict == "fail"


def test_what_the_gates_say_alone():
    """Logits that differ with the class are read, but not what untrained probes say as well, or what lengths do."""
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
    assert probe_alone(telling, probes(shift=9.0), texts, False).verdict == "pass", "the states say it themselves"
    lengths = probe_alone(probes(longer=9), silent, texts, False)
    assert lengths.figures["accuracy"] > 0.8 and lengths.verdict == "pass", lengths
    above = [row._replace(logits=row.logits * [1, 0] + [[0, 9 * row.predicted]]) for row in silent]
    said = probe_alone(above, silent, texts, False)
    assert said.verdict == "pass" and said.figures["all_states"] > 0.95, "upper states may hold the prediction"
    assert probe_alone(telling, silent, texts, True).verdict == "reported"


def test_distance_of_masked_inputs(explainer, tokenizer):
    """Whole inputs are as far from others as they are; those of one vector for all words are farther."""
    inputs = TextFeatures(tokenizer, MANY, 64).items
    texts = range(len(inputs))
    whole = [found._replace(kept=[True] * len(found.kept)) for found in explained(explainer, tokenizer, inputs)]
    figures = distance(explainer, tokenizer, inputs, whole, texts).figures
    assert figures["quantile"] == pytest.approx(0.5, abs=0.01) and figures["median_over_usual"] == pytest.approx(1.0)
    assert figures["quantile_mask_token"] == figures["quantile"], "nothing is replaced"
    with torch.no_grad():
        explainer.baseline.normal_(std=5.0)
    nothing = [
        found._replace(kept=[bool(mark) for mark in features["special_tokens_mask"]])
        for found, features in zip(whole, inputs, strict=True)
    ]
    far = distance(explainer, tokenizer, inputs, nothing, texts)
    assert far.verdict == "fail" and far.figures["quantile"] == 1.0, far


def test_correlations_leave_special_tokens_out():
    scores, others = [9.0, 0.1, 0.4, 0.3, 0.9, 9.0], [-5.0, 0.2, 0.1, 0.6, 0.7, 8.0]
    marks = [1, 0, 0, 0, 0, 1]
    same = one(scores=[9.0, 1.0, 1.0, 1.0, 1.0, 9.0])
    found = correlations([one(scores=scores), one(scores=scores)], [one(scores=others), same], [marks, marks])
    assert found == [pytest.approx(spearmanr(scores[1:-1], others[1:-1]).statistic)], "the second ranks nothing"
    with pytest.raises(DiffMaskError, match="no input whose tokens both explainers rank"):
        correlations([same], [same], [marks])


def test_verdicts_by_correlation():
    marks, up, down = [[0, 0, 0]], [one(scores=[1, 2, 3])], [one(scores=[3, 2, 1])]
    middle = [one(scores=[1, 3, 2])]
    for same in (up, down):
        assert random_base(up, same, marks, 0.5, 0.1).verdict == "fail", "ranked backwards is alike, too"
    both = random_base(up * 2, [*up, *down], marks * 2, 0.5, 0.1)
    assert both.verdict == "pass" and both.figures["rank_correlation"] == 0.0
    free = random_base(up * 2, [*up, *down], marks * 2, 0.1, 0.1)
    assert free.verdict == "reported" and "nothing to learn" in free.note
    assert (
        random_base(up, None, marks, 0.0, 0.0).verdict == "not checked"
        and seeds(up, [], marks).verdict == "not checked"
    )
    found = seeds(up, [up, middle], marks)
    assert found.figures["rank_correlation"] == pytest.approx((1.0 + 0.5 + 0.5) / 3) and found.verdict == "pass"
    assert found.figures["lowest"] == pytest.approx(0.5) and seeds(up, [down], marks).verdict == "fail"


def test_margin_by_hand():
    found = [one(cost=cost) for cost in (0.0, 0.05, 0.1, 0.3)]
    said = margin(found, 0.1)
    assert said.figures == {"outside": 0.25, "cost": pytest.approx(0.1125), "margin": 0.1}
    assert said.verdict == "fail", "a mean beyond the margin"
    assert margin(found, 0.12).verdict == "pass" and margin([*found, one(cost=0.2)], 0.14).verdict == "fail"


def test_hidden_masking_is_not_swapped(classifier, tokenizer, inputs):
    explainer = DiffMaskModel.from_base_model(classifier, tokenizer, masking="hidden", class_conditional=False).eval()
    with torch.no_grad():
        explainer.probes.out_weight.zero_()
    findings = {found.name: found for found in audit(explainer, tokenizer, inputs)}
    assert findings["swapped_baseline"].verdict == findings["distribution"].verdict == "not checked"
    figures = findings["pattern"].figures
    assert figures["accuracy"] == figures["by_length"], "all gates are open"
    assert findings["margin"].verdict == "pass"


def test_the_command_trains_what_it_compares_with(tmp_path, classifier, tokenizer, capsys):
    rows = tmp_path / "texts.jsonl"
    rows.write_text("\n".join(json.dumps({"text": text}) for text in TEXTS))
    base = tmp_path / "base"
    classifier.save_pretrained(base)
    tokenizer.save_pretrained(base)
    model, folder = tmp_path / "explainer", tmp_path / "audit"
    data = ["--dataset", str(rows)]
    few = ["--max_steps", "4", "--per_device_train_batch_size", "8", "--baseline_steps", "2", "--report_to", "none"]
    assert main(["train", "--base_model", str(base), *data, "--output_dir", str(model), *few]) == 0
    asked = ["audit", "--model", str(model), *data, "--output_dir", str(folder), "--train_dataset", str(rows)]
    asked.append("--update_card")
    assert main(asked) == 0
    found = json.loads((folder / "audit.json").read_text())
    assert [one["name"] for one in found["findings"]] == [
        "pattern", "swapped_baseline", "random_base", "probe_alone", "distribution", "seeds", "margin"
    ]  # fmt: skip
    assert found["findings"][5]["figures"]["explainers"] == 3 and found["thresholds"]["readable"] == READABLE
    assert {one["verdict"] for one in found["findings"]} <= {"pass", "fail", "reported"}
    card = (model / "README.md").read_text()
    assert card.count("## Audit") == 1 and "Do explainers trained with other seeds say the same?" in card
    settings = json.loads((model / "training_args.json").read_text())
    other = json.loads((folder / f"seed-{settings['seed'] + 1}" / "training_args.json").read_text())
    assert other == {**settings, "seed": settings["seed"] + 1}
    assert main(asked) == 2 and "is not empty" in capsys.readouterr().err
    assert main(["audit", "--model", str(model), *data, "--output_dir", str(tmp_path / "named"),
                 "--other_seeds", str(model)]) == 2  # fmt: skip
    assert "is the same explainer as --model" in capsys.readouterr().err
    named = ["--other_seeds", str(folder / f"seed-{settings['seed'] + 1}"), "--random_base", str(model)]
    assert main(["audit", "--model", str(model), *data, "--output_dir", str(tmp_path / "named"), *named]) == 2
    assert "no random one" in capsys.readouterr().err
    twice = ["--other_seeds", str(folder / f"seed-{settings['seed'] + 1}")]
    twice.append(twice[-1])
    assert main(["audit", "--model", str(model), *data, "--output_dir", str(tmp_path / "named"), *twice]) == 2
    assert "is named twice" in capsys.readouterr().err
    before = (folder / "random-base" / "model.safetensors").stat().st_mtime_ns
    assert main([*asked, "--overwrite_output_dir"]) == 0
    assert (folder / "random-base" / "model.safetensors").stat().st_mtime_ns == before, "nothing is trained again"
    assert json.loads((folder / "audit.json").read_text())["findings"] == found["findings"]
    assert (model / "README.md").read_text().count("## Audit") == 1
    assert main([*asked, "--overwrite_output_dir", "--limit", "30"]) == 0, "on other data, too"
    (model / "training_args.json").write_text(json.dumps({**settings, "learning_rate": 0.5}))
    assert main([*asked, "--overwrite_output_dir"]) == 2
    assert "holds an explainer with other settings" in capsys.readouterr().err


def test_what_it_costs_to_mask_everything(explainer, tokenizer, inputs):
    costs = []
    for features in inputs[:5]:
        batch = {name: torch.tensor([values]) for name, values in features.items() if name != "special_tokens_mask"}
        with torch.no_grad():
            target = explainer.record(**batch).target
            masked = explainer.masked_forward(torch.tensor([features["special_tokens_mask"]]).bool(), **batch)
        costs.append((target.exp() * (target - masked)).sum().item())
    found = masking_everything(explainer, tokenizer, inputs[:5], batch_size=2)
    assert found == pytest.approx(sum(costs) / 5, abs=1e-5) and found > 0.01


def test_the_margin_of_another_base_model_is_the_same_part_of_what_there_is_to_lose(
    explainer, classifier, tokenizer, inputs, tmp_path
):
    torch.manual_seed(3)
    other = type(classifier)(classifier.config).eval()
    made = DiffMaskModel.from_base_model(other, tokenizer).eval()
    before = made.baseline.clone()
    args = DiffMaskTrainingArguments(
        output_dir=str(tmp_path), recipe="fast", baseline_steps=3, use_cpu=True, disable_tqdm=True
    )
    found = margin_alike(explainer, made, tokenizer, TEXTS, inputs, args)
    assert not torch.equal(before, made.baseline), "what there is to lose is measured with the learned baseline"
    own, real = (masking_everything(one, tokenizer, inputs) for one in (made, explainer))
    assert own < real / 100
    assert found == pytest.approx(explainer.config.margin * max(own, ROUNDING) / real, rel=0.01)


def test_what_is_nothing_but_rounding_is_not_judged():
    same = [one(scores=(0.1, 0.5, 0.9))] * 3
    assert random_base(same, same, [[0, 0, 0]] * 3, 1e-3, 1e-4).verdict == "fail"
    said = random_base(same, same, [[0, 0, 0]] * 3, 5e-7, 1e-7)
    assert said.verdict == "reported" and "no more than rounding" in said.note


def test_what_cannot_be_computed_is_not_checked(explainer, tokenizer, inputs):
    empty = {"input_ids": [2, 3], "attention_mask": [1, 1], "special_tokens_mask": [1, 1]}
    few = {found.name: found for found in audit(explainer, tokenizer, [empty, *inputs[:5]])}
    for name in ("pattern", "distribution"):
        assert few[name].verdict == "not checked" and "there are 5" in few[name].note
    assert few["margin"].verdict in ("pass", "fail")
    with pytest.raises(DiffMaskError, match="no input has a token that is not special"):
        audit(explainer, tokenizer, [empty])


def test_refusals(tmp_path, capsys):
    rows = tmp_path / "texts.jsonl"
    rows.write_text("\n".join(json.dumps({"text": text}) for text in TEXTS[:10]))
    asked = ["audit", "--dataset", str(rows), "--output_dir", str(tmp_path / "out")]
    assert main(asked) == 2 and "at least 20 different texts, and there are 10" in capsys.readouterr().err
    assert main([*asked, "--overwrite_output_dir", "--limit", "0"]) == 2
    assert "--limit and --batch_size must be at least 1" in capsys.readouterr().err
    assert main([*asked, "--overwrite_output_dir", "--update_card"]) == 2
    assert "no card to update" in capsys.readouterr().err
    assert main([*asked, "--overwrite_output_dir", "--train_dataset", str(rows)]) == 2
    assert "says how it was trained" in capsys.readouterr().err
