"""What Transformers would read as weights is known before it reads: safetensors below the folder, and no others."""

import json
import shutil
from pathlib import Path

import httpx2
import pytest
import torch
from safetensors.torch import load_file

import hf_diffmask
from hf_diffmask import DiffMaskError, DiffMaskModel
from hf_diffmask.explainer.loading import load_explainer
from hf_diffmask.explainer.repository import Repository
from tests.explainer.helpers import indexed

INDEX = "model.safetensors.index.json"
REFUSED = [
    "pytorch_model.bin", "model.pt", "model.safetensors.bin", "MODEL.SAFETENSORS", "model.safetensors/../x.bin",
    "/tmp/x.safetensors", "../x.safetensors", "a/../../x.safetensors", "./x.safetensors", "~/x.safetensors",
    "..\\x.safetensors", "C:\\x.safetensors", "C:x.safetensors", "*.safetensors", "a/*/x.safetensors", ".safetensors",
    ".hidden.safetensors", "a//x.safetensors", "x\n.safetensors", "", 3, None, ["x.safetensors"], {}, True,
]  # fmt: skip


@pytest.mark.parametrize("name", REFUSED, ids=repr)
def test_an_index_that_names_something_else(tmp_path, name):
    (tmp_path / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": {"a": "x.safetensors", "b": name}}))
    with pytest.raises(DiffMaskError) as error:
        Repository(tmp_path).weights()
    said = str(error.value)
    assert said.startswith(
        f"{INDEX} of {tmp_path} names {str(name)[:80]!r} as weights: only safetensors below its own"
    )
    if isinstance(name, str):
        with pytest.raises(DiffMaskError, match=r"^config.json of .* names .* as weights"):
            Repository(tmp_path).weights(named=name)
    with pytest.raises(DiffMaskError, match=r"^config.json of .* names .* as weights"):
        Repository(tmp_path).weights(named="adapter_model.bin")


@pytest.mark.parametrize(
    ("index", "says"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "holds a list instead"),
        ("{}", "lacks `weight_map` or `metadata`"),
        ('{"metadata": {}, "weight_map": []}', "lacks `weight_map` or `metadata`"),
        ('{"metadata": {}, "weight_map": {}}', "lacks `weight_map` or `metadata`"),
        ('{"weight_map": {"a": "x.safetensors"}}', "lacks `weight_map` or `metadata`"),
        ('{"metadata": {}, "weight_map": {"a": "gone.safetensors"}}', "lacks gone.safetensors, which model.safe"),
    ],
)
def test_a_malformed_index(tmp_path, index, says):
    (tmp_path / INDEX).write_text(index)
    with pytest.raises(DiffMaskError) as error:
        Repository(tmp_path).weights()
    assert says in str(error.value) and str(tmp_path) in str(error.value) and "\n" not in str(error.value)


def test_the_files_that_transformers_reads(tmp_path):
    def put(*names, index=None):
        for name in names:
            (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
            (tmp_path / name).write_bytes(b"")
        if index:
            listed = {"metadata": {}, "weight_map": dict(zip("abc", names, strict=False))}
            (tmp_path / index).write_text(json.dumps(listed))

    def found(subfolder="", **options):
        home = tmp_path / subfolder
        return [path.relative_to(home).as_posix() for path in Repository(tmp_path, None, subfolder).weights(**options)]

    assert found() == [], "Transformers says what is missing"
    put("b-2.safetensors", "a 1.safetensors", "parts/c.safetensors", index=INDEX)
    assert found() == ["a 1.safetensors", "b-2.safetensors", "parts/c.safetensors"]
    put("half.safetensors", index="model.safetensors.index.fp16.json")
    assert found(variant="fp16") == ["half.safetensors"]
    put("model.fp16.safetensors", "model.safetensors", "sub/model.safetensors", "other.safetensors")
    assert found(variant="fp16") == ["model.fp16.safetensors"] and found() == ["model.safetensors"]
    assert found("sub") == ["model.safetensors"] and found("sub", variant="fp16") == []
    assert found(named="other.safetensors") == ["other.safetensors"] and found(named=INDEX)[0] == "a 1.safetensors"
    put("shard-00000-model-00001-of-00001.safetensors")  # would be read in the place of model.safetensors
    with pytest.raises(DiffMaskError, match="shards of a distributed checkpoint"):
        found()


def test_links_into_other_folders_stay_allowed(folder, tmp_path, batch):
    # The Hub's cache is made of links to blobs.
    wanted = DiffMaskModel.from_pretrained(folder)(**batch).keep_probability
    (tmp_path / "blobs").mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.move(folder / name, tmp_path / "blobs" / name)
        (folder / name).symlink_to(tmp_path / "blobs" / name)
    assert torch.equal(DiffMaskModel.from_pretrained(folder)(**batch).keep_probability, wanted)


def test_a_file_in_the_place_of_a_folder_is_not_read(folder, monkeypatch):
    monkeypatch.setattr(torch, "load", None)
    torch.save(load_file(folder / "model.safetensors"), folder / "weights.bin")
    config = DiffMaskModel.from_pretrained(folder).config
    for name in (folder / "weights.bin", folder / "model.safetensors"):
        with pytest.raises(DiffMaskError, match=f"{name.name} is a file: name the folder"):
            DiffMaskModel.from_pretrained(name, config=config)


def test_other_configs_in_the_place_of_this_one(folder):
    fields = json.loads((folder / "config.json").read_text())
    (folder / "config.4.0.0.json").write_text(json.dumps({**fields, "hidden_size": 10**9}))
    (folder / "config.json").write_text(json.dumps({**fields, "configuration_files": ["config.4.0.0.json"]}))
    with pytest.raises(DiffMaskError, match="names other files to read in its place"):
        DiffMaskModel.from_pretrained(folder)


def test_repos_on_the_hub(hub, folder, tmp_path):
    def put(repo, *folders):
        files = {f"{where}{one.name}": one.read_bytes() for where, path in folders for one in path.iterdir()}
        return hub.commit(repo, files)

    def naming(base, **named):
        copy = Path(shutil.copytree(folder, tmp_path / str(len(list(tmp_path.iterdir())))))
        fields = json.loads((copy / "config.json").read_text())
        (copy / "config.json").write_text(json.dumps({**fields, "base_model_name_or_path": base, **named}))
        return copy

    folder = naming("acme/base")
    first, last = put("acme/good", ("", folder)), hub.commit("acme/good", {"model.safetensors": b""})
    for name in ("pickle", "up", "absolute"):
        shutil.copytree(folder, tmp_path / name)
    indexed(tmp_path / "pickle", "pytorch_model.bin")
    indexed(tmp_path / "up", "../../../other.safetensors")
    indexed(tmp_path / "absolute", "/etc/other.safetensors")
    for name in ("pickle", "up", "absolute"):
        put(f"acme/{name}", ("", tmp_path / name))
    base = tmp_path / "base"
    shutil.copytree(hf_diffmask.BUNDLED_CLASSIFIER, base)
    indexed(base, "pytorch_model.bin")
    put("acme/far", ("", naming("acme/base", base_model_revision=put("acme/base", ("", base)))))
    put("acme/near", ("", naming("./base_model")), ("base_model/", base))
    said = hub.run("""
    import json, torch
    from transformers import AutoModel, pipeline
    from hf_diffmask import DiffMaskModel
    from hf_diffmask.explainer.guest import load_base
    from hf_diffmask.explainer.repository import Repository
    from hf_diffmask.pipeline.loading import load_pipeline
    from hf_diffmask.space.settings import Settings
    from hf_diffmask.space.shelf import Shelf

    torch.load = None  # never called
    ways = {
        "class": DiffMaskModel.from_pretrained, "auto": AutoModel.from_pretrained, "loading": load_pipeline,
        "pipeline": lambda name: pipeline("diffmask-attribution", model=name),
        "page": Shelf(Settings(allowed=("acme/*",))).get,
        "base": lambda name: DiffMaskModel.from_pretrained(name).base,
        "train": lambda name: load_base(name),
    }
    found = {"commit": Repository("acme/good").revision}
    every = ["class", "auto", "loading", "pipeline", "page"]
    for name, chosen in {
        "good": every, "pickle": every, "up": ["class"], "absolute": ["class"], "far": ["class", "base", "page"],
        "near": ["class", "base", "pipeline"], "base": ["train"], "none": ["loading"],
    }.items():
        for way in chosen:
            try:
                ways[way](f"acme/{name}")
                found[f"{name} {way}"] = "loaded"
            except Exception as error:
                found[f"{name} {way}"] = f"{type(error).__name__}: {error}"
    print(json.dumps(found))
    """)
    found = json.loads(said.splitlines()[-1])
    assert found["commit"] == last != first, "the commit is fixed, since the branch may move"
    ways = {"class": "DiffMaskError", "auto": "DiffMaskError", "loading": "DiffMaskError", "page": "DiffMaskError",
            "pipeline": "PipelineError"}  # fmt: skip
    named = {"pickle": "pytorch_model.bin", "up": "../../../other.safetensors", "absolute": "/etc/other.safetensors"}
    for way, kind in ways.items():
        assert found[f"good {way}"].startswith(f"{kind}: The weights of acme/good are damaged (model.safetensors: ")
        assert found[f"pickle {way}"].startswith(
            f"{kind}: {INDEX} of acme/pickle names 'pytorch_model.bin' as weights"
        )
    for name, file in named.items():
        assert found[f"{name} class"].startswith(f"DiffMaskError: {INDEX} of acme/{name} names {file!r} as weights")
    assert found["far class"] == found["near class"] == "loaded", "the base model is read later"
    for case, repo in {
        "far base": "base", "far page": "base", "base train": "base", "near base": "near", "near pipeline": "near"
    }.items():  # fmt: skip
        assert found[case].startswith(f"DiffMaskError: {INDEX} of acme/{repo} names 'pytorch_model.bin' as weights")
    assert found["none loading"].startswith("DiffMaskError: The explainer acme/none cannot be loaded: ")
    assert all(text == "loaded" or "\n" not in text for name, text in found.items() if not name.startswith("none"))
    assert not [path for _, path, _ in hub.requests if "pytorch_model.bin" in path], "it is not even fetched"


def test_a_connection_that_breaks_is_the_error_that_transformers_raises(monkeypatch):
    def broken(*_, **__):
        raise httpx2.ReadError("the connection was cut")

    monkeypatch.setattr("hf_diffmask.explainer.repository.cached_file", broken)
    with pytest.raises(OSError, match=r"^config.json of acme/x cannot be fetched \(the connection was cut\)$"):
        Repository("acme/x")
    with pytest.raises(DiffMaskError, match=r"^The explainer acme/x cannot be loaded: .* \(the connection was cut\)"):
        load_explainer("acme/x")


def test_adapters_are_not_read(folder, monkeypatch):
    (folder / "adapter_config.json").write_text("{}")
    monkeypatch.setattr("hf_diffmask.explainer.repository.is_peft_available", lambda: False)
    assert Repository(folder).weights() == [folder / "model.safetensors"], "without PEFT, Transformers reads none"
    with pytest.raises(DiffMaskError, match="explainers take none: name the explainer itself"):
        DiffMaskModel.from_pretrained(folder, adapter_kwargs={"_adapter_model_path": "acme/adapter"})
    monkeypatch.setattr("hf_diffmask.explainer.repository.is_peft_available", lambda: True)
    with pytest.raises(DiffMaskError, match=r"holds an adapter \(adapter_config.json\), which is not read: merge it"):
        DiffMaskModel.from_pretrained(folder)
