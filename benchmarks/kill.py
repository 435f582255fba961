"""Runs that are killed at random moments and resumed, compared with runs that are not.

    python benchmarks/kill.py       (3 minutes)

Base model: the bundled classifier. Data: sentences from the demo's grammar. Each recipe is trained once without
interruption, by `hf-diffmask train`, with a checkpoint every 4 steps. Then further runs with the same settings are
killed (SIGKILL) at random moments. A third of the moments are uniform between the start of a run and its end. The
others are uniform over the writing and deleting of checkpoints, and of ablations. These take milliseconds, so their
moments are counted in operations on files. A killed run is resumed with `--resume_from_checkpoint True`, or started
again with the same command if it has no checkpoint yet. Then the weights of the explainer and of the last checkpoint
must be the same to the last bit.

Each run is a forked child in a process group of its own. Results go to results/kill.json.
"""

import argparse
import contextlib
import json
import os
import platform
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

import hf_diffmask.cli.train  # all imports come before the runs fork
from hf_diffmask.testbeds.grammar import sentences
from hf_diffmask.training.recipes.registry import RECIPES
from hf_diffmask_entry import main as hf_diffmask_main

RESULTS = Path(__file__).parent / "results" / "kill.json"
PARTS = ("checkpoint-", "ablations")
WRITES = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree")


def child(arguments: list[str], prepare: Callable[[], None] | None = None) -> int:
    """Starts `hf-diffmask` with arguments in a process group of its own; returns its process id."""
    process = os.fork()
    if process:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.setpgid(process, process)
        return process
    status = 1
    try:
        os.setpgid(0, 0)
        said = os.open(f"{arguments[arguments.index('--output_dir') + 1]}.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(said, 1)
        os.dup2(said, 2)
        # PyTorch makes a new pool of threads after a fork. Threads that load weights would race for it.
        torch.set_num_threads(1)
        if prepare is not None:
            prepare()
        status = hf_diffmask_main(arguments)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def waited(process: int) -> int:
    """Exit status of a child; minus the signal if it was killed."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def killed_after(arguments: list[str], seconds: float) -> int:
    """Kills a run, with all of its processes, after some seconds; returns its exit status."""
    process = child(arguments)
    time.sleep(seconds)
    os.killpg(process, signal.SIGKILL)
    return waited(process)


def watch(folder: Path, act: Callable[[str, int], object]) -> Callable[[], None]:
    """A function that calls `act` with part and number of each operation on files of a part, before it happens."""

    def prepare() -> None:
        count = dict.fromkeys(PARTS, 0)

        def hook(event: str, given: tuple) -> None:
            if event in WRITES and str(given[0]).startswith(str(folder)):
                for part in PARTS:
                    if part in str(given[0])[len(str(folder)) :]:
                        count[part] += 1
                        act(part, count[part])

        sys.addaudithook(hook)

    return prepare


def counted(arguments: list[str], folder: Path) -> dict[str, int]:
    """Runs to the end; returns the number of operations on files of each part."""

    def note(part: str) -> Path:
        return folder.parent / f"{part}of-{folder.name}"

    status = waited(child(arguments, watch(folder, lambda part, count: note(part).write_text(str(count)))))
    if status != 0:
        raise SystemExit(f"The run without interruption ended with status {status}.")
    return {part: int(note(part).read_text()) for part in PARTS if note(part).is_file()}


def killed_before(arguments: list[str], folder: Path, part: str, number: int) -> int:
    """Kills a run before an operation on files of a part; returns its exit status."""

    def act(of: str, count: int) -> None:
        if (of, count) == (part, number):
            os.killpg(0, signal.SIGKILL)

    return waited(child(arguments, watch(folder, act)))


def weights(folder: Path, steps: int) -> dict[str, torch.Tensor]:
    """Weights of the explainer, and explainer and objective of the last checkpoint."""
    found: dict[str, torch.Tensor] = {}
    for name in ("model", f"checkpoint-{steps}/model", f"checkpoint-{steps}/objective"):
        tensors = load_file(folder / f"{name}.safetensors")
        found |= {f"{name}.{key}": value for key, value in tensors.items()}
    return found


def difference(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> float:
    """The largest difference of two sets of weights; 0 if they are the same to the last bit."""
    if found.keys() != expected.keys():
        return float("inf")
    return max((found[key].double() - value.double()).abs().max().item() for key, value in expected.items())


def main() -> None:
    """Trains, kills and resumes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=24)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    draw = random.Random(args.seed)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        data = Path(name) / "texts.jsonl"
        data.write_text("\n".join(json.dumps({"text": text}) for text in sentences(150)))

        def arguments(folder: Path, recipe: str) -> list[str]:
            settings = {
                "base_model": hf_diffmask.BUNDLED_CLASSIFIER, "dataset": str(data), "output_dir": str(folder),
                "recipe": recipe, "max_steps": args.steps, "per_device_train_batch_size": 8, "save_steps": 4,
                "eval_steps": 4, "eval_delay": 0, "warmup_steps": 0, "baseline_steps": 5, "save_total_limit": 1,
                "masks": 2,
            }  # fmt: skip
            return [
                "train",
                "--use_cpu",
                *(str(part) for key, value in settings.items() for part in (f"--{key}", value)),
            ]

        whole = {}
        for recipe in RECIPES:
            folder = Path(name) / recipe
            begun = time.perf_counter()
            operations = counted(arguments(folder, recipe), folder)
            whole[recipe] = weights(folder, args.steps), time.perf_counter() - begun, operations
        print("| recipe | killed | last checkpoint | resumed | largest difference |\n|---|---|---|---|---|")
        for number in range(args.kills):
            recipe = list(RECIPES)[number % len(RECIPES)]
            expected, seconds, operations = whole[recipe]
            folder = Path(name) / f"{recipe}-{number}"
            kinds = ["time", *operations]
            if (part := kinds[number // len(RECIPES) % len(kinds)]) != "time":
                moment = draw.randint(1, operations[part])
                killed = f"{part.rstrip('-')}: operation {moment} of {operations[part]}"
                status = killed_before(arguments(folder, recipe), folder, part, moment)
            else:
                after = draw.uniform(0, seconds)
                while (status := killed_after(arguments(folder, recipe), after)) == 0:
                    shutil.rmtree(folder)  # the run had ended: it was faster than the first one
                    after = draw.uniform(0, after)
                killed = f"after {after:.2f} of {seconds:.2f} s"
            if status != -signal.SIGKILL:
                raise SystemExit(f"The run ended with status {status}: {Path(f'{folder}.txt').read_text()}")
            checkpoints = [int(path.name.rpartition("-")[2]) for path in folder.glob("checkpoint-*")]
            resume = ["--resume_from_checkpoint", "True"] if checkpoints else []
            again = waited(child([*arguments(folder, recipe), *resume]))
            row = {
                "recipe": recipe,
                "killed": killed,
                "status": status,
                "checkpoint": max(checkpoints, default=None),
                "resumed_status": again,
                "difference": difference(weights(folder, args.steps), expected) if again == 0 else None,
            }
            rows.append(row)
            print(f"| {recipe} | {killed} | {row['checkpoint']} | {again} | {row['difference']} |", flush=True)
    same = sum(row["difference"] == 0 for row in rows)
    found = {
        "machine": f"{platform.machine()}, 1 thread, torch {torch.__version__}",
        "steps": args.steps,
        "seed": args.seed,
        "kills": sum(row["status"] == -signal.SIGKILL for row in rows),
        "same_to_the_last_bit": same,
        "runs": rows,
    }
    RESULTS.write_text(json.dumps(found, indent=1))
    print(f"{same} of {len(rows)} runs are the same to the last bit")


if __name__ == "__main__":
    main()
