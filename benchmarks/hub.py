"""Size of an explainer on the Hub, and its load time compared with its base model.

    python benchmarks/hub.py        (5 minutes)

Base model: BERT-base with random weights and two classes; 14 states with the embeddings and the last output.
Explainer: the default recipe, target `prediction`. Sizes are for model.safetensors. Each load runs in a fresh
process, from a folder in the file cache: in turns the base model, and the explainer with its base model. Imports are
not timed.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from transformers import BertConfig, BertForSequenceClassification

from hf_diffmask import DiffMaskModel
from hf_diffmask.training.recipes.registry import recipe_config

RESULTS = Path(__file__).parent / "results" / "hub.json"
LOAD = {
    "base": "AutoModelForSequenceClassification.from_pretrained(sys.argv[1], dtype='float32')",
    "explainer": "hf_diffmask.DiffMaskModel.from_pretrained(sys.argv[2]).base",
}
CODE = """
import sys, time, torch, hf_diffmask
from transformers import AutoModelForSequenceClassification
torch.set_num_threads(1)
begun = time.perf_counter()
{load}
print(time.perf_counter() - begun)
"""


def main() -> None:
    """Measures sizes and load times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=11)
    args = parser.parse_args()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as name:
        base_folder, folder, half = (Path(name) / part for part in ("base", "explainer", "half"))
        BertForSequenceClassification(BertConfig(num_labels=2)).save_pretrained(base_folder)
        base = BertForSequenceClassification.from_pretrained(base_folder)
        explainer = DiffMaskModel.from_base_model(base, **recipe_config())
        explainer.save_pretrained(folder)
        explainer.half().save_pretrained(half)
        size, half_size = ((one / "model.safetensors").stat().st_size / 1e6 for one in (folder, half))
        seconds: dict[str, list[float]] = {part: [] for part in LOAD}
        for number in range(args.rounds + 1):
            for part, load in LOAD.items():
                command = [sys.executable, "-c", CODE.format(load=load), str(base_folder), str(folder)]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                if number > 0:  # the first round fills the file cache
                    seconds[part].append(float(done.stdout))
    ratios = [both / alone for alone, both in zip(seconds["base"], seconds["explainer"], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    found = {
        "machine": f"{platform.machine()}, 1 thread, torch {torch.__version__}",
        "states": explainer.config.num_states,
        "megabytes": {"float32": size, "float16": half_size},
        "seconds": {part: statistics.median(values) for part, values in seconds.items()},
        "ratio": {"median": middle, "quartiles": [low, high], "rounds": args.rounds},
    }
    RESULTS.write_text(json.dumps(found, indent=1))
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
