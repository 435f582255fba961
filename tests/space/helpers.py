"""Helpers for tests of the Space."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

# Attacks through shown text: markup, handlers, addresses, templates, and words that Gradio translates.
HOSTILE = [
    "<script>window.hacked=1</script>", "<img src=x onerror=window.hacked=1>", "\"><svg onload=window.hacked=1>",
    "'><b onmouseover=window.hacked=1>", "</style><script>window.hacked=1</script>", "javascript:window.hacked=1",
    "${window.hacked=1}", "{{window.hacked=1}}", "{% window.hacked=1 %}", "&lt;b&gt;x&lt;/b&gt;",
    "<iframe srcdoc='<script>parent.hacked=1</script>'>", "<a href=javascript:window.hacked=1>x</a>", "`${hacked}`",
    "<!-- x", "]]>", "\u202egnp.exe", "\x1b[31m",
]  # fmt: skip

# Pictures in a card would be loaded from the author's server.
PICTURES = [
    "![picture](https://example.invalid/1.png)", "!![picture](https://example.invalid/2.png)",
    "!<!-- x -->![picture](https://example.invalid/3.png)", "!!![picture][one]\n\n[one]: https://example.invalid/4.png",
    "[!![picture](https://example.invalid/5.png)](https://example.invalid)",
    '```mermaid\nflowchart TD\n  A@{ img: "https://example.invalid/6.png", label: "picture" }\n```',
]  # fmt: skip


@contextmanager
def serving(folder, **environment):
    """Runs the page in a new process; yields its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "hf_diffmask.cli", "serve", "--port", str(port)]
    log = folder / "serve.log"
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, **environment}, cwd=folder)
    try:
        url = f"http://127.0.0.1:{port}/"
        for _ in range(600):
            assert process.poll() is None, log.read_text()
            try:
                assert json.load(urllib.request.urlopen(f"{url}health"))["status"] == "ok"
                break
            except urllib.error.URLError:
                time.sleep(0.2)
        else:
            raise AssertionError(log.read_text())
        yield url
    finally:
        process.terminate()
        process.wait(30)
