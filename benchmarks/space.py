"""Load test and waiting times of the page: the table in docs/space.md.

    python benchmarks/space.py                  (5 minutes on 2 cores)

Serves the bundled explainer in a separate process and sends requests from this process, by plain HTTP on loopback:

- 50 clients at once for 60 seconds, with requests in batches (16 at most) and one by one. Each answer is checked
  against the expected answer for its text. Measures latency, throughput, and the server's memory every 500 requests.
- A single client with a text of 53 tokens, in turns with the base model's bare forward pass.
- The first useful paint in a browser.

Results go to results/space.json.
"""

import argparse
import asyncio
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import psutil
import torch
from transformers import pipeline

import hf_diffmask
from hf_diffmask.testbeds.grammar import sentences

RESULTS = Path(__file__).parent / "results" / "space.json"
TEXTS = 400
# 53 tokens, with the two special tokens.
FIFTY = "the plot is dull and slow , but the cast is warm and funny , and so " * 3


@contextmanager
def served(threads: int, batch_size: int):
    """Serves the page in a separate process; yields its address and the process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {"OMP_NUM_THREADS": str(threads), "DIFFMASK_BATCH_SIZE": str(batch_size), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "hf_diffmask.cli", "serve", "--port", str(port)]
    process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}/"
    try:
        for _ in range(600):
            try:
                httpx2.get(f"{url}health").raise_for_status()
                break
            except httpx2.TransportError:
                time.sleep(0.2)
        yield url, process
    finally:
        process.terminate()
        process.wait(30)


async def ask(client: httpx2.AsyncClient, text: str) -> dict[str, Any]:
    """One explanation by plain HTTP, as in docs/space.md."""
    body = {"data": [text, "", "", None, "keep"]}
    event = (await client.post("gradio_api/call/explain", json=body)).raise_for_status().json()["event_id"]
    said = (await client.get(f"gradio_api/call/explain/{event}")).raise_for_status().text
    kind, _, data = said.partition("\n")
    if kind != "event: complete":
        raise ValueError(said[:200])
    return json.loads(data.removeprefix("data: "))[0]


async def load(url: str, process: subprocess.Popen, expected: dict[str, dict], clients: int, seconds: float) -> dict:
    """Figures for many clients at once; every answer is checked."""
    texts, server = list(expected), psutil.Process(process.pid)
    latencies: list[float] = []
    wrong: list[str] = []
    memory: list[float] = []
    end = time.perf_counter() + seconds

    async def visit(number: int) -> None:
        async with httpx2.AsyncClient(base_url=url, timeout=60) as client:
            step = 0
            while time.perf_counter() < end:
                text = texts[(number * 7 + step * clients) % len(texts)]
                begun = time.perf_counter()
                try:
                    found = await ask(client, text)
                    if not right(found, expected[text]):
                        wrong.append(f"another answer: {text}")
                except (httpx2.HTTPError, ValueError) as error:
                    wrong.append(f"{type(error).__name__}: {error}")
                latencies.append(time.perf_counter() - begun)
                if len(latencies) % 500 == 0:
                    memory.append(server.memory_info().rss / 2**20)
                step += 1

    begun = time.perf_counter()
    await asyncio.gather(*(visit(number) for number in range(clients)))
    took = time.perf_counter() - begun
    cuts = statistics.quantiles(latencies, n=20)
    return {
        "clients": clients,
        "requests": len(latencies),
        "failed_or_wrong": len(wrong),
        "examples": wrong[:3],
        "a_second": len(latencies) / took,
        "p50_ms": 1000 * cuts[9],
        "p95_ms": 1000 * cuts[18],
        "memory_mib_every_500": memory,
    }


def right(found: dict[str, Any], expected: dict[str, Any]) -> bool:
    """Whether an answer is the expected answer for its text."""
    return (
        found["label"] == expected["label"]
        and abs(found["score"] - expected["score"]) < 1e-4
        and [token["token"] for token in found["tokens"]] == [token["token"] for token in expected["tokens"]]
        and abs(found["drop"] - expected["drop"]) < 1e-3
    )


async def alone(url: str, explain: Any, rounds: int) -> dict[str, Any]:
    """Times of a single client and of the bare base model, in turns."""
    features = explain.tokenizer(FIFTY, return_tensors="pt")
    times: dict[str, list[float]] = {"explanation": [], "bare": []}
    async with httpx2.AsyncClient(base_url=url, timeout=60) as client:
        for _ in range(rounds):
            begun = time.perf_counter()
            await ask(client, FIFTY)
            between = time.perf_counter()
            with torch.no_grad():
                explain.model.base(**features).logits.sum().item()
            times["explanation"].append(1000 * (between - begun))
            times["bare"].append(1000 * (time.perf_counter() - between))
    parts = {name: statistics.quantiles(values, n=4) for name, values in times.items()}
    return {"tokens": features["input_ids"].shape[1], **{f"{name}_ms": values for name, values in parts.items()}}


def painted(url: str, rounds: int) -> list[float] | None:
    """Quartiles of the seconds until the button is visible, with a fresh context each; `None` without a browser."""
    chromium = shutil.which("chromium")
    if chromium is None:
        return None
    from playwright.sync_api import sync_playwright

    found = []
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for _ in range(rounds):
            page = browser.new_context().new_page()
            begun = time.perf_counter()
            page.goto(url, wait_until="commit")
            page.wait_for_selector("#explain", state="visible")
            found.append(time.perf_counter() - begun)
            page.close()
        browser.close()
    return statistics.quantiles(found, n=4)


def main() -> None:
    """Runs all measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1, help="of the server; this process needs a core, too")
    args = parser.parse_args()
    torch.set_num_threads(1)
    explain = pipeline(hf_diffmask.TASK, model=hf_diffmask.BUNDLED_EXPLAINER)
    texts = list(dict.fromkeys(f"{text} , part {number}" for number, text in enumerate(sentences(TEXTS))))
    expected = {text: explain(text) for text in texts}
    found: dict[str, Any] = {"machine": f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}"}
    for batch_size in (16, 1):
        with served(args.threads, batch_size) as (url, process):
            if batch_size > 1:
                found["alone"] = asyncio.run(alone(url, explain, args.rounds))
                found["paint_seconds"] = painted(url, 7)
            found[f"batch_{batch_size}"] = asyncio.run(load(url, process, expected, args.clients, args.seconds))
            print(json.dumps(found, indent=1), flush=True)
    found["gain"] = found["batch_16"]["a_second"] / found["batch_1"]["a_second"]
    RESULTS.write_text(json.dumps(found, indent=1))
    print(f"batched together: {found['gain']:.2f} times as many a second")


if __name__ == "__main__":
    main()
