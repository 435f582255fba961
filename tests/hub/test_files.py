"""Only named files are published."""

from hf_diffmask.hub.files import published


def test_only_what_is_named_is_published(folder):
    for name in (".env", "optimizer.pt", "notes.txt", "training_args.bin", "model.pkl"):
        (folder / name).write_text("hf_secret")
    (folder / "checkpoint-5").mkdir()
    for name in ("model.safetensors", "plot.png"):  # a pattern would match these in any folder
        (folder / "checkpoint-5" / name).write_text("old")
    ours = {"explainer_results.json", "model.safetensors", "sparsity_divergence.png", "tokenizer.json"}
    assert set(published(folder)) == {*ours, "tokenizer_config.json"}


def test_ablations_are_never_pushed(folder):
    before = published(folder)
    for place in (folder, folder / "ablations"):
        place.mkdir(exist_ok=True)
        for name in ("ablations.json", "baseline.safetensors", "shard-00000.parquet"):
            (place / name).write_text("of somebody's texts")
    assert published(folder) == before
