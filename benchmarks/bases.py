"""Base models as callers have them: whether each kind is explained, trained for, and saved.

    pip install torchao optimum-quanto      (optional: kinds whose library is missing are named as such)
    python benchmarks/bases.py              (about 5 minutes on 2 cores)

For each kind, made from the bundled classifier: explains two texts in a batch and compares the first with itself
alone; then trains two steps, saves the explainer, loads it with the base model in memory, and compares. Prints the
differences, or the sentence that refuses the kind.
"""

import argparse
import importlib.metadata
import json
import platform
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertForSequenceClassification,
    PreTrainedModel,
    pipeline,
)
from transformers.utils import logging

import hf_diffmask
from hf_diffmask import DiffMaskModel, DiffMaskTrainer, DiffMaskTrainingArguments, recipe_config
from hf_diffmask.base.fingerprint import fingerprint
from hf_diffmask.data.features import TextFeatures
from hf_diffmask.errors import DiffMaskError
from hf_diffmask.explainer.guest import load_base
from hf_diffmask.testbeds.grammar import sentences

FOLDER = hf_diffmask.BUNDLED_CLASSIFIER
RESULTS = Path(__file__).parent / "results"


def plain(**options: Any) -> PreTrainedModel:
    return AutoModelForSequenceClassification.from_pretrained(FOLDER, dtype=torch.float32, **options).eval()


def compiled_in_place() -> Any:
    model = plain()
    model.compile(backend="eager")
    return model


def torchao(name: str) -> Any:
    import torchao.quantization as ao

    model = plain()
    ao.quantize_(model, getattr(ao, name)())
    return model


def quanto() -> Any:
    from optimum.quanto import freeze, qint8, quantize

    model = plain()
    quantize(model, weights=qint8)
    freeze(model)
    return model


def lora() -> Any:
    import peft

    config = peft.LoraConfig(task_type="SEQ_CLS", target_modules=["query", "value"], init_lora_weights=False)
    return peft.get_peft_model(plain(), config).eval()


def prompts() -> Any:
    import peft

    return peft.get_peft_model(plain(), peft.PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=4))


def adapter_folder() -> Any:
    with tempfile.TemporaryDirectory() as folder:
        lora().save_pretrained(folder)
        return load_base(folder)[0]


def blocks_on_disk() -> Any:
    places = {"bert.embeddings": "cpu", "bert.encoder": "disk", "bert.pooler": "cpu", "classifier": "cpu"}
    return plain(device_map=places, offload_folder=tempfile.mkdtemp())


def all_offloaded() -> Any:
    from accelerate import cpu_offload

    return cpu_offload(plain(), torch.device("cpu"))


class Subclass(BertForSequenceClassification):
    """A class of one's own."""


KINDS: dict[str, Callable[[], Any]] = {
    "plain": plain,
    "bfloat16": lambda: plain().bfloat16(),
    "subclass": lambda: Subclass.from_pretrained(FOLDER),
    "model.compile()": compiled_in_place,
    "torch.compile(model)": lambda: torch.compile(plain(), backend="eager"),
    "PEFT, LoRA": lora,
    "PEFT, merged": lambda: lora().merge_and_unload(),
    "PEFT, learned prompts": prompts,
    "folder of an adapter": adapter_folder,
    "dynamic quantisation": lambda: torch.ao.quantization.quantize_dynamic(plain(), {torch.nn.Linear}),
    "torchao, int8 weights": lambda: torchao("Int8WeightOnlyConfig"),
    "torchao, int8 weights and activations": lambda: torchao("Int8DynamicActivationInt8WeightConfig"),
    "quanto, int8 weights": quanto,
    "blocks on disk": blocks_on_disk,
    "all offloaded": all_offloaded,
    "DataParallel": lambda: torch.nn.DataParallel(plain()),
    "plain module": lambda: torch.nn.Linear(2, 2),
    "path": lambda: FOLDER,
}


def numbers(result: dict) -> list[float]:
    return [result["score"], *(token["score"] for token in result["tokens"])]


def difference(first: dict, second: dict) -> float:
    return max(abs(a - b) for a, b in zip(numbers(first), numbers(second), strict=True))


def tried(make: Callable[[], Any], tokenizer: Any) -> dict[str, Any]:
    """What happened with a kind."""
    texts = ["a warm and quietly funny film", "the plot is dull , the cast looks tired and nobody laughs"]
    try:
        base = make()
        explainer = DiffMaskModel.from_base_model(base, tokenizer, **recipe_config()).eval()
        explain = pipeline(hf_diffmask.TASK, model=explainer, tokenizer=tokenizer, device="cpu")
        found = {"batch and single differ by": difference(explain(texts, batch_size=2)[0], explain(texts[0]))}
        before = fingerprint(explainer.base, torch.float32)
        with tempfile.TemporaryDirectory() as folder:
            args = DiffMaskTrainingArguments(
                output_dir=folder, max_steps=2, baseline_steps=1, masks=2, per_device_train_batch_size=4,
                save_strategy="no", load_best_model_at_end=False, use_cpu=True, report_to="none", disable_tqdm=True,
                logging_steps=1000,
            )  # fmt: skip
            train, validation = (TextFeatures(tokenizer, sentences(8, seed), 64) for seed in (0, 1))
            trainer = DiffMaskTrainer(explainer, args, train, validation, processing_class=tokenizer)
            trainer.train()
            trainer.save_model()
            again = DiffMaskModel.from_pretrained(folder, base_model=base).eval()
        explain_again = pipeline(hf_diffmask.TASK, model=again, tokenizer=tokenizer, device="cpu")
        found["trained and loaded differ by"] = difference(explain(texts[0]), explain_again(texts[0]))
        found["base unchanged"] = fingerprint(explainer.base, torch.float32) == before
        return found
    except ImportError as error:
        return {"not tried": str(error)}
    except DiffMaskError as error:
        # Without folders of the machine.
        return {"refused": re.sub(r"(/[\w.-]+)+", "FOLDER", str(error))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    args = parser.parse_args()
    logging.disable_progress_bar()
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    found = {}
    for kind in args.kinds:
        found[kind] = tried(KINDS[kind], tokenizer)
        print(f"{kind}: {found[kind]}", flush=True)
    versions = {}
    for name in ("torch", "transformers", "peft", "torchao", "optimum-quanto"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    table = {"kinds": found, "machine": f"{platform.machine()}, 2 cores", "seed": 0, "versions": versions}
    (RESULTS / "bases.json").write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
