"""How well gradients at sampled masks estimate a unit's effect: figures on `draw_with_fading` in docs/recipe.md.

    python benchmarks/gradients.py      (about a minute on 2 cores)

Trains an explainer briefly for the bundled classifier, on sentences from the demo's grammar. Then samples masks from
its gates for unseen sentences. The exact derivative of the expected divergence for a unit is
`E[D(z_i = 1) - D(z_i = 0)]`, from runs with and without the unit. Two estimates need one backward pass per mask: the
gradient at binary masks, which a straight-through estimator uses, and the gradient of `draw_with_fading`. Prints the
correlation of each estimate with the exact differences over units, by keep probability.
"""

import argparse
import tempfile

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, set_seed
from transformers.utils import logging

import hf_diffmask
from hf_diffmask import DiffMaskModel, DiffMaskTrainer, DiffMaskTrainingArguments
from hf_diffmask.data.features import TextFeatures, collate
from hf_diffmask.masks import gates
from hf_diffmask.testbeds.grammar import sentences
from hf_diffmask.training.recipes.registry import recipe_config


def trained(steps: int, seed: int) -> tuple[DiffMaskModel, TextFeatures]:
    """An explainer after a few steps of training, and unseen inputs."""
    tokenizer = AutoTokenizer.from_pretrained(hf_diffmask.BUNDLED_CLASSIFIER)
    base = AutoModelForSequenceClassification.from_pretrained(hf_diffmask.BUNDLED_CLASSIFIER, dtype=torch.float32)
    with tempfile.TemporaryDirectory() as folder:
        args = DiffMaskTrainingArguments(
            output_dir=folder, recipe="fast", max_steps=steps, seed=seed, eval_strategy="no", save_strategy="no"
        )
        set_seed(seed)
        explainer = DiffMaskModel.from_base_model(base, tokenizer, **recipe_config("fast"))
        data = TextFeatures(tokenizer, sentences(3000, seed=seed), 64)
        DiffMaskTrainer(explainer, args, train_dataset=data, processing_class=tokenizer).train()
    return explainer.eval(), TextFeatures(tokenizer, sentences(60, seed=seed + 1), 64)


def estimates(explainer: DiffMaskModel, item: dict, tokenizer: object, samples: int) -> torch.Tensor:
    """`(units, 4)`: keep probability at the last state, difference, gradient at binary masks, gradient on paths."""
    batch = collate(tokenizer, [item])
    batch.pop("example_ids")
    with torch.no_grad():
        output = explainer(**batch)
    recorded = explainer.record(explainer.batch(**{name: value.repeat(samples, 1) for name, value in batch.items()}))
    keep = output.keep_probability[0, :, -1].expand(samples, -1)

    def divergence(masks: torch.Tensor) -> torch.Tensor:
        masked = explainer.masked(recorded, masks)
        return explainer.task.divergence(output.target.expand(samples, -1), masked).mean()

    noise = torch.rand(samples, keep.shape[1], 3)
    binary = (noise[..., 0] < keep).float().requires_grad_()
    (at_ends,) = torch.autograd.grad(divergence(binary), binary)
    soft = keep.clone().requires_grad_()
    (on_paths,) = torch.autograd.grad(divergence(gates.draw_with_fading(keep, soft, noise, output.maskable)), soft)
    rows = []
    for unit in output.maskable[0].nonzero().flatten().tolist():
        with torch.no_grad():
            there, gone = binary.detach().clone(), binary.detach().clone()
            there[:, unit], gone[:, unit] = 1.0, 0.0
            difference = divergence(there) - divergence(gone)
        rows.append(
            [keep[0, unit].item(), difference.item(), at_ends[:, unit].sum().item(), on_paths[:, unit].sum().item()]
        )
    return torch.tensor(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--max_steps", type=int, default=100)
    parser.add_argument("--samples", type=int, default=64, help="Masks an input.")
    args = parser.parse_args()
    logging.disable_progress_bar()
    explainer, inputs = trained(args.max_steps, args.seed)
    tokenizer = AutoTokenizer.from_pretrained(hf_diffmask.BUNDLED_CLASSIFIER)
    rows = torch.cat([estimates(explainer, inputs[k], tokenizer, args.samples) for k in range(len(inputs))])
    print("| keep probability | units | binary masks | on paths |\n|---|---|---|---|")
    for low, high in ((0.0, 0.1), (0.1, 0.9), (0.9, 1.01), (0.0, 1.01)):
        chosen = rows[(rows[:, 0] >= low) & (rows[:, 0] < high)]
        matrix = torch.corrcoef(chosen[:, 1:].T)
        print(f"| {low:g} to {min(high, 1):g} | {len(chosen)} | {matrix[0, 1]:.2f} | {matrix[0, 2]:.2f} |")


if __name__ == "__main__":
    main()
