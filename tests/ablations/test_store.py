"""Ablations are read, aligned to padded batches, and compared with what is asked for."""

import pytest
import torch

from hf_diffmask import DiffMaskError
from hf_diffmask.ablations.drawing import draw_masks
from hf_diffmask.ablations.making import make_ablations
from hf_diffmask.ablations.running import run_masks
from hf_diffmask.ablations.store import Ablations
from hf_diffmask.data.features import Features, collate


def batch_of(explainer, tokenizer, dataset, ids, pad=0):
    collated = collate(tokenizer, [dataset[k] for k in ids])
    padded = {
        name: torch.nn.functional.pad(value, (pad, 0), value=tokenizer.pad_token_id if name == "input_ids" else 0)
        for name, value in collated.items()
        if name != "example_ids"
    }
    return explainer.batch(**padded, example_ids=collated["example_ids"])


@pytest.mark.parametrize("pad", [0, 3])
def test_a_batch_gets_the_masks_and_outputs_of_its_inputs(explainer, tokenizer, dataset, made, pad):
    _, ablations = made
    ids = [599, 3, 300, 3]
    batch = batch_of(explainer, tokenizer, dataset, ids, pad)
    masks, outputs = ablations.batch(torch.tensor(ids), batch.maskable)
    assert torch.equal(masks, draw_masks(0, torch.tensor(ids), batch.maskable, 4))
    expected = run_masks(explainer, explainer.record(batch), masks, ablations.replacements)
    torch.testing.assert_close(outputs, expected, atol=1e-5, rtol=1e-4)
    assert (len(ablations), ablations.masks_per_input) == (600, 4) and not ablations.left_out.any()
    assert ablations.replacements == ("baseline", "attention")
    assert ablations.replacement_of_mask.tolist() == [0, 0, 1, 1]
    assert torch.equal(ablations.baseline, explainer.baseline)


def test_inputs_with_other_units_are_refused(explainer, tokenizer, dataset, made):
    folder, ablations = made
    batch = batch_of(explainer, tokenizer, dataset, [0, 1])
    with pytest.raises(DiffMaskError) as error:
        ablations.batch([0, 1], batch.units)
    assert str(error.value) == (
        f"The ablations in {folder} are of inputs with other units: make them for this data set and these special "
        "tokens."
    )


def test_what_is_asked_for_is_compared(explainer, tokenizer, dataset, made):
    _, ablations = made
    ablations.check(explainer, tokenizer, dataset)
    ablations.check(explainer, tokenizer, dataset, masks=4, seed=0, replacements=("baseline", "attention"))
    for words, asked in [
        ("number of masks", {"masks": 8}),
        ("seed", {"seed": 3}),
        ("set of replacements", {"replacements": ["baseline"]}),
        ("data set", {"dataset": Features(dataset.items[::-1])}),
    ]:
        with pytest.raises(DiffMaskError, match=f"those of another {words} "):
            ablations.check(**{"explainer": explainer, "tokenizer": tokenizer, "dataset": dataset, **asked})
    with torch.no_grad():
        explainer.baseline[0] += 1
    with pytest.raises(DiffMaskError, match="those of another baseline "):
        ablations.check(explainer, tokenizer, dataset)


def test_a_folder_without_ablations_is_named(tmp_path):
    for folder in (tmp_path, tmp_path / "gone"):
        with pytest.raises(DiffMaskError) as error:
            Ablations(folder)
        assert str(error.value) == f"{folder} holds no ablations: make them with `hf-diffmask ablate`."


def test_a_baseline_that_is_missing_or_another_is_told_and_written_anew(explainer, tokenizer, dataset, made):
    folder, _ = made
    path = folder / "baseline.safetensors"
    whole = path.read_bytes()
    for change in (lambda: path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1])), path.unlink):
        change()
        with pytest.raises(DiffMaskError) as error:
            Ablations(folder)
        assert str(error.value) == (
            f"{path} is missing, or another baseline than that of the ablations beside it: make it anew with the "
            "`hf-diffmask ablate` or the training that made it, which keeps the others."
        )
        make_ablations(explainer, tokenizer, dataset, folder, masks=4, quiet=True)
        assert path.read_bytes() == whole
    path.write_bytes(whole[:20])
    with pytest.raises(DiffMaskError, match=r"baseline\.safetensors are damaged"):
        Ablations(folder)


def test_a_shard_in_the_place_of_another_is_told(made):
    folder, _ = made
    (folder / "shard-00001.parquet").write_bytes((folder / "shard-00000.parquet").read_bytes())
    with pytest.raises(DiffMaskError, match=r"shard-00001\.parquet holds inputs of another shard"):
        Ablations(folder)
