"""Endpoints answer by client, by HTTP and as tools."""

import pytest

from hf_diffmask.space.shelf import BUNDLED_NAME
from tests.helpers import TEXT
from tests.space.helpers import serving

gr = pytest.importorskip("gradio", reason="the Space needs hf-diffmask[space]")

from hf_diffmask.space.endpoints import Endpoints  # noqa: E402


def test_endpoints_are_the_service(service):
    endpoints = Endpoints(service)
    result = endpoints.explain(TEXT, margin=0.5, on_violation="search")
    assert type(result) is dict and result == service.explain(TEXT, "", "", 0.5, None, "search")
    assert endpoints.what_if(TEXT, [4]) == service.what_if(TEXT, [4])
    assert [one["passes"] for one in endpoints.compare(TEXT)] == [1, 12, 64]
    assert endpoints.explainers() == [BUNDLED_NAME]


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
        # The example for plain HTTP in docs/space.md.
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
        assert "the tokens that the model's output needs" in tools.replace("\\u0027", "'")
