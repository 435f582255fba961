"""Pooling of sentence-embedding models, from files as Sentence Transformers writes them."""

import json

import pytest

from hf_diffmask import DiffMaskError
from hf_diffmask.base.pooling import pooling_of

MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
]


def folder_of(tmp_path, pooling, modules=MODULES):
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 8, **pooling}))
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    return str(tmp_path)


@pytest.mark.parametrize(
    ("pooling", "reads"),
    [
        ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}, "mean"),
        (
            {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False, "pooling_mode_lasttoken": False},
            "first",
        ),
        ({"pooling_mode_lasttoken": True}, "last"),
        ({"pooling_mode": "cls"}, "first"),
    ],
)
def test_modes(tmp_path, pooling, reads):
    assert pooling_of(folder_of(tmp_path, pooling)) == reads


def test_without_files_it_is_the_mean(tmp_path):
    assert pooling_of(str(tmp_path)) == pooling_of("") == "mean"


def test_what_cannot_be_explained_is_refused(tmp_path):
    dense = [*MODULES, {"idx": 3, "name": "3", "path": "3_Dense", "type": "sentence_transformers.models.Dense"}]
    (tmp_path / "a").mkdir()
    with pytest.raises(DiffMaskError, match="makes its embeddings with Dense: only models with a transformer"):
        pooling_of(folder_of(tmp_path / "a", {"pooling_mode_mean_tokens": True}, dense))
    for number, (pooling, named) in enumerate(
        (
            ({"pooling_mode_max_tokens": True}, "max_tokens"),
            ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}, "mean_tokens and cls_token"),
            ({"pooling_mode_mean_tokens": False}, "nothing"),
        )
    ):
        (tmp_path / str(number)).mkdir()
        with pytest.raises(DiffMaskError, match=f"pools its last state by {named}: only the mean"):
            pooling_of(folder_of(tmp_path / str(number), pooling))


@pytest.mark.parametrize("content", ["[", "{}", "[3]", '[{"type": "x.Pooling", "path": "../../elsewhere"}]'])
def test_damaged_files_are_refused(tmp_path, content):
    (tmp_path / "modules.json").write_text(content)
    with pytest.raises(DiffMaskError, match=r"modules\.json of .* is not as Sentence Transformers writes it"):
        pooling_of(str(tmp_path))


def test_a_damaged_pooling_is_refused(tmp_path):
    folder = folder_of(tmp_path, {"pooling_mode_mean_tokens": True})
    (tmp_path / "1_Pooling" / "config.json").write_text("[]")
    with pytest.raises(DiffMaskError, match=r"1_Pooling/config\.json of .* is not as"):
        pooling_of(folder)


def test_models_that_are_not_here_have_no_files(tmp_path):
    assert pooling_of("acme/not-in-the-cache") == "mean"
