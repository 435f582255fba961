"""Evidence that adds up to what the base model says under masks."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, pipeline

import hf_diffmask
from hf_diffmask import DiffMaskError, DiffMaskModel, DiffMaskTrainingArguments
from hf_diffmask.ablations.store import Ablations
from hf_diffmask.data.features import TextFeatures, collate
from hf_diffmask.masks.gates import hard_mask
from hf_diffmask.tasks.registry import task_of
from hf_diffmask.tasks.text_classification import TextClassification
from hf_diffmask.testbeds.grammar import sentences
from hf_diffmask.training.recipes.ablation import Labels, labels_of, residuals
from hf_diffmask.training.recipes.ablation_labels import own_folder
from hf_diffmask.training.recipes.registry import RECIPES, recipe_config
from hf_diffmask.training.run import train
from tests.helpers import QUESTION, make_trainer
from tests.training.test_ablating import without_gradients

SETTINGS = {"max_steps": 60, "baseline_steps": 2, "masks": 8, "eval_strategy": "no"}


def labels(masks, values, groups):
    """Labels with given log-odds of class 1."""
    values = torch.tensor(values)
    logs = torch.nn.functional.logsigmoid(torch.stack([-values, values], -1))
    return Labels(torch.tensor(masks).bool(), logs, torch.tensor(groups))


def test_residuals_by_hand():
    masks = [[[1, 1, 0], [0, 0, 1], [1, 0, 0], [0, 1, 1]]]
    scores = torch.tensor([2.0, -1.0, 0.5])
    evidence = torch.stack([-scores, scores], -1)[None, :, None].expand(-1, -1, 2, -1).clone()
    evidence[:, :, 1] = 0  # a column that explains nothing
    # Sums are 1, 0.5, 2, -0.5. Each replacement has a constant of its own: 0.3 and -2.
    error, variance = residuals(TextClassification(), evidence, labels(masks, [[1.3, 0.8, 0.0, -2.5]], [0, 0, 1, 1]))
    assert error[0].tolist() == pytest.approx([0, (0.25**2 * 2 + 1.25**2 * 2) / 4], abs=1e-6)
    assert variance[0].tolist() == pytest.approx([(0.25**2 * 2 + 1.25**2 * 2) / 4] * 2)
    wrong = residuals(TextClassification(), evidence, labels(masks, [[1.3, 1.8, 0.0, -2.5]], [0, 0, 1, 1]))[0]
    assert wrong[0, 0].item() == pytest.approx(2 * 0.5**2 / 4), "one value is off by 1, and so is half of its mean"


def test_masks_whose_output_is_not_finite_do_not_count():
    masks = [[[1, 0], [0, 1], [1, 1], [0, 0]]]
    evidence = torch.randn(1, 2, 1, 1)
    evidence = torch.cat([-evidence, evidence], -1)
    given = labels(masks, [[0.5, -0.2, 1.0, 3.0]], [0, 0, 0, 0])
    given.outputs[0, 3] = float("nan")
    error, variance = residuals(TextClassification(), evidence, given)
    short = Labels(given.masks[:, :3], given.outputs[:, :3], given.groups[:3])
    assert torch.allclose(error, residuals(TextClassification(), evidence, short)[0])
    assert torch.allclose(variance, residuals(TextClassification(), evidence, short)[1])
    given.outputs[:] = float("nan")
    assert [one.item() for one in residuals(TextClassification(), evidence, given)] == [0, 0]


def test_values_beyond_their_bounds_are_cut():
    masks, evidence = [[[1], [0]]], torch.tensor([[[[-6.0, 6.0]]]])
    error, _ = residuals(TextClassification(), evidence, labels(masks, [[40.0, 0.0]], [0, 0]))
    assert error.item() == pytest.approx(0, abs=1e-6)


@pytest.fixture
def trained(classifier, tokenizer, tmp_path):
    trainer = make_trainer(classifier, tokenizer, tmp_path / "run", "ablation", **SETTINGS)
    trainer.train()
    return trainer


def test_a_run_explains_ablations_of_other_inputs(trained, tokenizer, classifier, tmp_path):
    explainer = trained.model
    assert explainer.config.read_flow and list(explainer.config.replacements) == ["baseline", "attention"]
    metrics = trained.evaluate()
    assert metrics["eval_selection"] < 0.5, "more than half of the variance is explained"
    assert [row.state for row in trained.rows] == explainer.config.columns
    assert explainer.config.columns[-1] == "explanation" and explainer.masks.is_calibrated
    explainer.save_pretrained(tmp_path / "saved")
    again = DiffMaskModel.from_pretrained(tmp_path / "saved", base_model=classifier).eval()
    features = trained.data_collator([trained.eval_dataset[k] for k in range(5)])
    features.pop("example_ids")
    one, other = (model(**features) for model in (explainer.eval(), again))
    assert torch.equal(one.keep_probability, other.keep_probability)
    assert torch.equal(one.evidence[..., 0], -one.evidence[..., 1])
    chosen = one.target.argmax(-1)
    assert all(torch.equal(one.logits[k], one.evidence[k, ..., chosen[k]]) for k in range(5))
    # Another class: the evidence for it.
    of_other = explainer(**features, classes=1 - chosen)
    torch.testing.assert_close(of_other.logits, -one.logits)
    assert not torch.equal(hard_mask(of_other.keep_probability), hard_mask(one.keep_probability))


def test_the_parts_of_the_validation_inputs_are_disjoint(trained):
    uses = [set(trained.validation_numbers(use)) for use in ("select", "calibrate", "report")]
    assert set.union(*uses) == set(range(24)) and sum(map(len, uses)) == 24


def test_of_another_data_set_all_inputs_are_measured(trained, tokenizer):
    """Only validation inputs have parts. The table has means over inputs, and one share of all units."""
    texts = ["the film was warm and funny", "a dull plot", "the cast is not bad", "the plot was very dull", "a film"]
    other = TextFeatures(tokenizer, texts, 32)
    trained.evaluate(other)
    features = collate(tokenizer, [other[k] for k in range(len(texts))])
    features.pop("example_ids")
    output = trained.model(**features)
    kept = (hard_mask(output.keep_probability)[..., -1].bool() & output.maskable).sum().item()
    assert trained.rows[-1].kept_share == pytest.approx(kept / output.maskable.sum().item())


def test_given_ablations_are_used_with_their_baseline(trained, classifier, tokenizer, tmp_path):
    folder = own_folder(trained.args)
    again = make_trainer(classifier, tokenizer, tmp_path / "other", "ablation", ablations=str(folder), **SETTINGS)
    again.train()
    for name, value in trained.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name]), name
    assert not own_folder(again.args).exists()
    assert len(Ablations(folder)) == 96


def test_ablations_of_other_inputs_are_refused(trained, classifier, tokenizer, tmp_path):
    folder = own_folder(trained.args) / "validation"
    again = make_trainer(classifier, tokenizer, tmp_path / "other", "ablation", ablations=str(folder), **SETTINGS)
    with pytest.raises(DiffMaskError, match="another number of inputs"):
        again.train()


def test_a_run_that_was_stopped_takes_up_its_ablations(trained, classifier, tokenizer):
    folder = own_folder(trained.args)
    before = {path.name: path.read_bytes() for path in folder.glob("*.*")}
    first = min(Path(folder).glob("shard-*"))
    first.unlink()
    again = make_trainer(
        classifier, tokenizer, trained.args.output_dir, "ablation", overwrite_output_dir=True, **SETTINGS
    )
    again.train()
    assert {path.name: path.read_bytes() for path in folder.glob("*.*")} == before
    assert all(
        torch.equal(value, again.model.state_dict()[name]) for name, value in trained.model.state_dict().items()
    )


def test_no_text_is_stored(trained):
    description = json.loads((own_folder(trained.args) / "ablations.json").read_text())
    assert description["inputs"] == 96 and description["masks"] == 8
    assert trained.args.output_dir not in json.dumps(description)


def test_epochs_by_the_number_of_inputs(classifier, tokenizer, tmp_path):
    def epochs(inputs, **settings):
        trainer = make_trainer(classifier, tokenizer, tmp_path, "ablation", **{"max_steps": -1, **settings})
        args = trainer.args
        args.num_train_epochs = settings.get("num_train_epochs", 0.0)
        RECIPES["ablation"].complete(args, inputs)
        return args.num_train_epochs

    assert epochs(8 * 1000) == 6 and epochs(8 * 10) == 30 and epochs(3) == 300, "batches of 8"
    assert epochs(80, num_train_epochs=2.0) == 2


def run_of(base, tokenizer, texts, folder):
    """A run of the recipe on a model of any task."""
    explainer = DiffMaskModel.from_base_model(base, tokenizer, **recipe_config("ablation", task=task_of(base).name))
    args = DiffMaskTrainingArguments(
        output_dir=str(folder), recipe="ablation", use_cpu=True, disable_tqdm=True, report_to="none", masks=8,
        max_steps=150, baseline_steps=2, eval_strategy="no", load_best_model_at_end=False, save_strategy="no",
        per_device_train_batch_size=16,
    )  # fmt: skip
    trainer, _ = train(explainer, tokenizer, texts[12:], texts[:12], args)
    return trainer


def test_answers_and_numbers(answerer, tokenizer, tmp_path):
    number = AutoModelForSequenceClassification.from_pretrained(
        hf_diffmask.BUNDLED_CLASSIFIER, num_labels=1, ignore_mismatched_sizes=True
    ).eval()
    for base, texts, choices in (
        (answerer, [(f"{QUESTION} {k}", sentences(1, seed=k)[0]) for k in range(60)], 1),
        (number, sentences(60), 2),
    ):
        trainer = run_of(base, tokenizer, texts, tmp_path / type(base).__name__)
        explainer = trainer.model.eval()
        assert explainer.config.read_flow and explainer.masks.is_calibrated
        features = trainer.data_collator([trainer.eval_dataset[k] for k in range(3)])
        output = explainer(**{name: value for name, value in features.items() if name != "example_ids"})
        assert output.evidence.shape[-1] == choices and output.evidence.isfinite().all()
        # On the inputs that it was fitted to: few inputs say little about others.
        batch = explainer.batch(**trainer.data_collator([trainer.train_dataset[k] for k in range(16)]))
        labels = labels_of(trainer.objective.training_labels, batch)
        error, variance = residuals(explainer.task, explainer.probes(explainer.record(batch)), labels)
        assert error[:, -1].sum() < 0.5 * variance[:, -1].sum(), type(base).__name__


def test_a_base_without_gradients_takes_the_mean_embedding(classifier, tokenizer, tmp_path, caplog):
    trainer = make_trainer(without_gradients(classifier), tokenizer, tmp_path, "ablation", **SETTINGS)
    start = trainer.model.baseline.clone()
    trainer.train()
    assert "gives no gradients, so the baseline is the mean of the embeddings" in caplog.text
    assert not torch.equal(trainer.model.baseline, start) and trainer.model.masks.is_calibrated


def test_an_odd_number_of_masks_is_refused_before_anything_runs(classifier, tokenizer, tmp_path):
    with pytest.raises(DiffMaskError, match="must be even and at least 2"):
        make_trainer(classifier, tokenizer, tmp_path / "run", "ablation", masks=3)
    assert not (tmp_path / "run").exists()


def test_ablations_of_a_base_of_another_width_are_refused(trained, answerer, tokenizer, tmp_path):
    config = recipe_config("ablation", task="question-answering")
    explainer = DiffMaskModel.from_base_model(answerer, tokenizer, **config)
    args = DiffMaskTrainingArguments(
        output_dir=str(tmp_path / "other"), recipe="ablation", use_cpu=True, disable_tqdm=True, report_to="none",
        ablations=str(own_folder(trained.args)),
    )  # fmt: skip
    pairs = [(f"{QUESTION} {k}", sentences(1, seed=k)[0]) for k in range(20)]
    with pytest.raises(DiffMaskError, match=r"another base model \(.* and another class of the base model"):
        train(explainer, tokenizer, pairs[4:], pairs[:4], args)


def test_ablations_that_there_are_not_are_refused_before_a_baseline_is_learned(classifier, tokenizer, tmp_path):
    trainer = make_trainer(classifier, tokenizer, tmp_path / "run", "ablation", ablations=str(tmp_path), **SETTINGS)
    start = trainer.model.baseline.clone()
    with pytest.raises(DiffMaskError, match="holds no ablations"):
        trainer.train()
    assert torch.equal(trainer.model.baseline, start)


def test_other_recipes_take_no_ablations(tmp_path):
    with pytest.raises(DiffMaskError, match="recipe 'paper' learns from no ablations: leave --ablations out"):
        DiffMaskTrainingArguments(output_dir=str(tmp_path), recipe="paper", use_cpu=True, ablations="somewhere")


@pytest.mark.parametrize("resumed", [None, True])
def test_a_run_that_was_killed_before_its_first_checkpoint_goes_on(trained, classifier, tokenizer, tmp_path, resumed):
    folder = tmp_path / "killed"
    shutil.copytree(own_folder(trained.args), folder / "ablations")
    again = make_trainer(classifier, tokenizer, folder, "ablation", **SETTINGS)
    again.train(resume_from_checkpoint=resumed)
    assert all(
        torch.equal(value, again.model.state_dict()[name]) for name, value in trained.model.state_dict().items()
    )
    (folder / "notes.txt").write_text("mine")
    for asked, said in ((None, "is not empty"), (True, "holds no checkpoint to resume from")):
        with pytest.raises(DiffMaskError, match=said):
            make_trainer(classifier, tokenizer, folder, "ablation", **SETTINGS).train(resume_from_checkpoint=asked)


def test_units_are_trained_saved_and_refused_where_they_differ(classifier, tokenizer, tmp_path):
    texts = sentences(40, seed=3)
    made = tmp_path / "words"
    fields = recipe_config(unit="word")
    explainer = DiffMaskModel.from_base_model(classifier, tokenizer, **fields)
    settings = {"max_steps": 2, "baseline_steps": 2, "masks": 4, "report_to": "none"}
    settings_of = DiffMaskTrainingArguments(output_dir=str(made), **settings)
    train(explainer, tokenizer, texts[:32], texts[32:], settings_of)
    loaded = DiffMaskModel.from_pretrained(made, base_model=classifier)
    assert loaded.config.unit == "word"
    explain = pipeline(hf_diffmask.TASK, model=loaded, tokenizer=tokenizer)
    result = explain("an unforgettable film")
    assert [t["token"] for t in result["tokens"] if not t["special"]] == ["an", "unforgettable", "film"]
    ablations = own_folder(settings_of)
    other = DiffMaskTrainingArguments(output_dir=str(tmp_path / "tokens"), ablations=str(ablations), **settings)
    tokens = DiffMaskModel.from_base_model(classifier, tokenizer, **recipe_config())
    with pytest.raises(DiffMaskError, match=r"another .*unit \(word, [0-9a-f]{16} instead of token\)"):
        train(tokens, tokenizer, texts[:32], texts[32:], other)
    with pytest.raises(DiffMaskError, match="masks tokens, not units of several: use --recipe ablation"):
        recipe_config("paper", unit="word")
