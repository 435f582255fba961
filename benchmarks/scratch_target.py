"""Trains small classifiers from scratch for SST-2: the third and the fourth base model of ablations.py.

    python benchmarks/scratch_target.py --family modernbert --output modernbert-sst2       (5 minutes on 1 core)
    python benchmarks/scratch_target.py --family deberta-v2 --output deberta-sst2          (10 minutes on 1 core)
    python benchmarks/ablations.py train --base_model modernbert-sst2 --folder FOLDER ...

The models are 128 wide and have 4 blocks, random weights at first, and the tokenizer of minilm-sst2. ModernBERT has
rotary positions, and windows of 16 tokens in three of four blocks. Flow cannot be read from DeBERTa, whose attention
also depends on relative positions. In training the mask token replaces a tenth of the tokens.
"""

from pathlib import Path
from typing import Any

from llama_target import begin, options, train
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

LEARNING_RATE = 5e-4
SIZES = {"hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 256}
FAMILIES: dict[str, dict[str, Any]] = {
    "modernbert": {"local_attention": 16, "global_attn_every_n_layers": 4},
    "deberta-v2": {
        "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 32, "pooler_hidden_size": 128,
        "position_biased_input": False,
    },
}  # fmt: skip


def main() -> None:
    """Trains and saves the classifier, with its accuracy."""
    parser = options(__doc__)
    parser.add_argument("--family", choices=FAMILIES, required=True)
    args = parser.parse_args()
    begin(args)
    tokenizer = AutoTokenizer.from_pretrained(Path(args.shared) / "models" / "minilm-sst2")
    special = {
        "pad_token_id": tokenizer.pad_token_id, "cls_token_id": tokenizer.cls_token_id,
        "sep_token_id": tokenizer.sep_token_id, "bos_token_id": tokenizer.cls_token_id,
        "eos_token_id": tokenizer.sep_token_id,
    }  # fmt: skip
    labels = {"id2label": {0: "NEGATIVE", 1: "POSITIVE"}, "label2id": {"NEGATIVE": 0, "POSITIVE": 1}}
    sizes = {**SIZES, "vocab_size": len(tokenizer), "max_position_embeddings": 512}
    config = AutoConfig.for_model(args.family, **sizes, **special, **labels, **FAMILIES[args.family])
    train(args, AutoModelForSequenceClassification.from_config(config), tokenizer, LEARNING_RATE)


if __name__ == "__main__":
    main()
