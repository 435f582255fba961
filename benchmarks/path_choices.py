"""Variants of the recipe `path` with one change each: the table of variants in docs/path.md.

    python benchmarks/path_choices.py recipe                    (10 minutes on 2 cores, as for each variant)
    python benchmarks/path_choices.py mask_baseline log_uniform ...
    python benchmarks/path_choices.py table

Base model: minilm-sst2. Explainers: input masking and target `prediction`, trained on the training split of
sst2_sentences_train. Measured on the first 256 sentences of its validation split, so sst2_dev takes no part in the
choice: comprehensiveness and sufficiency, preset hf_diffmask, with the mask token and four other replacements. Each
run is saved in results/path_choices.json under its name and seed.
"""

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer, TrainerCallback, set_seed
from transformers.utils import logging

from hf_diffmask import DiffMaskModel, DiffMaskTrainer, DiffMaskTrainingArguments
from hf_diffmask.base.running import Batch
from hf_diffmask.data.encoding import max_length
from hf_diffmask.data.features import TextFeatures
from hf_diffmask.data.reading import load_texts
from hf_diffmask.data.sampling import train_validation_split
from hf_diffmask.evaluation.comparison import attribute, measured, rankable
from hf_diffmask.evaluation.faithfulness import PRESETS
from hf_diffmask.explainer.configuration_diffmask import DiffMaskConfig
from hf_diffmask.explainer.probes import DiffMaskProbes
from hf_diffmask.masks import paths
from hf_diffmask.masks.noise import BUDGET_DRAW, hashed_uniform
from hf_diffmask.masks.path_loss import HIGHEST_SHARE, LOWEST_SHARE
from hf_diffmask.methods.registry import Explainers
from hf_diffmask.tasks.preserved import Preserved
from hf_diffmask.tasks.task import Task
from hf_diffmask.training.recipes import path as objective
from hf_diffmask.training.recipes.path import DrawnPaths, PathObjective
from hf_diffmask.training.recipes.registry import recipe_config

RESULTS = Path(__file__).parent / "results" / "path_choices.json"
REPLACEMENTS = ("mask", "pad", "unk", "attention", "delete")
FIGURES = ("comprehensiveness", "sufficiency")
MEASURED = 256
WARM_TEXTS, WARM_STEPS = 1000, 150


class AddedProbes(DiffMaskProbes):
    """Probes that add a learned vector to the last state; the vector starts at 0."""

    attention: nn.MultiheadAttention
    out: nn.Linear

    def forward(self, states: list[Tensor], target: Tensor, units: Tensor, classes: Tensor | None = None) -> Tensor:
        """See [`DiffMaskProbes`]."""
        normed = [nn.functional.layer_norm(state.float(), state.shape[-1:]) for state in (states[-1], states[3])]
        last = states[-1].float() + states[-1].float().std(-1, keepdim=True) * self.added(normed, units)
        return super().forward([*states[:-1], last], target, units, classes)

    def added(self, normed: list[Tensor], units: Tensor) -> Tensor:
        """The added vector, in standard deviations of the state."""
        if hasattr(self, "attention"):
            there = units.clone()
            there[:, 0] = True  # each row needs a position to attend to
            return self.out(self.attention(normed[0], normed[0], normed[0], key_padding_mask=~there)[0])
        return self.out(normed[1])


def with_added(model: DiffMaskModel, attends: bool) -> None:
    """Gives an explainer [`AddedProbes`]."""
    width = model.config.hidden_size
    model.probes.__class__ = AddedProbes
    if attends:
        model.probes.attention = nn.MultiheadAttention(width, 4, batch_first=True)
    model.probes.out = nn.Linear(width, width)
    nn.init.zeros_(model.probes.out.weight)
    nn.init.zeros_(model.probes.out.bias)


class LogUniform(PathObjective):
    """Budgets with a uniform logarithm."""

    def drawn(self, seed: int, step: int, batch: Batch) -> DrawnPaths:
        """The masks of a step."""
        drawn = super().drawn(seed, step, batch)
        uniform = (drawn.shares - LOWEST_SHARE) / (HIGHEST_SHARE - LOWEST_SHARE)
        return replace(drawn, shares=LOWEST_SHARE * (HIGHEST_SHARE / LOWEST_SHARE) ** uniform)


class FewUnits(PathObjective):
    """Budgets of 1 to 12 units, for any length of input (19 on average)."""

    def drawn(self, seed: int, step: int, batch: Batch) -> DrawnPaths:
        """The masks of a step; `shares` holds numbers of units."""
        assert batch.example_ids is not None
        numbers = 1 + 12 * hashed_uniform(seed, step, batch.example_ids, BUDGET_DRAW)
        return replace(super().drawn(seed, step, batch), shares=numbers)


def numbers_of_units(shares: Tensor, maskable: Tensor) -> Tensor:
    """Budgets from `shares` that are already numbers of units."""
    return torch.minimum(shares.long(), maskable.sum(-1)).clamp(min=1)


class EveryState(PathObjective):
    """
    Each example draws a state, and the scores of this state mask it, as with hidden masking.

    Lower states have no loss on their distance to the last state's scores.
    """

    def __init__(self, num_states: int):
        super().__init__(num_states, masks_inputs=False)


def weighted(complement: float) -> Callable[..., Tensor]:
    """The path loss with another weight for the complement."""

    def loss(task: Task, preserved: Preserved, target: Tensor, masked: Tensor, left_out: Tensor) -> Tensor:
        chosen = task.predicted(target)[:, None]
        whole, kept, left = (values.gather(-1, chosen)[:, 0] for values in (target, masked, left_out))
        return whole - kept + complement * left.exp()

    return loss


def in_probability(task: Task, preserved: Preserved, target: Tensor, masked: Tensor, left_out: Tensor) -> Tensor:
    """The path loss with probabilities in both terms, as in the figures."""
    chosen = task.predicted(target)[:, None]
    whole, kept, left = (values.gather(-1, chosen)[:, 0].exp() for values in (target, masked, left_out))
    return whole - kept + left


def straight_through(logits: Tensor, noise: Tensor, maskable: Tensor) -> Tensor:
    """Binary Concrete gates with a straight-through gradient, at the same spread."""
    uniform = noise[..., 0]
    soft = torch.sigmoid((paths.SHARPNESS * logits + uniform.log() - (-uniform).log1p()) / 0.5)
    return (soft > 0.5).float() + soft - soft.detach()


class Anneal(TrainerCallback):
    """Anneals gates from soft to hard."""

    def on_step_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Lowers the temperature from 1 to 0.25 exponentially."""
        model.config.temperature = 4.0 ** -(state.global_step / state.max_steps)


class Resampled(TrainerCallback):
    """Changes the baseline each step: the learned one, the mask token's and the padding token's embedding in turns."""

    def __init__(self, vectors: list[Tensor]):
        self.vectors = vectors
        self.learned: Tensor | None = None

    def on_step_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Sets the next baseline."""
        if self.learned is None:
            self.learned = model.baseline.detach().clone()
        vectors = [self.learned, *self.vectors]
        model.baseline.data.copy_(vectors[state.global_step % len(vectors)])

    def on_train_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Restores the learned baseline."""
        model.baseline.data.copy_(self.learned)


def warm_start(trainer: DiffMaskTrainer, plain: DiffMaskModel, tokenizer: Any, texts: list, method: str) -> None:
    """Trains the last state's scores on another method's scores for some texts, before the path is trained."""
    items = TextFeatures(tokenizer, texts[:WARM_TEXTS], 512).items
    explainers = Explainers(plain, plain, None, 0)
    wanted = attribute(explainers, tokenizer, items, method).scores
    model, size = trainer.model, 64
    optimizer = torch.optim.AdamW(model.probes.parameters(), lr=1e-2)
    order = torch.Generator().manual_seed(trainer.args.seed)
    for _ in range(WARM_STEPS):
        rows = torch.randint(len(items), (size,), generator=order).tolist()
        collated = trainer.data_collator([{**items[k], "example_ids": k} for k in rows])
        output = model.explain(model.record(model.batch(**trainer._prepare_inputs(collated))))
        scores = torch.zeros_like(output.logits[..., -1])
        for row, k in enumerate(rows):
            scores[row, : len(wanted[k])] = torch.tensor(wanted[k])
        units = output.maskable
        scores = scores / scores[units].std()
        # Only differences within an input affect the ranking.
        apart = (output.logits[..., -1] - scores) * units
        apart = apart - (apart.sum(-1) / units.sum(-1))[:, None] * units
        loss = (apart.square().sum(-1) / units.sum(-1)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


# Changed training arguments or config fields; empty if `run` makes the change.
CHOICES: dict[str, dict[str, Any]] = {
    "recipe": {},
    "mask_baseline": {"args": {"baseline_steps": 0}},
    "resampled_baseline": {},
    "no_complement": {},
    "double_complement": {},
    "in_probability": {},
    "log_uniform": {},
    "few_units": {},
    "every_state": {},
    "straight_through": {},
    "annealed": {},
    "soft": {"config": {"temperature": 1.0}},
    "hard": {"config": {"temperature": 0.25}},
    "no_context": {"config": {"read_context": False}},
    "own_means": {"config": {"share_mean": False}},
    "wide": {},
    "attention_between_units": {"args": {"learning_rate": 3e-3}},
    "reads_middle_state": {},
    "warm_start_ig": {"args": {"max_steps": 300}},
    "warm_start_loo": {"args": {"max_steps": 300}},
    "small_batches": {"args": {"per_device_train_batch_size": 32, "max_steps": 800}},
    "slow": {"args": {"learning_rate": 3e-3, "level_learning_rate": 3e-3}},
    "fast": {"args": {"learning_rate": 3e-2, "level_learning_rate": 3e-2}},
    "long": {"args": {"max_steps": 800}},
}
LOSSES: dict[str, Callable[..., Tensor]] = {
    "no_complement": weighted(0.0),
    "double_complement": weighted(2.0),
    "in_probability": in_probability,
}
OBJECTIVES = {"log_uniform": LogUniform, "every_state": EveryState, "few_units": FewUnits}


def run(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Trains and measures one variant."""
    set_seed(args.seed)
    tokenizer = AutoTokenizer.from_pretrained(args.base_model)
    base = AutoModelForSequenceClassification.from_pretrained(args.base_model, dtype=torch.float32).eval()
    narrow = DiffMaskConfig.probe_size
    if name == "wide":
        DiffMaskConfig.probe_size = property(lambda self: 2 * narrow.fget(self))  # type: ignore
    texts = load_texts(str(args.shared / "data" / "sst2_sentences_train.jsonl.gz"))
    training, validation = train_validation_split(texts, args.seed)
    choice = CHOICES[name]
    config = {**recipe_config("path"), **choice.get("config", {})}
    model = DiffMaskModel.from_base_model(base, tokenizer, **config)
    DiffMaskConfig.probe_size = narrow  # type: ignore
    plain = DiffMaskModel.from_base_model(base, tokenizer).eval()
    if name in ("attention_between_units", "reads_middle_state"):
        with_added(model, attends=name == "attention_between_units")
    table = base.get_input_embeddings().weight.detach()
    callbacks: list[TrainerCallback] = []
    if name == "annealed":
        callbacks.append(Anneal())
    if name == "resampled_baseline":
        callbacks.append(Resampled([table[tokenizer.mask_token_id], table[tokenizer.pad_token_id]]))
    length = max_length(base, tokenizer)
    with tempfile.TemporaryDirectory() as output:
        settings = DiffMaskTrainingArguments(
            output_dir=output,
            recipe="path",
            seed=args.seed,
            report_to=[],
            save_strategy="no",
            eval_strategy="no",
            load_best_model_at_end=False,
            **choice.get("args", {}),
        )
        trainer = DiffMaskTrainer(
            model,
            settings,
            train_dataset=TextFeatures(tokenizer, training, length),
            eval_dataset=TextFeatures(tokenizer, validation, length),
            processing_class=tokenizer,
            callbacks=callbacks,
        )
        if name in OBJECTIVES:
            trainer.objective = OBJECTIVES[name](model.config.num_states)
        kept = objective.path_loss, objective.draw, objective.budgets
        begun = time.perf_counter()
        try:
            objective.path_loss = LOSSES.get(name, objective.path_loss)
            if name == "straight_through":
                objective.draw = straight_through
            if name == "few_units":
                objective.budgets = numbers_of_units
            if name.startswith("warm_start"):
                warm_start(trainer, plain, tokenizer, training, name.rpartition("_")[-1])
            trainer.train()
        finally:
            objective.path_loss, objective.draw, objective.budgets = kept
        minutes = (time.perf_counter() - begun) / 60
    model.eval()
    items = TextFeatures(tokenizer, validation[:MEASURED], length).items
    explainers = Explainers(model, plain, None, args.seed)
    scores, _ = rankable(items, attribute(explainers, tokenizer, items, "diffmask").scores, PRESETS["hf_diffmask"])
    found: dict[str, Any] = {"minutes": minutes, "settings": json.loads(json.dumps(choice)), "inputs": len(items)}
    for way in args.replacements:
        values = measured(explainers, tokenizer, items, scores, PRESETS["hf_diffmask"]._replace(replacement=way))
        found[way] = {figure: float(values[figure].mean()) for figure in FIGURES}
    return found


def main() -> None:
    """Runs variants, or prints the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("choices", nargs="+", choices=[*CHOICES, "table"])
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="folder of models and data")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--base_model", type=Path, help="by default minilm-sst2")
    parser.add_argument("--replacements", nargs="+", default=REPLACEMENTS, choices=REPLACEMENTS)
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args()
    args.base_model = args.base_model or args.shared / "models" / "minilm-sst2"
    torch.set_num_threads(args.threads)
    logging.disable_progress_bar()
    for name in args.choices:
        results = json.loads(args.results.read_text()) if args.results.is_file() else {}
        if name == "table":
            for key, of_seeds in results.get("choices", {}).items():
                for seed, row in of_seeds.items():
                    every = [float(np.mean([row[way][figure] for way in args.replacements])) for figure in FIGURES]
                    cells = [f"{every[0]:.3f} / {every[1]:.3f}"]
                    cells += [f"{row[way][FIGURES[0]]:.3f} / {row[way][FIGURES[1]]:.3f}" for way in args.replacements]
                    print(f"| {key} | {seed} | {' | '.join(cells)} |")
            continue
        found = run(name, args)
        print(name, json.dumps(found), flush=True)
        machine = f"{platform.machine()}, {args.threads} threads, torch {torch.__version__}"
        choices = results.get("choices", {})
        choices[name] = {**choices.get(name, {}), str(args.seed): found}
        args.results.write_text(json.dumps({"machine": machine, "choices": choices}, indent=1))


if __name__ == "__main__":
    main()
