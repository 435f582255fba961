"""Helpers for tests in several folders."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import torch
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    pipeline,
)

import hf_diffmask
from hf_diffmask import DiffMaskModel, DiffMaskTrainer, DiffMaskTrainingArguments
from hf_diffmask.data.features import TextFeatures, collate
from hf_diffmask.testbeds.grammar import sentences
from hf_diffmask.training.recipes.calibration import calibrate
from hf_diffmask.training.recipes.registry import recipe_config
from hf_diffmask_entry import main

ROOT = Path(__file__).parent.parent
TEXT = "the plot is dull , but the cast is warm and funny"
STATE_NAMES = ["embeddings", "block.0.input", "block.0.output"]
WRITE, READ = "hf_test_write_token", "hf_test_read_token"
# Votes of each state alone, by probes that are not told the prediction.
HIDDEN = {"masking": "hidden", "class_conditional": False, "read_context": False}
SMALL = {"vocab_size": 60, "max_position_embeddings": 40, "pad_token_id": 0}
ARCHITECTURES = {
    "bert": {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24},
    "distilbert": {"dim": 16, "n_layers": 3, "n_heads": 2, "hidden_dim": 24},
    "roberta": {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24},
    "electra": {"hidden_size": 16, "embedding_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2,
                "intermediate_size": 24},
    "albert": {"hidden_size": 16, "embedding_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2,
               "intermediate_size": 24},
    "deberta-v2": {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24},
    "ctrl": {"n_embd": 16, "n_layer": 3, "n_head": 2, "dff": 24, "n_positions": 40},
    "gpt2": {"n_embd": 16, "n_layer": 3, "n_head": 2, "n_positions": 40},
    "modernbert": {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24},
    "llama": {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "num_key_value_heads": 2,
              "intermediate_size": 24},
}  # fmt: skip
QUESTION = "when was the old mill sold ?"
CONTEXT = "The old mill by the river was built in 1871 . It was sold to a baker in 1902 , who kept bees there ."
OTHERS = [
    ("who kept bees ?", "A baker kept bees behind the mill ."),
    ("what is red ?", "The door of the shop is red , its roof is grey and its sign is blue ."),
    ("where does the road end ?", "The road ends at the lake . From there a path leads on to the hills ."),
]


def refused(capsys, arguments, *parts):
    """Runs a command that must end with status 2 and one sentence, without a traceback."""
    assert main(arguments) == 2
    captured = capsys.readouterr()
    message = captured.err.strip().splitlines()[-1]
    assert message.startswith("hf-diffmask: ") and "Traceback" not in captured.err
    for part in parts:
        assert part in message
    return message


@contextmanager
def piped(content):
    """The path of a pipe that holds some bytes, such as `<(command)` gives in a shell. At most 64 KiB."""
    read, write = os.pipe()
    try:
        os.write(write, content)
        os.close(write)
        yield f"/dev/fd/{read}"
    finally:
        os.close(read)


def make_trainer(classifier, tokenizer, folder, recipe="ablation", masking="input", **settings):
    torch.manual_seed(0)
    explainer = DiffMaskModel.from_base_model(classifier, tokenizer, **recipe_config(recipe, masking))
    short = {"max_steps": 4, "masks": 2, "per_device_train_batch_size": 8, "warmup_steps": 0, "eval_delay": 0}
    settings = {**short, **settings}
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


def command(hub, *arguments, token=WRITE, home="home", **env):
    """Status and output of `hf-diffmask ...` in a new process."""
    done = subprocess.run(
        [sys.executable, "-m", "hf_diffmask.cli", *map(str, arguments)],
        env={**hub.environment(token, home, **env), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done.returncode, done.stdout + done.stderr


def base_on(hub):
    """Puts the bundled classifier into a repo; returns the commit."""
    files = {path.name: path.read_bytes() for path in Path(hf_diffmask.BUNDLED_CLASSIFIER).iterdir()}
    return hub.commit("acme/base", files)


def scores(hub, model, **more):
    """Scores of a text from the pipeline in a new process."""
    code = f"""
    import json, hf_diffmask
    from transformers import pipeline
    result = pipeline("diffmask-attribution", model={str(model)!r})({TEXT!r})
    print(json.dumps([result["score"], result["drop"], *[token["evidence"] for token in result["tokens"]]]))
    """
    return json.loads(hub.run(code, **more).splitlines()[-1])


def build(name, **config):
    config = AutoConfig.for_model(name, **{**SMALL, **ARCHITECTURES[name], **config})
    return AutoModelForSequenceClassification.from_config(config)


def path_config(masking="input", target="prediction"):
    """The fields that the recipe `path` set. It trains no more, but its explainers load and explain."""
    return {
        "objective": "path", "mask_special_tokens": False, "normalize_states": True,
        "class_conditional": target == "prediction", "read_context": masking == "input", "share_mean": True,
        "path_gradient": False, "initial_logit": 0.0, "masking": masking, "target": target,
    }  # fmt: skip


def path_of(classifier, tokenizer, **config):
    torch.manual_seed(0)
    return DiffMaskModel.from_base_model(classifier, tokenizer, **{**path_config(), **config}).eval()


def batches_of(tokenizer, count=40, size=16):
    features = TextFeatures(tokenizer, sentences(count, seed=1), 64)
    made = []
    for start in range(0, count, size):
        batch = collate(tokenizer, [features[k] for k in range(start, min(count, start + size))])
        made.append({name: value for name, value in batch.items() if name != "example_ids"})
    return made


def path_pipeline(classifier, tokenizer, **config):
    torch.manual_seed(0)
    explainer = DiffMaskModel.from_base_model(classifier, tokenizer, **{**path_config(), **config}).eval()
    features = TextFeatures(tokenizer, sentences(40, seed=1), 64)
    batch = collate(tokenizer, [features[k] for k in range(40)])
    del batch["example_ids"]
    calibrate(explainer, [explainer.batch(**batch)])
    return pipeline(hf_diffmask.TASK, model=explainer, tokenizer=tokenizer, device="cpu")


def recorded_of(explainer, special_tokens_mask=None, **inputs):
    """Recorded pass of the base model over a batch of features."""
    return explainer.record(explainer.batch(special_tokens_mask, **inputs))


def masked_output(explainer, mask, state=-1, recorded=None, **inputs):
    """Output of the base model under a mask."""
    return explainer.masked(recorded_of(explainer, **inputs) if recorded is None else recorded, mask, state)
