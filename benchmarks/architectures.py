"""Architectures: what works with a tiny random model of each, and what is refused.

    python benchmarks/architectures.py              (about 8 minutes on one core, beside other work)
    python benchmarks/architectures.py --names bert xlnet --print

For each architecture in Transformers' list of sequence classifiers: builds a tiny model, and runs each check by
itself. A cell is a measured number, or the sentence that refuses it. Other tasks are tried with one architecture of
each family. Writes `results/architectures.json` and the tables of `docs/architectures.md`.
"""

import argparse
import copy
import inspect
import json
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from tiny_bases import tiny, tokenizer
from torch import Tensor
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    pipeline,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES
from transformers.utils import logging

import hf_diffmask
from hf_diffmask import DiffMaskModel, DiffMaskTrainer, DiffMaskTrainingArguments, recipe_config
from hf_diffmask.base.running import record
from hf_diffmask.base.states import state_names
from hf_diffmask.errors import DiffMaskError
from hf_diffmask.explainer.inputs import inputs_of
from hf_diffmask.tasks.registry import TASKS as TASK_CLASSES
from hf_diffmask.tasks.registry import task_of
from hf_diffmask.testbeds.grammar import sentences

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs" / "architectures.md"
LONG, SHORT = "the plot is dull , but the cast is warm and funny", "the film is warm"
OTHER = "every scene was messy and clumsy , yet the music was fresh"  # as long as LONG
# One architecture of each family: `paper` and all tasks are tried with these.
FAMILIES = (
    "bert", "distilbert", "albert", "deberta-v2", "modernbert", "xlnet", "longformer", "xlm", "funnel", "t5", "bart",
    "gpt2", "llama", "gemma", "qwen3_moe", "fnet", "mpnet", "squeezebert",
)  # fmt: skip
TASKS: dict[str, tuple[Any, dict[str, Any]]] = {
    "text-classification": (AutoModelForSequenceClassification, {"num_labels": 3}),
    "multi-label": (
        AutoModelForSequenceClassification, {"num_labels": 3, "problem_type": "multi_label_classification"}
    ),
    "regression": (AutoModelForSequenceClassification, {"num_labels": 1, "problem_type": "regression"}),
    "token-classification": (AutoModelForTokenClassification, {"num_labels": 3}),
    "question-answering": (AutoModelForQuestionAnswering, {}),
    "fill-mask": (AutoModelForMaskedLM, {}),
    "sentence-similarity": (AutoModel, {}),
}  # fmt: skip
CHECKS = (
    "states", "recorded", "keep all", "keep none", "padding", "trains", "pipeline", "reload", "hidden: keep all",
    "hidden: keep none", "paper", "paper, hidden",
)  # fmt: skip
EXACT = 1e-4
"""Largest difference that rounding explains: logits of these models are about 1."""


class Tried:
    """A base model, its tokenizer and the checks that were run with it."""

    def __init__(self, base: PreTrainedModel, tokenizer: PreTrainedTokenizerBase):
        self.base, self.tokenizer = base, tokenizer
        task = task_of(base)()
        self.task = task.name
        pair = self.task == "question-answering"
        self.texts = [("who is funny", text) if pair else text for text in (LONG, SHORT, OTHER)]
        if self.task == "fill-mask":  # the second word
            self.texts = [" ".join([one.split()[0], "[MASK]", *one.split()[2:]]) for one in (LONG, SHORT, OTHER)]
        self.given = [
            ("who is funny", text) if pair else text for text in (one for one in sentences(16) if len(one) < 150)
        ]

    def explainer(self, recipe: str = "ablation", masking: str = "input", **more: Any) -> DiffMaskModel:
        torch.manual_seed(0)
        config = {**recipe_config(recipe, masking, self.task), **more}
        return DiffMaskModel.from_base_model(self.base, self.tokenizer, **config).eval()

    def features(self, *texts: Any) -> dict[str, Tensor]:
        batch = self.tokenizer(
            *([list(part) for part in zip(*texts, strict=True)] if isinstance(texts[0], tuple) else [list(texts)]),
            padding=True, return_tensors="pt", return_special_tokens_mask=True,
        )  # fmt: skip
        if TASK_CLASSES[self.task].at_positions:  # the second word
            batch["explained_mask"] = torch.zeros_like(batch["input_ids"])
            batch["explained_mask"][:, 2] = 1
            batch["special_tokens_mask"][batch["input_ids"] == self.tokenizer.mask_token_id] = 1
        return dict(batch)

    def states(self) -> Any:
        names = state_names(self.base)
        wanted = len(self._reported()) + 1
        if len(names) != wanted:
            raise AssertionError(f"{len(names)} states, but Transformers reports {wanted - 1} with the last output")
        return len(names)

    def _reported(self) -> list[Tensor]:
        output = self.base(**self._inputs(), output_hidden_states=True)
        name = next(one for one in ("encoder_hidden_states", "hidden_states") if output.get(one) is not None)
        return list(output[name])

    def _inputs(self) -> dict[str, Tensor]:
        taken = inspect.signature(type(self.base).forward).parameters
        return {name: value for name, value in self.features(self.texts[0]).items() if name in taken}

    @torch.no_grad()
    def recorded(self) -> float:
        reported = self._reported()
        names = state_names(self.base)[1:-1]
        _, states = record(self.base, self._inputs(), names)
        if len(states) != len(reported) - 1:
            raise AssertionError(f"{len(states)} blocks, and {len(reported)} hidden states reported")
        return max(_difference(one, other) for one, other in zip(states, reported, strict=False))

    @torch.no_grad()
    def keep_all(self, **config: Any) -> float:
        explainer = self.explainer(**config)
        recorded = explainer.record(explainer.batch(**self.features(*self.texts)))
        keep = torch.ones_like(recorded.batch.maskable)
        numbers = [0] if explainer.config.masks_inputs else range(explainer.config.num_states)
        return max(_difference(explainer.masked(recorded, keep, number), recorded.target) for number in numbers)

    @torch.no_grad()
    def keep_none(self, **config: Any) -> float:
        explainer = self.explainer(**config)
        if not explainer.config.masks_inputs:
            # States of special tokens know the text.
            explainer.config.mask_special_tokens = True
        recorded = explainer.record(explainer.batch(**self.features(self.texts[0], self.texts[2])))
        if _difference(recorded.target[0], recorded.target[1]) < 10 * EXACT:
            raise AssertionError("the two texts have one output")
        none = torch.zeros_like(recorded.batch.maskable)
        numbers = [0] if explainer.config.masks_inputs else range(explainer.config.num_states)
        found = [explainer.masked(recorded, none, number) for number in numbers]
        return max(_difference(one[0], one[1]) for one in found)

    @torch.no_grad()
    def padding(self) -> float:
        explainer = self.explainer()
        both = explainer.record(explainer.batch(**self.features(*self.texts[:2])))
        one = explainer.record(explainer.batch(**self.features(self.texts[1])))
        units = both.batch.units[1]
        whole = both.target[1]
        # Outputs at positions: padding has none.
        return _difference(whole if whole.shape == one.target[0].shape else whole[..., units], one.target[0])

    def trains(self, folder: str, recipe: str = "ablation", masking: str = "input") -> str:
        explainer = self.explainer(recipe, masking)
        before = copy.deepcopy(explainer.state_dict())
        base_before = copy.deepcopy(self.base.state_dict())
        args = DiffMaskTrainingArguments(
            output_dir=folder, recipe=recipe, max_steps=2, baseline_steps=1, masks=2, per_device_train_batch_size=4,
            save_strategy="no", load_best_model_at_end=False, use_cpu=True, report_to="none", disable_tqdm=True,
            logging_steps=1000, overwrite_output_dir=True,
        )  # fmt: skip
        train, validation = (
            inputs_of(explainer, self.tokenizer, texts, for_training=True)
            for texts in (self.given[:8], self.given[8:])
        )
        trainer = DiffMaskTrainer(explainer, args, train, validation, processing_class=self.tokenizer)
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        after = explainer.state_dict()
        if all(torch.equal(after[name], value) for name, value in before.items()):
            raise AssertionError("no weight has changed")
        if not all(value.isfinite().all() for name, value in after.items() if name not in ("thresholds", "costs")):
            raise AssertionError("a weight is not finite")
        if any(not torch.equal(value, base_before[name]) for name, value in self.base.state_dict().items()):
            raise AssertionError("the base model has changed")
        trainer.save_model()
        self.trained = explainer.eval()
        return "yes"

    def explained(self, explainer: DiffMaskModel) -> list[float]:
        results = pipeline(hf_diffmask.TASK, model=explainer, tokenizer=self.tokenizer, device="cpu")(
            [self._text(text) for text in self.texts[:2]], batch_size=2
        )
        found = []
        for result in results:
            parts = result if isinstance(result, list) else [result]  # of token classifiers, one for each entity
            found += [token["score"] for part in parts for token in part["tokens"]]
        return found

    def _text(self, text: Any) -> Any:
        return {"question": text[0], "context": text[1]} if isinstance(text, tuple) else text

    def runs_pipeline(self) -> str:
        found = self.explained(self.trained)
        if not all(0 <= one <= 1 for one in found):
            raise AssertionError(f"a score is {max(found)}")
        return "yes"

    def reload(self, folder: str) -> float:
        again = DiffMaskModel.from_pretrained(folder, base_model=self.base).eval()
        return max(abs(a - b) for a, b in zip(self.explained(self.trained), self.explained(again), strict=True))


def _difference(one: Tensor, other: Tensor) -> float:
    return (one.float() - other.float()).abs().max().item() if one.shape == other.shape else float("nan")


def cell(check: Callable[[], Any]) -> Any:
    """A measured value, or the sentence that says why there is none."""
    try:
        value = check()
    except DiffMaskError as error:
        return {"refused": re.sub(r"(/[\w.-]+)+", "FOLDER", str(error))}
    except AssertionError as error:
        return {"fault": str(error)}
    except Exception as error:  # whatever the base model raises is a finding
        return {"fault": f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}"}
    if isinstance(value, float) and not value <= EXACT:
        return {"fault": f"differs by {value:.2g}"}
    return value


def rows_of(tried: Tried, papers: bool) -> dict[str, Any]:
    """All checks of one base model. Whatever `from_base_model` refuses is refused as a whole."""
    found: dict[str, Any] = {}
    made = cell(lambda: tried.explainer() and "yes")
    if made != "yes":
        return {"explainer": made}
    hidden = {"recipe": "paper", "masking": "hidden"}
    with tempfile.TemporaryDirectory() as folder:
        checks: dict[str, Callable[[], Any]] = {
            "states": tried.states,
            "recorded": tried.recorded,
            "keep all": tried.keep_all,
            "keep none": tried.keep_none,
            "padding": tried.padding,
            "trains": lambda: tried.trains(f"{folder}/a"),
            "pipeline": tried.runs_pipeline,
            "reload": lambda: tried.reload(f"{folder}/a"),
            "hidden: keep all": lambda: tried.keep_all(**hidden),
            "hidden: keep none": lambda: tried.keep_none(**hidden),
        }
        if papers:
            checks["paper"] = lambda: tried.trains(f"{folder}/b", "paper")
            checks["paper, hidden"] = lambda: tried.trains(f"{folder}/c", "paper", "hidden")
        for name, check in checks.items():
            if name in ("pipeline", "reload") and found["trains"] != "yes":
                continue  # nothing was trained
            found[name] = cell(check)
    return found


def try_one(name: str, task: str, tokenizer: PreTrainedTokenizerBase, papers: bool) -> dict[str, Any]:
    auto_class, labels = TASKS[task]
    try:
        base = tiny(name, auto_class, **labels)
    except Exception as error:  # of Transformers
        if "Unrecognized configuration class" in str(error):
            return {"explainer": {"not built": "Transformers has no such class"}}
        return {"explainer": {"not built": f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}"}}
    try:
        return rows_of(Tried(base, tokenizer), papers)
    except DiffMaskError as error:
        return {"explainer": {"refused": str(error)}}


def short(value: Any) -> str:
    """A cell of the table."""
    if value is None:
        return ""
    if isinstance(value, dict):
        return next(iter(value))
    if isinstance(value, float):
        return "0" if value == 0 else f"{value:.0e}"
    return str(value)


def is_fault(value: Any) -> bool:
    return isinstance(value, dict)


def table(found: dict[str, dict[str, Any]]) -> list[str]:
    lines = [f"| architecture | {' | '.join(CHECKS)} |", "|---" * (len(CHECKS) + 1) + "|"]
    for name, row in found.items():
        if "explainer" not in row:
            lines.append(f"| `{name}` | {' | '.join(short(row.get(check)) for check in CHECKS)} |")
    return lines


def notes(found: dict[str, dict[str, Any]]) -> list[str]:
    """What is refused or fails, one line for each sentence."""
    said: dict[str, dict[str, list[str]]] = {}
    for name, row in found.items():
        for check, value in row.items():
            if is_fault(value):
                kind, sentence = next(iter(value.items()))
                sentence = re.sub(r"\b[A-Z]\w+(For[A-Z]\w+|Model)\b", "the model", sentence)
                sentence = sentence.replace("a the model", "a model")
                said.setdefault(f"{kind}: {sentence}", {}).setdefault(name, []).append(check)
    lines = []
    for sentence, of_sentence in said.items():
        names = [
            f"`{name}`" + ("" if checks == ["explainer"] else f" ({', '.join(checks)})")
            for name, checks in of_sentence.items()
        ]
        lines.append(f"- {', '.join(names)}: {sentence}")
    return lines


def task_table(found: dict[str, dict[str, dict[str, Any]]]) -> list[str]:
    lines = [f"| architecture | {' | '.join(TASKS)} |", "|---" * (len(TASKS) + 1) + "|"]
    for name, row in found.items():
        cells = []
        for task in TASKS:
            bad = [check for check, value in row[task].items() if is_fault(value)]
            cells.append("works" if not bad else short(row[task]["explainer"]) if "explainer" in bad else
                         f"works, except {', '.join(bad)}")  # fmt: skip
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", nargs="*", default=sorted(MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES))
    parser.add_argument("--families", nargs="*", default=list(FAMILIES), help="Architectures for all tasks.")
    parser.add_argument("--update", action="store_true", help="Keep earlier results of other architectures.")
    parser.add_argument("--print", action="store_true", help="Only print the results.")
    args = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    made, begun = tokenizer(), time.perf_counter()
    results = HERE / "results" / "architectures.json"
    before = json.loads(results.read_text()) if args.update else {"architectures": {}, "tasks": {}}
    found, tasks = before["architectures"], before["tasks"]
    for name in args.names:
        found[name] = try_one(name, "text-classification", made, name in FAMILIES)
        print(name, json.dumps(found[name]), flush=True)
    for name in args.families:
        tasks[name] = {task: try_one(name, task, made, False) for task in TASKS}
        print(name, json.dumps(tasks[name]), flush=True)
    result = {
        "architectures": found,
        "tasks": tasks,
        "seconds": before.get("seconds", round(time.perf_counter() - begun)),
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
    }
    tables = ["\n".join(lines) for lines in (table(found), notes(found), task_table(tasks), _task_notes(tasks))]
    print("\n\n".join(tables))
    if not args.print:
        results.write_text(json.dumps(result, indent=1) + "\n")
        head = DOCS.read_text().split("<!-- tables -->")[0]
        works = sum("explainer" not in row for row in found.values())
        counted = f"{works} of {len(found)} architectures have an explainer."
        parts = [head + "<!-- tables -->", counted, *tables[:2], "## Tasks", *tables[2:]]
        DOCS.write_text("\n\n".join(parts) + "\n")


def _task_notes(tasks: dict[str, dict[str, dict[str, Any]]]) -> list[str]:
    return notes({f"{name}, {task}": row for name, of_task in tasks.items() for task, row in of_task.items()})


if __name__ == "__main__":
    main()
