"""One pipeline, four threads, 20,000 texts, and an explainer that is swapped meanwhile: results, order and memory.

    python benchmarks/soak.py      (about 10 minutes on 2 cores)

Explains sentences from the demo's grammar with the bundled explainer. Each thread takes the next text and calls the
pipeline. Ten times, evenly spread, the main thread loads an explainer and puts it into the pipeline; two explainers
take turns. Each result must equal, to 1e-6, what one of the two gives alone for the text; after a swap only the new
one may answer calls that begin. Prints resident memory at each tenth of the run. The first tenth warms up.
"""

import argparse
import gc
import json
import platform
import tempfile
import threading
import time
from pathlib import Path

import torch
from transformers import pipeline
from transformers.utils import logging

import hf_diffmask
from hf_diffmask import DiffMaskModel
from hf_diffmask.testbeds.grammar import sentences

RESULTS = Path(__file__).parent / "results"


def megabytes() -> float:
    """Resident memory of this process, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def numbers(result: dict) -> list[float]:
    """What must be equal in two results for a text."""
    return [result["score"], result["divergence"], *(token["evidence"] for token in result["tokens"])]


def changed_explainer(folder: str) -> None:
    """Saves an explainer that scores in another way than the bundled one."""
    explainer = DiffMaskModel.from_pretrained(hf_diffmask.BUNDLED_EXPLAINER)
    with torch.no_grad():
        explainer.probes.out_weight.mul_(0.5)
    explainer.save_pretrained(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    explain = pipeline(hf_diffmask.TASK)
    base, different = explain.model.base, sentences(500, args.seed)
    with tempfile.TemporaryDirectory() as folder:
        changed_explainer(folder)
        folders = [hf_diffmask.BUNDLED_EXPLAINER, folder]

        def loaded(number: int) -> DiffMaskModel:
            return DiffMaskModel.from_pretrained(folders[number % 2], base_model=base).eval()

        alone = []
        for number in (0, 1):
            explain.model = loaded(number)
            alone.append([numbers(explain(text)) for text in different])
        explain.model = loaded(0)
        found = soak(explain, different, alone, loaded, args)
    found |= {
        "texts": args.texts, "threads": args.threads, "seed": args.seed,
        "machine": f"{platform.machine()}, {args.threads} threads on 2 cores, torch {torch.__version__}",
    }  # fmt: skip
    print(json.dumps(found, indent=1))
    (RESULTS / "soak.json").write_text(json.dumps(found, indent=1) + "\n")


def soak(explain, texts: list[str], alone: list, loaded, args: argparse.Namespace) -> dict:
    """Counts of right and wrong results, and memory at each tenth of the run."""
    lock, taken, done, swaps = threading.Lock(), iter(range(args.texts)), 0, 0
    wrong, errors = [], []
    by_swap: dict[int, int] = {}

    def work() -> None:
        nonlocal done
        while True:
            with lock:
                number = next(taken, None)
                began = swaps
            if number is None:
                return
            place = number % len(texts)
            try:
                result = explain(texts[place])
            except Exception as error:  # counted, and printed below
                errors.append(repr(error))
                continue
            with lock:
                ended = swaps
                done += 1
                by_swap[ended % 2] = by_swap.get(ended % 2, 0) + 1
            # A swap may come in the middle of a call.
            expected = [alone[swap % 2][place] for swap in range(began, ended + 1)]
            differences = [max(abs(a - b) for a, b in zip(numbers(result), one, strict=True)) for one in expected]
            if not min(differences) <= 1e-6:
                wrong.append((number, min(differences)))

    threads = [threading.Thread(target=work) for _ in range(args.threads)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    memory = []
    for tenth in range(1, 11):
        while done + len(errors) < args.texts * tenth / 10 and any(thread.is_alive() for thread in threads):
            time.sleep(0.05)
        gc.collect()
        memory.append(round(megabytes(), 1))
        print(f"{done:,} texts, {len(wrong)} wrong, {len(errors)} errors, {memory[-1]:,.1f} MB", flush=True)
        if tenth < 10:
            another = loaded(swaps + 1)
            with lock:
                explain.model, swaps = another, swaps + 1
    for thread in threads:
        thread.join()
    warm = memory[1:]
    return {
        "right": done - len(wrong), "wrong": len(wrong), "errors": len(errors), "first errors": errors[:3],
        "swaps": swaps, "results by explainer": by_swap, "megabytes": memory,
        "largest over smallest, after the first tenth": round(max(warm) / min(warm), 4),
        "seconds": round(time.perf_counter() - begun, 1),
    }  # fmt: skip


if __name__ == "__main__":
    main()
