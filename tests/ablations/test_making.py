"""Making goes on where it was ended, gives the same on any number of processes, and refuses what is not its own."""

import os
import signal

import numpy as np
import pytest
import torch
from accelerate import PartialState

from hf_diffmask import DiffMaskError, DiffMaskModel
from hf_diffmask.ablations import making
from hf_diffmask.ablations.description import read_description
from hf_diffmask.ablations.drawing import draw_masks
from hf_diffmask.ablations.making import check_masks, make_ablations, record_first
from hf_diffmask.ablations.shards import read_shard
from hf_diffmask.ablations.store import Ablations
from hf_diffmask.data.features import Features, collate
from tests.data.test_writing import full_disk
from tests.helpers import recorded_of

FILES = ["ablations.json", "baseline.safetensors", *[f"shard-0000{k}.parquet" for k in range(3)]]


def content(folder):
    return {name: (folder / name).read_bytes() for name in sorted(os.listdir(folder))}


def in_process(act):
    """Runs a function in a process of its own; returns the process's number."""
    if process := os.fork():
        return process
    try:
        torch.set_num_threads(1)
        act()
        os._exit(0)
    finally:
        os._exit(1)


def test_each_input_has_what_the_base_model_says_under_its_masks(explainer, tokenizer, dataset, made):
    folder, ablations = made
    assert sorted(content(folder)) == FILES and len(ablations) == 600
    features = tokenizer.pad({"input_ids": [dataset.items[7]["input_ids"]]}, return_tensors="pt")
    ids, special = features["input_ids"], torch.tensor([dataset.items[7]["special_tokens_mask"]]).bool()
    masks, outputs = ablations.batch([7], ~special)
    assert torch.equal(masks, draw_masks(0, torch.tensor([7]), ~special, 4))
    table = explainer.base.get_input_embeddings()
    for number in range(4):
        keep = masks[0, number] | special[0]
        with torch.no_grad():
            embedded = torch.where(keep[:, None], table(ids[0]), explainer.baseline)[None]
            given = (
                {"inputs_embeds": embedded} if number < 2 else {"input_ids": ids, "attention_mask": keep[None].long()}
            )
            expected = explainer.base(**given).logits.log_softmax(-1)[0]
        torch.testing.assert_close(outputs[0, number], expected, atol=1e-5, rtol=1e-4)


def test_the_first_state_is_recorded_alone(explainer, batch):
    whole = recorded_of(explainer, **batch)
    first = record_first(explainer, whole.batch)
    assert torch.equal(first.target, whole.target) and len(first.states) == 1
    assert torch.equal(first.states[0], whole.states[0])


def test_a_killed_run_goes_on_and_gives_the_same(explainer, tokenizer, dataset, made, tmp_path, monkeypatch):
    folder = tmp_path / "killed"
    write = making.write_shard

    def killed_in_the_second(path, *given):
        if path.name == "shard-00001.parquet":
            (folder / ".hf-diffmask-0123456789ab").write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
        write(path, *given)

    def run():
        making.write_shard = killed_in_the_second
        make_ablations(explainer, tokenizer, dataset, folder, masks=4, quiet=True)

    _, status = os.waitpid(in_process(run), 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert sorted(content(folder)) == [".hf-diffmask-0123456789ab", *FILES[:3]]
    before = (folder / FILES[2]).stat().st_mtime_ns
    with pytest.raises(DiffMaskError, match=r"shard-00001.parquet is missing: make it anew with the `hf-diffmask abl"):
        Ablations(folder)
    make_ablations(explainer, tokenizer, dataset, folder, masks=4, quiet=True)
    assert content(folder) == content(made[0]) and (folder / FILES[2]).stat().st_mtime_ns == before
    monkeypatch.setattr(making, "_ablated", lambda *_: pytest.fail("everything is there"))
    make_ablations(explainer, tokenizer, dataset, folder, masks=4, quiet=True)


def test_two_processes_give_the_shards_of_one(explainer, tokenizer, dataset, made, tmp_path):
    def run(rank):
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1")
        os.environ.update(MASTER_PORT=str(20000 + os.getppid() % 20000), ACCELERATE_USE_CPU="true")
        PartialState._reset_state()
        processes = PartialState(cpu=True, backend="gloo")
        assert (processes.process_index, processes.num_processes) == (rank, 2)
        found = make_ablations(
            explainer, tokenizer, dataset, tmp_path / "two", masks=4, processes=processes, quiet=True
        )
        assert len(found) == 600
        wrote = [name for name in written if name.endswith("parquet")]
        assert wrote == ([FILES[2], FILES[4]] if rank == 0 else [FILES[3]])

    written = []
    write = making.write_shard

    def noted(path, *given):
        written.append(path.name)
        write(path, *given)

    def act(rank):
        making.write_shard = noted
        run(rank)

    children = [in_process(lambda rank=rank: act(rank)) for rank in (0, 1)]
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    assert content(tmp_path / "two") == content(made[0])


@pytest.mark.parametrize("damage", ["cut", "changed", "of another run", "text"])
def test_a_damaged_shard_is_made_again(explainer, tokenizer, dataset, made, caplog, damage):
    folder, _ = made
    before, path = content(folder), folder / FILES[3]
    whole = path.read_bytes()
    if damage == "of another run":
        make_ablations(explainer, tokenizer, dataset, folder.parent / "other", masks=4, seed=1, quiet=True)
        path.write_bytes((folder.parent / "other" / FILES[3]).read_bytes())
    else:
        middle = len(whole) // 2
        changed = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
        path.write_bytes({"cut": whole[:middle], "changed": changed, "text": b"a film"}[damage])
    with pytest.raises(DiffMaskError) as error:
        Ablations(folder)
    what = "of other ablations" if damage == "of another run" else "damaged"
    assert str(error.value) == (
        f"{path} is {what}: make it anew with the `hf-diffmask ablate` or the training that made it, which keeps the "
        "others."
    )
    make_ablations(explainer, tokenizer, dataset, folder, masks=4, quiet=True)
    assert content(folder) == before
    assert f"{path} is damaged or of other ablations, and is made again." in caplog.text


@pytest.mark.parametrize("masks", [0, -2, 1, 3])
def test_masks_come_in_pairs(explainer, tokenizer, dataset, tmp_path, masks):
    with pytest.raises(DiffMaskError) as error:
        make_ablations(explainer, tokenizer, dataset, tmp_path / "out", masks=masks)
    assert str(error.value) == (
        "The number of masks for each input must be even and at least 2, since a mask and its complement are drawn "
        f"together, but is {masks}."
    )
    assert not (tmp_path / "out").exists()
    check_masks(2)


def test_a_folder_of_something_else_stays_as_it_is(explainer, tokenizer, dataset, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(DiffMaskError) as error:
        make_ablations(explainer, tokenizer, dataset, tmp_path, quiet=True)
    assert str(error.value) == (f"The folder {tmp_path} holds no ablations but something else: name another folder.")
    assert content(tmp_path) == {"thesis.txt": b"mine"}
    with pytest.raises(DiffMaskError, match=r"thesis\.txt is a file: name a folder"):
        make_ablations(explainer, tokenizer, dataset, tmp_path / "thesis.txt", quiet=True)


def test_ablations_of_something_else_are_refused_and_stay(explainer, tokenizer, dataset, made):
    folder, _ = made
    before = content(folder)
    with pytest.raises(DiffMaskError, match=r"those of another number of masks \(4 instead of 6\): name another fold"):
        make_ablations(explainer, tokenizer, dataset, folder, masks=6, quiet=True)
    assert content(folder) == before


def test_no_input_is_refused(explainer, tokenizer, tmp_path):
    with pytest.raises(DiffMaskError, match="There is no input to make ablations of: give at least one"):
        make_ablations(explainer, tokenizer, Features([]), tmp_path / "out")


def test_a_full_disk_loses_nothing(explainer, tokenizer, dataset, made, tmp_path):
    folder = tmp_path / "full"
    with full_disk(size=6000), pytest.raises(DiffMaskError) as error:
        make_ablations(explainer, tokenizer, dataset, folder, masks=4, quiet=True)
    said = f"{folder / FILES[2]} cannot be written (File too large): make room on its disk, or name another place."
    assert str(error.value) == said and sorted(content(folder)) == FILES[:2]
    make_ablations(explainer, tokenizer, dataset, folder, masks=4, quiet=True)
    assert content(folder) == content(made[0])


def test_outputs_that_are_not_finite_are_counted_left_out_and_named(explainer, tokenizer, dataset, tmp_path, caplog):
    """A baseline beyond the numbers of half precision: what it replaces makes NaN, and attention does not."""
    some = Features(dataset.items[:10])
    with torch.no_grad():
        explainer.baseline.fill_(float("inf"))
    found = make_ablations(explainer, tokenizer, some, tmp_path / "out", masks=4, quiet=True)
    assert found.left_out.sum(0).tolist() == [10, 10, 0, 0]
    collated = collate(tokenizer, [some[k] for k in range(10)])
    maskable = collated["attention_mask"].bool() & ~collated["special_tokens_mask"].bool()
    _, outputs = found.batch(range(10), maskable)
    assert outputs[:, :2].isnan().all() and outputs[:, 2:].isfinite().all()
    assert (
        "20 of 40 masked inputs gave outputs that are not finite, and are left out. They are of 10 inputs, counted "
        "from 0: 0, 1, 2, 3, 4, ..."
    ) in caplog.text
    with torch.no_grad():
        explainer.base.classifier.bias[0] = float("-inf")  # the other log-probability is finite
    with pytest.raises(DiffMaskError, match=r"No output in .* is a finite number: the base model cannot be explained"):
        make_ablations(explainer, tokenizer, some, tmp_path / "none", masks=4, quiet=True)
    kept = read_shard(tmp_path / "none" / FILES[2], None, read_description(tmp_path / "none")).outputs
    assert np.isnan(kept).all(), "both numbers of a mask are left out"


def test_inputs_of_one_unit_and_of_none(classifier, tokenizer, tmp_path):
    explainer = DiffMaskModel.from_base_model(classifier, tokenizer).eval()
    items = [tokenizer(text, return_special_tokens_mask=True) for text in ("dull", "", "a warm film")]
    found = make_ablations(
        explainer, tokenizer, Features([dict(item) for item in items]), tmp_path / "out", masks=4, quiet=True
    )
    maskable = torch.tensor([[0, 1, 0, 0, 0], [0, 0, 0, 0, 0], [0, 1, 1, 1, 0]]).bool()
    masks, outputs = found.batch([0, 1, 2], maskable)
    assert masks[0, :, 1].tolist() == [True, False, True, False] and not masks[1].any()
    assert torch.equal(masks[2], draw_masks(0, torch.tensor([2]), maskable[2:], 4)[0])
    torch.testing.assert_close(outputs[1], outputs[1, :1].expand(4, -1), msg="nothing can be left out")
