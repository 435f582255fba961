"""Whatever is sent to the page is answered with a result or a sentence, and is not written into the log."""

import asyncio
import json
import logging
from concurrent.futures import ThreadPoolExecutor

import pytest

from hf_diffmask import DiffMaskError
from tests.helpers import TEXT

gr = pytest.importorskip("gradio", reason="the Space needs hf-diffmask[space]")

SECRET = "a private sentence " * 500
# JSON as it is sent: some of it Python does not write by itself.
NO_STRINGS = ["null", "true", "5", "1.5", "NaN", "[]", '["a"]', "{}"]
NO_TEXTS = {*NO_STRINGS, '""', '" \\n"', '"\\ud800"', f'"{SECRET}"'}
WRONG = {
    "text": {*NO_TEXTS},
    "pair": {*NO_STRINGS, '"\\udc00"', f'"{SECRET}"'},
    "explainer": {*NO_STRINGS, '"org/name"', '"../x"', '"a\\u0000b"', f'"{SECRET}"'},
    "margin": {"true", '"0.5"', "[]", "{}", "NaN", "Infinity", "-Infinity", "0", "-1", f"1{'0' * 400}", f'"{SECRET}"'},
    "on_violation": {*NO_STRINGS, '"drop"', '""', f'"{SECRET}"'},
    "span": {
        "true", "5", '"1"', "{}", "[]", "[1]", "[1, 2, 3]", '["1", 2]', "[true, 2]", "[1.5, 2]", "[3, 2]", "[-1, 2]",
        "[0, 4]", f"[1, 1{'0' * 400}]", f'["{SECRET}", 1]',
    },
    "kept": {
        "null", "true", "5", "NaN", '"1"', "{}", '["1"]', "[true]", "[null]", "[1.5]", "[1.0]", "[NaN]", "[[1]]",
        "[-1]", "[99]", f"[1{'0' * 400}]", f'["{SECRET}"]',
    },
}  # fmt: skip
RIGHT = {"text": json.dumps(TEXT), "pair": '""', "explainer": '""', "margin": "null", "on_violation": '"keep"'}
RIGHT |= {"kept": "[4]", "span": "null"}


@pytest.fixture(scope="module")
def client(service):
    """A client of the page, which is served by this process."""
    import httpx2

    from hf_diffmask.space.app import build, launch

    page = build(service.settings, service)
    _, url, _ = launch(page, service.settings, prevent_thread_lock=True, quiet=True, server_name="127.0.0.1")
    with httpx2.Client(base_url=f"{url}gradio_api/", timeout=60) as opened:
        opened.page = page
        yield opened
    page.close()


def call(client, name, values):
    """The answer of an endpoint to JSON values: whether it is a result, and the result or the message."""
    headers = {"Content-Type": "application/json"}
    event = client.post(f"call/{name}", content=f'{{"data": [{", ".join(values)}]}}', headers=headers).json()[
        "event_id"
    ]
    kind, data = client.get(f"call/{name}/{event}").text.split("\n")[:2]
    found = json.loads(data.removeprefix("data: "))
    return (True, found) if kind == "event: complete" else (False, found["error"])


def is_sentence(said):
    return isinstance(said, str) and said.endswith((".", " ...")) and len(said) < 600 and said.count("\n") == 0


def logged(capfd, caplog):
    return "".join(capfd.readouterr()) + caplog.text


def test_every_argument_of_every_endpoint_is_checked(client, capfd, caplog):
    endpoints = client.get("info").json()["named_endpoints"]
    takes = {name[1:]: [one["parameter_name"] for one in about["parameters"]] for name, about in endpoints.items()}
    assert takes.keys() == {"explain", "what_if", "compare", "explainers"}
    wrong = []
    for name, arguments in takes.items():
        right = [RIGHT[argument] for argument in arguments]
        assert call(client, name, right)[0]
        for number, argument in enumerate(arguments):
            wrong += [(name, [*right[:number], value, *right[number + 1 :]]) for value in WRONG[argument]]
        needed = {"explain": 1, "what_if": 2, "compare": 1}.get(name, 0)
        assert call(client, name, right[:needed])[0], "the others have defaults"
        for values in (right[: needed - 1], [*right, "1"]) if right else (["1"],):
            done, said = call(client, name, values)
            names = ", ".join(arguments) or "none"
            assert not done
            assert said == f"{name} takes {len(arguments)} values, and {len(values)} came: give {names}."
    with ThreadPoolExecutor(8) as pool:
        for asked, (done, said) in zip(wrong, pool.map(lambda one: call(client, *one), wrong), strict=True):
            assert not done and is_sentence(said), (asked, said)
    assert len(wrong) > 100 and "private" not in logged(capfd, caplog)


def test_events_of_the_page_answer_with_words(client, capfd, caplog):
    for number, event in client.page.fns.items():
        if event.fn is None or event.api_visibility != "private":
            continue
        for value in ("null", '"x"', f'"{SECRET}"', "{}", "[]", "NaN", "1e400", f'{{"text": "{SECRET}"}}'):
            session = f"s{number}{hash(value)}"
            data = ", ".join([value] * len(event.inputs))
            body = f'{{"data": [{data}], "fn_index": {number}, "session_hash": "{session}"}}'
            joined = client.post("queue/join", content=body, headers={"Content-Type": "application/json"})
            assert joined.status_code == 200
            messages = client.get("queue/data", params={"session_hash": session}).text.splitlines()
            found = [json.loads(line.removeprefix("data: ")) for line in messages if line]
            (last,) = [one for one in found if one["msg"] == "process_completed"]
            # Some of the words are Gradio's.
            assert last["success"] or 10 < len(last["output"]["error"]) < 600, (event.api_name, value[:50], last)
    assert "private" not in logged(capfd, caplog)


def test_by_names_and_other_addresses(client, capfd, caplog):
    good = client.post("call/v2/explain", json={"text": TEXT})
    assert "event_id" in good.json()
    for body in ({}, {"text": TEXT, SECRET: 1}):
        said = client.post("call/v2/explain", json=body)
        assert said.status_code == 400 and said.json()["error"] and len(said.text) < 600
    for address in ("call/nothing", "call/v2/nothing", "run/nothing"):
        said = client.post(address, json={"data": [SECRET]})
        assert said.status_code == 400 and said.json() == {"error": "There is no such endpoint: see /gradio_api/info."}
    direct = client.post("run/explain", json={"data": [SECRET]})
    assert direct.status_code in (404, 500) and is_sentence(next(iter(direct.json().values())))
    assert "private" not in logged(capfd, caplog)


def test_a_request_that_is_too_large_is_not_parsed(client):
    # 0.01 MB of a file, and a million bytes.
    fits = json.dumps({"data": ["x" * 1_000_000, "", "", None, "keep"]})
    headers = {"Content-Type": "application/json"}
    assert "event_id" in client.post("call/explain", content=fits, headers=headers).json()
    said = client.post("call/explain", content=fits + " " * 10_000, headers=headers)
    assert said.status_code == 413 and "larger than the limit of 1,010,000 bytes" in said.text
    streamed = client.post("call/explain", content=(b" " * 100_000 for _ in range(11)), headers=headers)
    assert streamed.status_code == 413


def test_errors_that_nobody_expects(service, caplog, capfd):
    from hf_diffmask.space.guarded import GuardedBlocks

    def failing(text: str) -> str:
        raise {"ours": DiffMaskError, "theirs": gr.Error}.get(text.split()[0], RuntimeError)(text)

    with GuardedBlocks() as page:
        gr.api(failing)

    def told(text):
        with pytest.raises(gr.Error) as refused:
            asyncio.run(page.process_api(0, [text]))
        assert not refused.value.print_exception
        return refused.value.message

    assert told("ours " + "x" * 400) == "ours " + "x" * 400
    assert told("theirs " + "x" * 600) == "theirs " + "x" * 493 + " ..."
    assert caplog.text == ""
    with caplog.at_level(logging.ERROR):
        assert told(SECRET) == "The page failed (RuntimeError): check the values, or try again."
    assert caplog.text.count("a private sentence") < 7 and "in failing" in caplog.text
    assert "private" not in "".join(capfd.readouterr())
