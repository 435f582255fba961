"""A run that is interrupted saves a checkpoint, says how to go on, and leaves no empty folder."""

import json
import os
import signal
import threading

import pytest
import torch

import hf_diffmask
from hf_diffmask import DiffMaskError, DiffMaskTrainer, DiffMaskTrainingArguments
from hf_diffmask.testbeds.grammar import sentences
from hf_diffmask.training.interruption import Interrupted, Interruption, speaks_for_all
from hf_diffmask.training.recipes.registry import RECIPES
from hf_diffmask_entry import main
from tests.helpers import make_trainer

SIGNALS = [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]


def send(number):
    os.kill(os.getpid(), number)


@pytest.fixture(autouse=True)
def _heard():
    """A shell starts background jobs, tests as well, with Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def interruption(tmp_path):
    return Interruption(DiffMaskTrainingArguments(output_dir=str(tmp_path / "run"), use_cpu=True))


@pytest.mark.parametrize(("number", "status", "name"), SIGNALS)
def test_a_signal_ends_a_run_at_once_or_after_the_step(interruption, tmp_path, number, status, name):
    before = signal.getsignal(number)
    with pytest.raises(Interrupted) as error, interruption.watched():
        send(number)
    assert (error.value.status, str(error.value)) == (status, f"{name}: there is no checkpoint yet.")
    assert isinstance(error.value, KeyboardInterrupt) and signal.getsignal(number) == before
    for checkpoint, option in (("run/checkpoint-7", "True"), ("other/checkpoint-7", f"{tmp_path}/other/checkpoint-7")):
        interruption.begin(str(tmp_path / checkpoint))
        interruption.waits = True
        with pytest.raises(Interrupted) as error, interruption.watched():
            with interruption.watched():
                send(number)
            assert interruption.signal == number
            send(number)  # the second one does not wait
        said = f"{name}: {tmp_path}/{checkpoint} is saved, go on with --resume_from_checkpoint {option}."
        assert str(error.value) == said and signal.getsignal(number) == before


def test_a_checkpoint_is_named_if_an_earlier_run_left_one_of_a_higher_number(interruption, tmp_path):
    for number in (7, 20):
        (tmp_path / "run" / f"checkpoint-{number}").mkdir(parents=True)
        interruption.begin(str(tmp_path / "run" / f"checkpoint-{number}"))
        assert str(interruption.ended()).endswith("checkpoint True.")
    interruption.begin(str(tmp_path / "run" / "checkpoint-7"))
    assert str(interruption.ended()).endswith(f"--resume_from_checkpoint {tmp_path}/run/checkpoint-7.")


def test_launchers_may_repeat_a_signal(interruption, monkeypatch):
    monkeypatch.setattr(type(interruption.args), "world_size", 2)
    interruption.waits = True
    with interruption.watched():
        send(signal.SIGTERM)
        send(signal.SIGTERM)
    assert interruption.signal == signal.SIGTERM


def test_an_ignored_signal_stays_ignored_and_threads_are_left_alone(interruption):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruption.watched():
            send(signal.SIGINT)
        assert interruption.signal == 0 and signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    found = []

    def work():
        with interruption.watched():
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGTERM)]


def test_a_lost_process_is_one_sentence(interruption, monkeypatch):
    lost = RuntimeError("[gloo/transport/tcp/pair.cc:538] Connection closed by peer [127.0.0.1]:25541")
    with pytest.raises(RuntimeError), interruption.watched():
        raise lost  # a run of one process has no others
    monkeypatch.setattr(type(interruption.args), "world_size", 2)
    for error in (lost, torch.distributed.DistNetworkError("reset")):
        with pytest.raises(DiffMaskError, match=r"^Another process of this run has died: there is no checkpoint yet"):
            with interruption.watched():
                raise error
    with pytest.raises(RuntimeError, match="shapes"), interruption.watched():
        raise RuntimeError("shapes differ")


def test_one_process_speaks_for_all(monkeypatch):
    assert speaks_for_all()
    for rank, speaks in (("0", True), ("1", False)):
        monkeypatch.setenv("RANK", rank)
        assert speaks_for_all() == speaks, "before the processes are connected, all find the same faults"
    store = torch.distributed.HashStore()
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed.distributed_c10d, "_get_default_store", lambda: store)
    assert [speaks_for_all() for _ in range(3)] == [True, False, False]


@pytest.mark.parametrize("recipe", RECIPES)
def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(classifier, tokenizer, tmp_path, recipe):
    settings = {
        "save_strategy": "steps", "save_steps": 2, "eval_steps": 2, "max_steps": 4, "baseline_steps": 1,
        "save_total_limit": 1,
    }  # fmt: skip
    whole = make_trainer(classifier, tokenizer, tmp_path / "whole", recipe, **settings)
    whole.train()

    def trained(signals, resume):
        """Trains with signals at losses or, with the key "calibration", there."""
        trainer = make_trainer(classifier, tokenizer, tmp_path / "parts", recipe, **settings)
        loss, finish = trainer.compute_loss, trainer.objective.finish

        def compute_loss(*given, **more):
            if trainer.state.global_step in signals:
                send(signals[trainer.state.global_step])
            return loss(*given, **more)

        def finished(*given):
            if "calibration" in signals:
                send(signals["calibration"])
            finish(*given)

        trainer.compute_loss, trainer.objective.finish = compute_loss, finished
        trainer.train(resume_from_checkpoint=resume)
        return trainer

    for signals, resume, step in (
        ({0: signal.SIGTERM}, None, 1),
        ({2: signal.SIGINT}, True, 3),
        ({"calibration": signal.SIGTERM}, "True", 4),
    ):
        with pytest.raises(Interrupted) as error:
            trained(signals, resume)
        said = f"{tmp_path}/parts/checkpoint-{step} is saved, go on with --resume_from_checkpoint True."
        assert str(error.value).endswith(said)
    resumed = trained({}, True)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), f"{name}: to the last bit"
    assert whole.state.best_global_step == resumed.state.best_global_step
    # The same trainer can be trained again: an earlier signal has no effect.
    assert resumed.train(resume_from_checkpoint=True).global_step == 4


@pytest.mark.parametrize(("number", "status", "name"), SIGNALS)
def test_the_command_says_how_to_go_on(capsys, tmp_path, monkeypatch, number, status, name):
    data = tmp_path / "texts.jsonl"
    data.write_text("\n".join(json.dumps({"text": text}) for text in sentences(20)))
    out = tmp_path / "new" / "out"
    arguments = ["train", "--base_model", hf_diffmask.BUNDLED_CLASSIFIER, "--dataset", str(data), "--output_dir",
                 str(out), "--max_steps", "3", "--per_device_train_batch_size", "4", "--baseline_steps", "1",
                 "--masks", "2",
                 "--use_cpu", "--disable_tqdm", "True"]  # fmt: skip

    def interrupted(method):
        done = getattr(DiffMaskTrainer, method)

        def run(self, *given, **more):
            send(number)
            return done(self, *given, **more)

        monkeypatch.setattr(DiffMaskTrainer, method, run)
        found = main(arguments), capsys.readouterr().err.splitlines()[-1]
        monkeypatch.setattr(DiffMaskTrainer, method, done)
        return found

    assert interrupted("_make_cache") == (status, f"hf-diffmask: {name}: there is no checkpoint yet.")
    assert not out.parent.exists(), "nothing was written"
    said = f"hf-diffmask: {name}: {out}/checkpoint-1 is saved, go on with --resume_from_checkpoint True."
    assert interrupted("compute_loss") == (status, said)
    assert sorted(os.listdir(out)) == ["ablations", "checkpoint-1"]
    arguments += ["--resume_from_checkpoint", "True"]
    said = said.replace("checkpoint-1 ", "checkpoint-3 ")
    assert interrupted("save_state") == (status, said), "while the explainer is saved, too"
    assert main(arguments) == 0 and (out / "model.safetensors").is_file()
