"""What each of two processes does in tests/training/test_trainer.py; `train_all` also runs in a single process."""

import json
import os
import signal
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from hf_diffmask import DiffMaskModel, DiffMaskTrainer, DiffMaskTrainingArguments
from hf_diffmask.data.features import TextFeatures
from hf_diffmask.testbeds.grammar import sentences
from hf_diffmask.training.interruption import ENDED
from hf_diffmask.training.recipes.registry import RECIPES, recipe_config
from hf_diffmask_entry import main

# Sums in another order change the last digits. Adam and centred RMSprop turn gradients as small as rounding into whole
# steps, so runs need double precision, or the small steps of a warm-up. A recipe added to the registry is compared in
# double precision.
RUNS = {f"{recipe}-double": (recipe, torch.float64, 0, 1e-10) for recipe in RECIPES}
RUNS["paper-single"] = ("paper", torch.float32, 1200, 1e-5)


def train_all(base, folder):
    """
    Trains each recipe for 50 steps of 16 inputs: whole, or as 2 processes x 2 accumulated batches x 4. An epoch has 9
    batches and leaves out 13 inputs; the 21 validation inputs fill no batch of two processes.
    """
    tokenizer = AutoTokenizer.from_pretrained(base)
    data = TextFeatures(tokenizer, sentences(157), 64), TextFeatures(tokenizer, sentences(21, seed=1), 64)
    lone = TextFeatures(tokenizer, sentences(1, seed=2), 64)  # less than one input for each process
    before = torch.get_default_dtype()
    for name, (recipe, precision, warmup, _) in RUNS.items():
        torch.set_default_dtype(precision)
        torch.manual_seed(0)
        model = AutoModelForSequenceClassification.from_pretrained(base, dtype=precision)
        explainer = DiffMaskModel.from_base_model(model, tokenizer, **recipe_config(recipe))
        assert explainer.probes.out_weight.dtype == explainer.baseline.dtype == precision
        args = DiffMaskTrainingArguments(
            output_dir=f"{folder}/{name}", recipe=recipe, margin=0.02, max_steps=50, warmup_steps=warmup,
            baseline_steps=min(5, RECIPES[recipe].settings["baseline_steps"]), eval_steps=10, eval_delay=0,
            save_steps=10, per_device_train_batch_size=16, per_device_eval_batch_size=8, masks=4, use_cpu=True,
            disable_tqdm=True,
        )  # fmt: skip
        if args.world_size == 2:
            args.per_device_train_batch_size, args.gradient_accumulation_steps = 4, 2
        trainer = DiffMaskTrainer(explainer, args, *data, processing_class=tokenizer)
        trainer.train()
        found = {**explainer.state_dict(), **trainer.objective.state_dict(prefix="objective.")}
        numbers = {"processes": args.world_size, "best": trainer.state.best_global_step, **trainer.evaluate()}
        numbers |= trainer.evaluate(lone, metric_key_prefix="lone")
        for entry in trainer.state.log_history:
            numbers |= {f"{entry['step']}.{key}": value for key, value in entry.items() if key.startswith("eval_")}
        found |= {key: torch.tensor(value, dtype=torch.float64) for key, value in numbers.items()}
        found = {key: value.detach().clone().contiguous() for key, value in found.items()}
        save_file(found, f"{folder}/{name}-{args.process_index}.safetensors")
    torch.set_default_dtype(before)


def status_of(arguments, step=None, act=None):
    """Exit status of `hf-diffmask train`; the second process acts on the loss of a step, which is then its loss."""
    computed = DiffMaskTrainer.compute_loss

    def compute_loss(self, *given, **settings):
        loss = computed(self, *given, **settings)
        return act(loss) if self.state.global_step == step and self.args.process_index == 1 else loss

    DiffMaskTrainer.compute_loss = compute_loss
    try:
        return main(arguments)
    except SystemExit as error:  # the other process has said why
        return error.code
    finally:
        DiffMaskTrainer.compute_loss = computed


def act_as_one_of_two(base, folder):
    """Trains all, then runs `hf-diffmask train`: with a loss that is not finite, SIGTERM, resumed, with a death."""
    train_all(base, folder)
    arguments = ["train", "--base_model", base, "--dataset", f"{base}/texts.jsonl", "--output_dir", f"{folder}/run",
                 "--max_steps", "6", "--per_device_train_batch_size", "4", "--baseline_steps", "1", "--masks",
                 "2"]  # fmt: skip

    def terminated(loss):
        os.kill(os.getpid(), signal.SIGTERM)
        return loss

    store = torch.distributed.distributed_c10d._get_default_store()
    statuses = {"not finite": status_of(arguments, 1, lambda loss: loss * float("nan"))}
    statuses["left"] = os.path.exists(f"{folder}/run")
    torch.distributed.barrier()
    store.delete_key(ENDED)
    torch.distributed.barrier()
    statuses["terminated"] = status_of(arguments, 2, terminated)
    statuses["resumed"] = status_of([*arguments, "--resume_from_checkpoint", "True"])
    if os.path.isdir("/proc/self/task"):  # Linux
        threads = [Path(f"/proc/self/task/{thread}/comm").read_text() for thread in os.listdir("/proc/self/task")]
        assert not any("gloo" in name for name in threads), threads
    Path(f"{folder}/{os.environ['RANK']}.json").write_text(json.dumps(statuses))
    again = torch.distributed.PrefixStore("again", store)
    torch.distributed.init_process_group("gloo", store=again, rank=int(os.environ["RANK"]), world_size=2)
    arguments += ["--overwrite_output_dir"]
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the launcher's; so the survivor has to notice by itself
    statuses["died"] = status_of(arguments, 3, lambda loss: os.kill(os.getpid(), signal.SIGKILL))
    Path(f"{folder}/{os.environ['RANK']}.json").write_text(json.dumps(statuses))


if __name__ == "__main__":
    torch.set_num_threads(1)
    act_as_one_of_two(*sys.argv[1:])
