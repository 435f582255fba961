"""Training runs: they learn, they resume, they stop, and they do not depend on how a batch is split."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hf_diffmask import DiffMaskConfig, DiffMaskError, DiffMaskModel, DiffMaskTrainer, DiffMaskTrainingArguments
from hf_diffmask.data import TextFeatures
from hf_diffmask.demo import sentences
from hf_diffmask.recorded_cache import RecordedCache
from hf_diffmask.training_args import RECIPES, recipe_config
from hf_diffmask.validation import format_table, measure, table_of_states

ROOT = Path(__file__).parent.parent


def make_trainer(classifier, tokenizer, folder, recipe="fast", masking="input", **settings):
    torch.manual_seed(0)
    explainer = DiffMaskModel.from_base_model(classifier, tokenizer, **recipe_config(recipe, masking))
    settings = {"max_steps": 4, "per_device_train_batch_size": 8, "warmup_steps": 0, "eval_delay": 0, **settings}
    if "save_strategy" not in settings:
        settings |= {"save_strategy": "no", "load_best_model_at_end": False}
    args = DiffMaskTrainingArguments(
        output_dir=str(folder), recipe=recipe, use_cpu=True, disable_tqdm=True, report_to="none", **settings
    )
    return DiffMaskTrainer(
        explainer,
        args,
        train_dataset=TextFeatures(tokenizer, sentences(96), 64),
        eval_dataset=TextFeatures(tokenizer, sentences(24, seed=1), 64),
        processing_class=tokenizer,
    )


def test_training_drops_tokens_within_the_margin(classifier, tokenizer, tmp_path):
    trainer = make_trainer(
        classifier, tokenizer, tmp_path, max_steps=300, per_device_train_batch_size=16, learning_rate=1e-3,
        eval_strategy="no", load_best_model_at_end=False,
    )  # fmt: skip
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    trainer.train()
    # On the sentences it was trained on: 96 are too few to say anything of others.
    metrics = trainer.evaluate(trainer.train_dataset)
    assert metrics["eval_kept_share"] < 0.5 and metrics["eval_agreement"] >= 0.9
    assert metrics["eval_divergence"] <= trainer.args.margin
    shares = [row.kept_share for row in trainer.rows]
    assert shares == sorted(shares, reverse=True), "votes multiply: the mask can only shrink with depth"
    assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())


def test_evaluation_agrees_with_one_example_at_a_time(classifier, tokenizer, tmp_path):
    trainer = make_trainer(classifier, tokenizer, tmp_path)
    explainer = trainer.model
    torch.nn.init.normal_(explainer.probes.out_weight, std=0.1)
    torch.nn.init.constant_(explainer.probes.out_bias, 1.0)
    metrics = trainer.evaluate()
    kept = units = 0
    divergences, same = [], []
    for item in trainer.eval_dataset.items:
        features = {name: torch.tensor([value]) for name, value in item.items()}
        special = features.pop("special_tokens_mask").bool()
        with torch.no_grad():
            output = explainer(**features, special_tokens_mask=special)
            mask = output.keep_probability[..., -1] > 0.5
            q = explainer.masked_forward(mask, **features).double()
        p = output.target.double()
        divergences.append((p.exp() * (p - q)).sum().item())
        same.append(p.argmax() == q.argmax())
        kept += int((mask & ~special).sum())
        units += int((~special).sum())
    assert metrics["eval_kept_share"] == pytest.approx(kept / units, abs=1e-6)
    assert metrics["eval_divergence"] == pytest.approx(sum(divergences) / len(divergences), abs=1e-5)
    assert metrics["eval_agreement"] == pytest.approx(sum(same) / len(same))
    within = sum(d <= 0.1 for d in divergences) / len(divergences)
    assert metrics["eval_within_margin"] == pytest.approx(within)
    met = metrics["eval_divergence"] <= 0.1
    assert metrics["eval_selection"] == pytest.approx(
        metrics["eval_kept_share"] if met else 1 + metrics["eval_divergence"]
    )
    assert format_table(trainer.rows).count("\n") == explainer.config.num_states + 1


@pytest.mark.parametrize(("recipe", "checked"), [("fast", [8, 0, 8]), ("paper", [8, 8, 8])])
def test_violations_are_counted_at_the_steps_that_are_checked(classifier, tokenizer, tmp_path, recipe, checked):
    trainer = make_trainer(classifier, tokenizer, tmp_path, recipe)
    batch = next(iter(trainer.get_train_dataloader()))
    for step, expected in enumerate(checked):
        trainer.state.global_step = step
        assert trainer.compute_loss(trainer.model, batch).requires_grad
        assert trainer.violations[0].sum().item() == expected
        trainer.update_multipliers()


def test_cached_training_is_the_same_as_uncached(classifier, tokenizer, tmp_path):
    weights = []
    for name, memory in (("memory", 4.0), ("disk", 1e-6), ("none", 0.0)):
        trainer = make_trainer(
            classifier, tokenizer, tmp_path / name, max_steps=30, cache_memory=memory, eval_strategy="no"
        )
        trainer.train()
        assert (trainer.cache is None) == (name == "none")
        if trainer.cache is not None:
            assert trainer.cache.known.all()
        weights.append(trainer.model.state_dict())
    for other in weights[1:]:
        for name, value in weights[0].items():
            torch.testing.assert_close(value, other[name], atol=1e-4, rtol=0)


def test_no_cache_where_examples_are_met_once(classifier, tokenizer, tmp_path):
    trainer = make_trainer(classifier, tokenizer, tmp_path, max_steps=12)
    assert trainer._make_cache() is None
    trainer.args.max_steps = 24
    assert trainer._make_cache() is not None


def test_cache_gives_back_what_the_base_computes(explainer, tokenizer):
    features = TextFeatures(tokenizer, sentences(6), 64)
    cache = RecordedCache([len(item["input_ids"]) for item in features.items], limit=1.0)
    from hf_diffmask.data import collate

    for picked in ([0, 3], [3, 1, 5], [0, 1, 2, 3, 4, 5]):
        batch = collate(tokenizer, [features[k] for k in picked])
        ids = batch.pop("example_ids")
        batch.pop("special_tokens_mask")
        found, expected = cache.record(explainer, ids, batch), explainer.record(**batch)
        real = batch["attention_mask"].bool()
        torch.testing.assert_close(found.target, expected.target, atol=1e-5, rtol=0)
        for ours, theirs in zip(found.states, expected.states, strict=True):
            torch.testing.assert_close(ours[real], theirs[real], atol=1e-4, rtol=0)
            assert (ours[~real] == 0).all()
    assert cache.known.all()


@pytest.mark.parametrize("recipe", RECIPES)
def test_resuming_is_the_same_as_going_on(classifier, tokenizer, tmp_path, recipe):
    # 12 steps an epoch: the second half lies in the second.
    settings = {"save_strategy": "steps", "save_steps": 15, "eval_steps": 15, "load_best_model_at_end": False}
    whole = make_trainer(classifier, tokenizer, tmp_path / "whole", recipe, max_steps=30, **settings)
    whole.train()
    files = {path.name for path in (tmp_path / "whole" / "checkpoint-15").iterdir()}
    assert {"config.json", "model.safetensors", "objective.safetensors", "training_args.json"} <= files
    assert "training_args.bin" not in files
    resumed = make_trainer(classifier, tokenizer, tmp_path / "resumed", recipe, max_steps=30, **settings)
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-15"))
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(value, resumed.model.state_dict()[name], atol=1e-5, rtol=0)
    if recipe == "path":
        assert whole.model.costs.any(), "calibrated"
        return
    torch.testing.assert_close(whole.objective.multipliers, resumed.objective.multipliers)
    assert not torch.equal(whole.objective.multipliers, torch.full_like(whole.objective.multipliers, 5.0))


def test_accumulation_is_the_same_as_a_larger_batch(classifier, tokenizer, tmp_path):
    whole = make_trainer(classifier, tokenizer, tmp_path / "a", max_steps=6, eval_strategy="no")
    parts = make_trainer(
        classifier, tokenizer, tmp_path / "b", max_steps=6, eval_strategy="no", per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
    )  # fmt: skip
    whole.train()
    parts.train()
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(value, parts.model.state_dict()[name], atol=1e-4, rtol=0)
    torch.testing.assert_close(whole.objective.multipliers, parts.objective.multipliers, atol=1e-4, rtol=1e-4)


def test_best_checkpoint_is_the_sparsest_within_the_margin(classifier, tokenizer, tmp_path):
    trainer = make_trainer(
        classifier, tokenizer, tmp_path, max_steps=4, eval_steps=1, save_strategy="steps", save_steps=1,
        save_total_limit=None,
    )  # fmt: skip
    script = iter([(0.5, 0.2), (0.3, 0.05), (0.6, 0.01), (0.2, 0.11)])

    def evaluate(*args, **kwargs):
        share, divergence = next(script)
        metrics = {"eval_selection": share if divergence <= 0.1 else 1 + divergence}
        trainer.control = trainer.callback_handler.on_evaluate(trainer.args, trainer.state, trainer.control, metrics)
        return metrics

    trainer.evaluate = evaluate
    trainer.train()
    assert next(script, None) is None
    assert trainer.state.best_global_step == 2
    kept = load_file(tmp_path / "checkpoint-2" / "model.safetensors")
    assert torch.equal(kept["probes.bias"], trainer.model.state_dict()["probes.bias"])


def test_a_loss_that_is_not_finite_stops_training_and_keeps_checkpoints(classifier, tokenizer, tmp_path):
    trainer = make_trainer(
        classifier, tokenizer, tmp_path, max_steps=6, save_strategy="steps", save_steps=2, eval_steps=2
    )
    good = trainer.objective.loss

    def loss(*args):
        value = good(*args)
        return value * float("nan") if trainer.state.global_step == 3 else value

    trainer.objective.loss = loss
    with pytest.raises(DiffMaskError, match=r"not finite at step 3.*stay as they are"):
        trainer.train()
    assert all(parameter.isfinite().all() for parameter in trainer.model.parameters())
    saved = DiffMaskModel.from_pretrained(tmp_path / "checkpoint-2")
    assert all(parameter.isfinite().all() for parameter in saved.parameters())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"margin": 0.0}, "margin must be greater than 0"),
        ({"margin": -1.0}, "margin"),
        ({"recipe": "slow"}, "recipe"),
        ({"baseline_steps": -1}, "baseline_steps must be 0 or more"),
    ],
)
def test_settings_that_cannot_be_used(tmp_path, settings, message):
    with pytest.raises(DiffMaskError, match=message):
        DiffMaskTrainingArguments(output_dir=str(tmp_path), **settings)


def test_a_trainer_refuses_what_contradicts_itself(classifier, tokenizer, tmp_path):
    args = DiffMaskTrainingArguments(output_dir=str(tmp_path), recipe="paper", use_cpu=True)
    explainer = DiffMaskModel.from_base_model(classifier, tokenizer)
    with pytest.raises(DiffMaskError, match="recipe 'paper' trains explainers with"):
        DiffMaskTrainer(explainer, args, processing_class=tokenizer)
    trainer = make_trainer(classifier, tokenizer, tmp_path / "out", margin=0.3)
    assert trainer.model.config.margin == 0.3
    (tmp_path / "out").mkdir(exist_ok=True)
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(DiffMaskError, match="not empty"):
        trainer.train()


def test_recipes_fill_in_what_is_not_set(tmp_path):
    paper = DiffMaskTrainingArguments(output_dir=str(tmp_path), recipe="paper", learning_rate=0.5)
    assert paper.learning_rate == 0.5 and paper.warmup_steps == 1200 and paper.per_device_train_batch_size == 64
    assert paper.eval_delay == 1500
    epochs = DiffMaskTrainingArguments(output_dir=str(tmp_path), num_train_epochs=2)
    assert epochs.max_steps == -1 and epochs.num_train_epochs == 2
    settings = paper.settings(DiffMaskConfig(masking="hidden", initial_logit=4.0))
    assert "output_dir" not in settings and json.dumps(settings)
    assert (settings["masking"], settings["initial_logit"], settings["learning_rate"]) == ("hidden", 4.0, 0.5)


DISTRIBUTED = """
import os, sys, torch
from pathlib import Path
torch.set_num_threads(1)
from transformers import AutoModelForSequenceClassification, AutoTokenizer
import hf_diffmask
from hf_diffmask import DiffMaskModel, DiffMaskTrainer, DiffMaskTrainingArguments
from hf_diffmask.data import TextFeatures
from hf_diffmask.demo import sentences
from hf_diffmask.training_args import recipe_config
from safetensors.torch import save_file

recipe, precision, warmup, size, folder = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
torch.set_default_dtype(getattr(torch, precision))
tokenizer = AutoTokenizer.from_pretrained(hf_diffmask.BUNDLED_CLASSIFIER)
base = AutoModelForSequenceClassification.from_pretrained(
    hf_diffmask.BUNDLED_CLASSIFIER, dtype=torch.get_default_dtype()
)
torch.manual_seed(0)
explainer = DiffMaskModel.from_base_model(base, tokenizer, **recipe_config(recipe))
assert explainer.probes.out_weight.dtype == explainer.baseline.dtype == torch.get_default_dtype()
args = DiffMaskTrainingArguments(
    output_dir=folder, recipe=recipe, max_steps=20, per_device_train_batch_size=size, save_strategy="no",
    eval_strategy="no", use_cpu=True, disable_tqdm=True, report_to="none", cache_memory=0.01, warmup_steps=warmup,
)
data = TextFeatures(tokenizer, sentences(160), 64), TextFeatures(tokenizer, sentences(21, seed=1), 64)
trainer = DiffMaskTrainer(explainer, args, *data, processing_class=tokenizer)
trainer.train()
metrics = trainer.evaluate()
state = {**explainer.state_dict(), "objective": getattr(trainer.objective, "multipliers", torch.arange(2)),
         "metrics": torch.tensor([metrics["eval_kept_share"], metrics["eval_divergence"]]),
         "processes": torch.tensor([trainer.accelerator.num_processes])}
save_file({name: value.detach().contiguous() for name, value in state.items()},
          f"{folder}/{trainer.accelerator.process_index}.safetensors")
trainer.end_training()
if os.path.isdir("/proc/self/task"):  # Linux
    threads = [Path(f"/proc/self/task/{thread}/comm").read_text() for thread in os.listdir("/proc/self/task")]
    assert not any("gloo" in name for name in threads), threads
"""


# Centred RMSprop scales gradients of the size of rounding up to whole steps, so that `paper` at its full rate agrees
# only where rounding is far below 1e-5 of a step: in double precision.
@pytest.mark.parametrize(
    ("recipe", "precision", "warmup"),
    [("fast", "float32", 0), ("paper", "float32", 1200), ("paper", "float64", 0), ("path", "float64", 0)],
)
def test_two_processes_and_one_agree(tmp_path, recipe, precision, warmup):
    script = tmp_path / "run.py"
    script.write_text(DISTRIBUTED)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for name, size, launcher in (
        ("one", 16, [sys.executable]),
        ("two", 8, [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]),
    ):
        (tmp_path / name).mkdir()
        done = subprocess.run(
            [*launcher, str(script), recipe, precision, str(warmup), str(size), str(tmp_path / name)],
            env=environment, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
    one = load_file(tmp_path / "one" / "0.safetensors")
    ranks = [load_file(tmp_path / "two" / f"{rank}.safetensors") for rank in (0, 1)]
    assert one["processes"].item() == 1 and ranks[0]["processes"].item() == ranks[1]["processes"].item() == 2
    for name in one.keys() - {"processes"}:
        torch.testing.assert_close(ranks[0][name], ranks[1][name], atol=0, rtol=0)
        torch.testing.assert_close(ranks[0][name], one[name], atol=1e-5, rtol=1e-5)
    assert (one["objective"] != one["objective"][0]).any()


def test_measure_of_chosen_states(explainer, tokenizer, batch):
    everything, last = measure(explainer, batch), measure(explainer, batch, [explainer.config.num_states - 1])
    assert torch.equal(everything[:, -1:], last)
    assert len(table_of_states(["only"], last)) == 1
