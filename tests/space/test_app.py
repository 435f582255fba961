"""The page has only the named endpoints, a health check, and only allowed explainers."""

import asyncio
import json

import pytest

import hf_diffmask
from tests.helpers import TEXT, command
from tests.space.helpers import serving

pytest.importorskip("gradio", reason="the Space needs hf-diffmask[space]")


@pytest.fixture(scope="module")
def page(service):
    from hf_diffmask.space.app import build

    return build(service.settings, service)


def test_what_is_private_and_what_is_an_endpoint(page):
    names = {one.api_name: one.api_visibility for one in page.fns.values()}
    assert [name for name, visibility in names.items() if visibility != "private"] == [
        "explain", "what_if", "compare", "explainers"
    ]  # fmt: skip
    assert page.title == "Differentiable Masking" and not page.analytics_enabled


def test_health():
    from hf_diffmask.space.app import health

    assert json.loads(asyncio.run(health(None)).body) == {"status": "ok", "version": hf_diffmask.__version__}


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
