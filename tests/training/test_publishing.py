"""A run is published with its settings, and stays saved if publishing fails."""

import pytest

from hf_diffmask import DiffMaskError
from hf_diffmask.explainer import publishing
from tests.helpers import make_trainer


class Publisher:
    """Records requests to publish. Tests of the Hub itself are in tests/hub."""

    def __init__(self):
        self.asked, self.fault = [], None

    def check_writable(self, *asked):
        self.asked.append(("check_writable", *asked))
        return f"acme/{asked[0]}"

    def push(self, *asked, **settings):
        self.asked.append(("push", *asked, settings))
        if self.fault:
            raise DiffMaskError(self.fault)
        return "https://hub/acme/run/commit/1"

    def push_checkpoint(self, *asked):
        self.asked.append(("push_checkpoint", *asked))
        if self.fault:
            raise DiffMaskError(self.fault)


@pytest.fixture
def publisher(monkeypatch):
    made = Publisher()
    monkeypatch.setattr(publishing, "_connect", [lambda: made])
    return made


@pytest.fixture
def make(classifier, tokenizer, tmp_path):
    def make(**settings):
        return make_trainer(classifier, tokenizer, tmp_path / "run", hub_token="hf_of_settings", **settings)

    return make


def test_the_settings_name_repo_branch_and_token(make, publisher, tmp_path):
    trainer = make(hub_model_id="mine", hub_revision="dev", hub_private_repo=True)
    assert trainer.push_to_hub(with_base_model=True) == "https://hub/acme/run/commit/1"
    check, (name, folder, repo, settings) = publisher.asked
    assert check == ("check_writable", "mine", "hf_of_settings", True, "dev")
    assert (name, folder, repo) == ("push", str(tmp_path / "run"), "acme/mine")
    assert settings == {
        "private": None, "revision": "dev", "token": "hf_of_settings", "message": "End of training",
        "with_base_model": True,
    }  # fmt: skip
    saved = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= saved


def test_what_is_asked_for_comes_before_the_settings_and_the_folder_names_the_repo(make, publisher):
    trainer = make()
    trainer.push_to_hub("Mine", token="hf_other", revision="main", private=False)
    check, (*_, settings) = publisher.asked
    assert check == ("check_writable", "run", "hf_other", False, None)
    assert settings == {"private": False, "revision": "main", "token": "hf_other", "message": "Mine"}
    trainer.push_to_hub(None)
    assert [name for name, *_ in publisher.asked] == ["check_writable", "push", "push"], "checked only once"
    assert publisher.asked[-1][-1]["message"] == "End of training"


def test_an_explainer_that_cannot_be_published_is_saved(make, publisher, tmp_path):
    publisher.fault = "The Hub cannot be reached."
    with pytest.raises(DiffMaskError) as error:
        make().push_to_hub()
    folder = tmp_path / "run"
    assert str(error.value) == (
        "The Hub cannot be reached. The explainer is trained and saved: "
        f"`hf-diffmask push {folder} acme/run` publishes it."
    )
    assert (folder / "model.safetensors").is_file()


def test_checkpoints_are_published_where_that_is_asked_for_and_training_goes_on(make, publisher):
    trainer = make(hub_strategy="checkpoint", hub_revision="dev")
    trainer.hub_model_id = "acme/run"
    trainer._push_from_checkpoint("folder")
    assert publisher.asked == [("push_checkpoint", "folder", "acme/run", "dev", "hf_of_settings")]
    publisher.fault = "no"
    trainer._push_from_checkpoint("folder")
    silent = make(hub_strategy="end")
    silent._push_from_checkpoint("folder")
    assert len(publisher.asked) == 2


def test_only_the_main_process_publishes(make, publisher, monkeypatch):
    trainer = make()
    monkeypatch.setattr(trainer, "is_world_process_zero", lambda: False)
    trainer.hub_model_id = None
    trainer.init_hf_repo()
    assert trainer.push_to_hub() is None and publisher.asked == []
