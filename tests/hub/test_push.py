"""A push is one commit: after a fault nothing is damaged, and the same command succeeds."""

import json

import pytest

from hf_diffmask import DiffMaskError
from hf_diffmask.hub.card_sections import front_matter
from hf_diffmask.hub.push import merged_card
from tests.helpers import WRITE, command, scores


@pytest.mark.parametrize(
    "match, fault, more, says",
    [
        ("POST .*/commit/", 401, {}, "does not accept the token"),
        ("POST .*/preupload/", 403, {}, "may not write to acme/explainer"),
        ("POST .*/preupload/", 404, {"code": "RepoNotFound"}, "There is no acme/explainer"),
        ("POST .*/commit/", 409, {"times": 9}, "Another operation on acme/explainer is in progress"),
        ("POST .*/commit/", 412, {"times": 9}, "Others kept committing"),
        ("POST .*/commit/", 429, {"seconds": 3600}, "wait 3600 seconds"),
        ("POST .*/commit/", 500, {"times": 9}, "a fault of its own (500)"),
        ("POST .*/commit/", "stall", {"times": 9, "seconds": 30}, "connection to the Hub broke"),
        ("POST .*/commit/", "cut", {"times": 9}, "connection to the Hub broke"),
        ("PUT /lfs/", "cut", {"times": 99}, "connection to the Hub broke"),  # in the middle of the weights
    ],
)
def test_a_fault_leaves_all_whole_and_the_same_command_goes_on(hub, named, match, fault, more, says):
    hub.commit("acme/explainer", {"README.md": b"---\nlicense: mit\n---\n\nMine.\n", "notes.txt": b"mine"})
    before = hub.head("acme/explainer")
    local = {path.name: path.read_bytes() for path in named.iterdir() if path.is_file()}
    hub.fail(match, fault, **more)
    push = ["push", named, "acme/explainer", "--timeout", "0.5"]
    status, said = command(hub, *push)
    assert status == 2 and says in said and "Traceback" not in said and WRITE not in said
    assert "What was published before is whole" in said
    assert hub.head("acme/explainer") == before
    assert {path.name: path.read_bytes() for path in named.iterdir() if path.is_file()} == local
    hub.faults.clear()
    status, said = command(hub, *push)
    assert status == 0 and len(hub.commits("acme/explainer")) == 3  # creation, the owner's commit, the push
    files = hub.files("acme/explainer")
    assert files["notes.txt"] == b"mine" and "Mine." in files["README.md"].decode()
    assert front_matter(files["README.md"].decode())["license"] == "mit"
    assert files["model.safetensors"] == (named / "model.safetensors").read_bytes()


def test_what_passes_is_tried_again(hub, named):
    assert command(hub, "push", named, "acme/explainer", "--private")[0] == 0
    first = hub.head("acme/explainer")
    (named / "training_args.json").write_text('{"recipe": "path"}')
    # Another user commits after we read the head; then the Hub fails; then the answer is lost.
    hub.fail("POST .*/commit/", lambda: hub.commit("acme/explainer", {"other.txt": b"theirs"}))
    hub.fail("POST .*/commit/", 500, after=1)
    hub.fail("POST .*/commit/", "cut", after=2, done=True)
    status, said = command(hub, "push", named, "acme/explainer")
    assert status == 0, said
    files = hub.files("acme/explainer")
    assert files["other.txt"] == b"theirs" and files["training_args.json"] == b'{"recipe": "path"}'
    ours, theirs = hub.commits("acme/explainer")[:2]
    assert hub.commits("acme/explainer")[2] == first and "training_args.json" not in hub.files(
        "acme/explainer", theirs
    )
    assert command(hub, "push", named, "acme/explainer", "--revision", "trial")[0] == 0
    assert hub.head("acme/explainer", "trial") == ours


def test_a_base_model_in_a_folder_goes_along_on_request_only(hub, folder):
    status, said = command(hub, "push", folder, "acme/alone")
    assert status == 0 and "nobody else can load this explainer" in said
    assert json.loads(hub.files("acme/alone")["config.json"])["base_model_name_or_path"] is None
    assert "base_model:" not in hub.files("acme/alone")["README.md"].decode()
    status, said = command(hub, "push", folder, "acme/both", "--with_base_model", "--license", "mit")
    assert status == 0 and "nobody else" not in said
    files = hub.files("acme/both")
    assert json.loads(files["config.json"])["base_model_name_or_path"] == "./base_model"
    assert files["base_model/model.safetensors"] == (folder.parent / "classifier/model.safetensors").read_bytes()
    assert scores(hub, "acme/both", home="empty") == pytest.approx(scores(hub, folder), abs=1e-6)
    assert scores(hub, "acme/both", home="empty", HF_HUB_OFFLINE="1") == pytest.approx(scores(hub, folder), abs=1e-6)


def test_a_model_in_memory_is_pushed_with_all_that_lay_beside_it(hub, named):
    assert command(hub, "push", named, "acme/first")[0] == 0
    code = """
    from hf_diffmask import DiffMaskModel
    DiffMaskModel.from_pretrained("acme/first").push_to_hub("acme/second")
    """
    hub.run(code, token=WRITE, home="empty")
    first, second = hub.files("acme/first"), hub.files("acme/second")
    assert first.keys() == second.keys()
    changed = {name for name in first if first[name] != second[name]}
    assert changed <= {"README.md", "config.json"} and b"acme/second" in second["README.md"]


def test_two_cards_that_were_written_into():
    generated = (
        "---\ntags: [diffmask]\n---\n\n<!-- hf-diffmask: begin summary -->\nNew\n<!-- hf-diffmask: end summary -->\n"
    )
    old = generated.replace("New", "Old")
    mine, theirs = f"{old}\nMine.\n", f"{old}\nTheirs.\n"
    assert "Theirs." in (card := merged_card(old, theirs, generated)) and "New" in card and "Old" not in card
    assert "Mine." in merged_card(mine, old, generated) and merged_card("", "", generated).count("New") == 1
    with pytest.raises(DiffMaskError, match="The card in the folder and the card on the Hub both have text of yours"):
        merged_card(mine, theirs, generated)
    assert "Theirs." not in (card := merged_card(mine, theirs, generated, overwrite=True)) and "Mine." in card
