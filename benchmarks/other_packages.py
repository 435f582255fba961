"""Results of other packages for the same tokens: AttnLRP scores, and ferret's and time_interpret's own figures.

These packages need an older Transformers, so this script runs in its own environment, without hf_diffmask:

    python3.11 -m venv others
    others/bin/pip install torch "transformers==4.51.3" "numpy<2" "datasets<3" "pandas<3" "pyarrow<20" "captum<0.8" \\
        accelerate joblib lime overrides pytreebank scikit-learn seaborn sentencepiece
    others/bin/pip install --no-deps shap slicer numba llvmlite cloudpickle
    others/bin/pip install --no-deps lxt==2.1 ferret-xai==0.4.2 time-interpret==0.3.0
    others/bin/python benchmarks/other_packages.py --model MODEL --attributions attributions/ig.jsonl --output others

The attributions come from `hf-diffmask evaluate`. Writes attn_lrp.jsonl for `hf-diffmask evaluate --attributions
attn_lrp=FILE`, and figures.json for `faithfulness.py parity`.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BatchEncoding

# Modules that these packages import, that we do not use, and that need more packages.
for unused in ("thermostat", "lxt.efficient.models.vit_torch", "lxt.efficient.zennit_patches"):
    sys.modules[unused] = MagicMock()


class Numbers:
    """A tokenizer with ids as text: ferret turns ids into text and back, and with words some ids would change."""

    mask_token_id, cls_token = 103, "[CLS]"

    def __init__(self, tokenizer: Any):
        self.tokenizer = tokenizer

    def decode(self, ids: Any) -> str:
        return " ".join(map(str, ids))

    def __call__(self, text: str | list[str], **kwargs: Any) -> BatchEncoding:
        texts = [text] if isinstance(text, str) else text
        rows = [self.tokenizer.build_inputs_with_special_tokens([int(one) for one in row.split()]) for row in texts]
        return self.tokenizer.pad({"input_ids": rows}, return_tensors="pt")


def ferret(model: Any, tokenizer: Any, ids: list[int], scores: list[float], target: int) -> dict[str, float]:
    """ferret's comprehensiveness and sufficiency, with its defaults."""
    from ferret.evaluators.faithfulness_measures import (
        AOPC_Comprehensiveness_Evaluation,
        AOPC_Sufficiency_Evaluation,
    )
    from ferret.explainers.explanation import Explanation

    numbers = Numbers(tokenizer)
    tokens = tokenizer.convert_ids_to_tokens(ids)
    explanation = Explanation(numbers.decode(ids[1:-1]), tokens, np.array(scores), "other", target)
    evaluations = {
        "comprehensiveness": AOPC_Comprehensiveness_Evaluation(model, numbers),
        "sufficiency": AOPC_Sufficiency_Evaluation(model, numbers),
    }
    return {name: float(one.compute_evaluation(explanation, target).score) for name, one in evaluations.items()}


def time_interpret(model: Any, ids: list[int], scores: list[float], target: int) -> dict[str, float]:
    """time_interpret's figures, with its defaults, for the tokens that are not special."""
    from tint.metrics.comprehensiveness import comprehensiveness
    from tint.metrics.log_odds import log_odds
    from tint.metrics.sufficiency import sufficiency

    def forward(inner: torch.Tensor) -> torch.Tensor:
        # time_interpret adds noise with deviation 0 to the ids, which makes them floats.
        ends = torch.tensor(ids)[[0, -1]].expand(len(inner), 2)
        return model(torch.cat([ends[:, :1], inner.round().long(), ends[:, 1:]], 1)).logits

    inner, attributions = torch.tensor([ids[1:-1]]), torch.tensor([scores[1:-1]])
    measures = {"comprehensiveness": comprehensiveness, "sufficiency": sufficiency, "log_odds": log_odds}
    return {name: measure(forward, inner, attributions, target=target) for name, measure in measures.items()}


def attn_lrp(model: Any, ids: list[int]) -> list[float]:
    """Relevance of each token for the predicted class's logit. The model's classes must be patched already."""
    embedded = model.get_input_embeddings()(torch.tensor([ids])).detach().requires_grad_()
    model(inputs_embeds=embedded, attention_mask=torch.ones(1, len(ids))).logits.max(-1).values.sum().backward()
    return (embedded * embedded.grad).sum(-1)[0].tolist()


def main() -> None:
    """Runs all three packages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder of a BERT classifier")
    parser.add_argument("--attributions", required=True, help="JSON lines with input_ids and scores")
    parser.add_argument("--output", required=True, help="folder for attn_lrp.jsonl and figures.json")
    parser.add_argument("--limit", type=int, default=200, help="inputs to measure by ferret and time_interpret")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    os.makedirs(args.output, exist_ok=True)
    lines = [json.loads(line) for line in Path(args.attributions).read_text().splitlines()]
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = AutoModelForSequenceClassification.from_pretrained(args.model, torch_dtype=torch.float32).eval()
    figures = []
    for line in lines[: args.limit]:
        ids, scores = line["input_ids"], line["scores"]
        with torch.no_grad():
            target = int(model(torch.tensor([ids])).logits.argmax())
        measured = {
            "ferret": ferret(model, tokenizer, ids, scores, target),
            "time_interpret": time_interpret(model, ids, scores, target),
        }
        figures.append({"input_ids": ids, "scores": scores, "target": target, **measured})
    (Path(args.output) / "figures.json").write_text(json.dumps(figures))

    # lxt patches classes for the whole process, so it runs last, on a newly loaded model.
    from lxt.efficient import monkey_patch
    from transformers.models.bert import modeling_bert

    unpatched = [model(torch.tensor([line["input_ids"]])).logits.detach() for line in lines[:20]]
    begun = time.perf_counter()
    for line in lines[:100]:
        with torch.no_grad():
            model(torch.tensor([line["input_ids"]]))
    forward = (time.perf_counter() - begun) / len(lines[:100])
    monkey_patch(modeling_bert)
    patched = modeling_bert.BertForSequenceClassification.from_pretrained(args.model, torch_dtype=torch.float32).eval()
    for line, before in zip(lines, unpatched, strict=False):
        torch.testing.assert_close(patched(torch.tensor([line["input_ids"]])).logits, before, atol=1e-4, rtol=1e-4)
    patched.requires_grad_(False)
    begun = time.perf_counter()
    scores = [attn_lrp(patched, line["input_ids"]) for line in lines]
    seconds = (time.perf_counter() - begun) / len(lines)
    with open(Path(args.output) / "attn_lrp.jsonl", "w") as file:
        for line, of_line in zip(lines, scores, strict=True):
            file.write(json.dumps({"input_ids": line["input_ids"], "scores": of_line}) + "\n")
    print(f"AttnLRP of {len(lines)} inputs, one by one: {seconds / forward:.1f} forward passes each")


if __name__ == "__main__":
    main()
