"""Endpoints answer by client, by HTTP and as tools."""

import json

import pytest

import hf_diffmask
from hf_diffmask.space.shelf import BUNDLED_NAME
from tests.helpers import TEXT, command
from tests.space.helpers import serving

pytest.importorskip("gradio", reason="the Space needs hf-diffmask[space]")


def test_endpoints_by_client_by_http_and_as_tools(tmp_path):
    import httpx2
    from gradio_client import Client

    with serving(tmp_path, OMP_NUM_THREADS="1") as url:
        client = Client(url, verbose=False)
        result = client.predict(TEXT, api_name="/explain")
        assert result["label"] == "NEGATIVE" and len(result["tokens"]) == 14 and result["within_margin"]
        assert client.predict(TEXT, [4], api_name="/what_if")["same_prediction"]
        assert len(client.predict(TEXT, api_name="/compare")) == 3
        assert client.predict(api_name="/explainers") == [BUNDLED_NAME]
        with pytest.raises(Exception, match="is not served here: choose one of bundled"):
            client.predict(TEXT, explainer="org/other", api_name="/explain")
        described = client.view_api(return_format="dict")["named_endpoints"]
        assert described.keys() == {"/explain", "/what_if", "/compare", "/explainers"}
        # As docs/space.md says it for plain HTTP.
        event = httpx2.post(f"{url}gradio_api/call/explain", json={"data": [TEXT, "", "", None, "keep"]}).json()[
            "event_id"
        ]
        said = httpx2.get(f"{url}gradio_api/call/explain/{event}", timeout=60).text
        assert said.startswith("event: complete") and '"NEGATIVE"' in said
        asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
        accept = {"Accept": "application/json, text/event-stream"}
        tools = httpx2.post(
            f"{url}gradio_api/mcp/", json=asked, headers=accept, timeout=60, follow_redirects=True
        ).text
        assert "which tokens of a text the model's output needs" in tools.replace("\\u0027", "'")


def test_explainers_of_the_hub_where_they_are_allowed(hub, named, tmp_path):
    from gradio_client import Client

    assert command(hub, "push", named, "acme/explainer", "--with_remote_code")[0] == 0
    trap = {name: b"raise SystemExit('run')" for name in ("remote_diffmask.py", "configuration_diffmask.py")}
    hub.commit("acme/explainer", trap)
    config = json.loads((named / "config.json").read_text())
    weights = (named / "model.safetensors").read_bytes()
    stolen = {**config, "base_model_name_or_path": hf_diffmask.BUNDLED_CLASSIFIER}
    hub.commit("acme/thief", {"config.json": json.dumps(stolen).encode(), "model.safetensors": weights})
    environment = {**hub.environment(), "DIFFMASK_ALLOWED": "acme/*", "OMP_NUM_THREADS": "1"}
    with serving(tmp_path, **environment) as url:
        client = Client(url, verbose=False)
        assert client.predict(TEXT, explainer="acme/explainer", api_name="/explain")["label"] == "NEGATIVE"
        with pytest.raises(Exception, match="names a folder as its base model"):
            client.predict(TEXT, explainer="acme/thief", api_name="/explain")
        with pytest.raises(Exception, match="cannot be loaded"):
            client.predict(TEXT, explainer="acme/nothing", api_name="/explain")
        with pytest.raises(Exception, match="not served here"):
            client.predict(TEXT, explainer="other/explainer", api_name="/explain")
        assert client.predict(TEXT, api_name="/explain")["label"] == "NEGATIVE"
