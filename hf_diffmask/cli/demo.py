"""`hf-diffmask demo`."""

import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from transformers import AutoModelForSequenceClassification, AutoTokenizer, set_seed
from transformers.utils import logging

from ..about import BUNDLED_CLASSIFIER, TASK
from ..data.writing import write_text
from ..display.page import to_html
from ..display.terminal import to_text
from ..errors import DiffMaskError
from ..explainer.modeling_diffmask import DiffMaskModel
from ..hub.training_results import add_training_results
from ..pipeline.loading import load_pipeline
from ..testbeds.grammar import sentences
from ..training.arguments import DiffMaskTrainingArguments
from ..training.recipes.registry import recipe_config
from ..training.run import train
from ..training.validation import format_table
from .arguments import parse, parser_of
from .saving import saving

DESCRIPTION = """Trains an explainer for the bundled sentiment classifier, saves it, loads it with the pipeline and
explains a few sentences. Needs no network, no data set and no labels."""

EXAMPLES = [
    "on a rainy evening in town , the story is surprisingly moving and clever .",
    "the camera work is beautiful but the script is utterly pointless .",
    "the acting is not bad , and the room was full .",
]


@dataclass
class DemoArguments:
    """Where to write, and how long to train."""

    output_dir: str = field(default="demo_output", metadata={"help": "Folder for the explainer and the page."})
    max_steps: int = field(default=300, metadata={"help": "Training steps."})
    num_sentences: int = field(default=3000, metadata={"help": "Sentences to draw from the grammar."})
    overwrite_output_dir: bool = field(default=False, metadata={"help": "Write into a folder that is not empty."})


def run(arguments: list[str]) -> None:
    """
    Runs the command.

    Args:
        arguments (`list[str]`): Arguments after `hf-diffmask demo`.

    Raises:
        DiffMaskError: If a setting is too small, or the output folder is not empty.
    """
    parser = parser_of(DemoArguments, "demo", DESCRIPTION)
    (demo,) = parse(parser, arguments)
    if demo.num_sentences < 20 or demo.max_steps < 1:
        raise DiffMaskError("The demo needs at least 20 sentences and one step.")
    started = time.perf_counter()
    logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(BUNDLED_CLASSIFIER)
    base_model = AutoModelForSequenceClassification.from_pretrained(BUNDLED_CLASSIFIER)
    texts = sentences(demo.num_sentences)
    print(
        f"1. Training an explainer for the bundled classifier on {len(texts)} unlabelled sentences from a small\n"
        f"   grammar of our own, such as: {texts[0]!r}\n"
        "   They show how it works, not how well: see the README for real text.",
        flush=True,
    )
    args = DiffMaskTrainingArguments(
        output_dir=demo.output_dir,
        overwrite_output_dir=demo.overwrite_output_dir,
        max_steps=demo.max_steps,
        eval_steps=0.5,
        save_steps=0.5,
        logging_steps=max(1, demo.max_steps // 5),
    )
    set_seed(args.seed)
    explainer = DiffMaskModel.from_base_model(
        base_model.to(args.device), tokenizer, margin=args.margin, **recipe_config(args.recipe)
    )
    with saving(demo.output_dir):
        trainer, training = train(explainer, tokenizer, texts, sentences(200, seed=1), args)
        add_training_results(demo.output_dir, explainer, tokenizer, training, trainer.rows)
    print(f"\n   Hard masks on 200 other sentences:\n\n{format_table(trainer.rows)}\n")
    print(f"2. Saved to {demo.output_dir}; loading it back with pipeline({TASK!r}, ...).\n")
    explain = load_pipeline(demo.output_dir)
    results = explain(EXAMPLES)
    print("3. Bright tokens are kept, the others can go; for each token how surely:\n")
    color = sys.stdout.isatty() or "FORCE_COLOR" in os.environ
    for result in results:
        print(to_text(result, color) + "\n")
    page = Path(demo.output_dir) / "heatmap.html"
    write_text(page, to_html(results))
    print(f"4. The heat map, tokens x states: {page}\nDone in {time.perf_counter() - started:.0f} seconds.")
