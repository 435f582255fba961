"""Results are added part by part; a file with other content is refused."""

import json

import pytest

from hf_diffmask import DiffMaskError
from hf_diffmask.hub.card_folder import card_for, write_eval_results
from hf_diffmask.hub.results import RESULTS_FILE, add_results, read_results


def test_a_part_takes_the_place_of_what_was_known_of_it_alone(tmp_path):
    assert read_results(tmp_path) == {}
    add_results(tmp_path, training={"inputs": 5}, states=[{"state": "embeddings"}])
    add_results(str(tmp_path), training={"minutes": 1.5}, audit={"findings": []})
    expected = {"training": {"minutes": 1.5}, "states": [{"state": "embeddings"}], "audit": {"findings": []}}
    assert read_results(tmp_path) == expected == json.loads((tmp_path / RESULTS_FILE).read_text())
    add_results(tmp_path, of_a_later_version=3)
    assert read_results(str(tmp_path)) == {**expected, "of_a_later_version": 3}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("[]", "it holds no object"),
        ('{"training": 5}', "training has the wrong type"),
        ('{"states": {}}', "states has the wrong type"),
        ("{", "Expecting property name"),
        (b"\xff\xfe", "codec can't decode"),
        ("[" * 100_000, "maximum recursion depth exceeded"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(tmp_path, wrong, says):
    path = tmp_path / RESULTS_FILE
    path.write_bytes(wrong if isinstance(wrong, bytes) else wrong.encode())
    for use in (read_results, lambda folder: add_results(folder, audit={})):
        with pytest.raises(DiffMaskError) as error:
            use(tmp_path)
        said = str(error.value)
        assert said.startswith(f"{path} cannot be read (") and says in said
        assert said.endswith("): delete it, and measure again.") and "\n" not in said
    assert path.read_bytes() == (wrong if isinstance(wrong, bytes) else wrong.encode()), "the file must not change"


@pytest.mark.parametrize(
    "parts",
    [
        {"faithfulness": {"dataset_on_hub": True}},
        {"faithfulness": {"dataset_on_hub": True, "figures": {"comprehensiveness": {"mean": "high"}}}},
        {"states": [{"state": "embeddings"}]},
        {"states": [7]},
        {"training": {"dataset": 5}},
        {"audit": {"texts": 1}},
    ],
)
def test_results_that_a_card_cannot_show_are_one_sentence(explainer, tmp_path, parts):
    add_results(tmp_path, **parts)
    with pytest.raises(DiffMaskError) as error:
        card_for(tmp_path, explainer)
        write_eval_results(tmp_path)
    said = str(error.value)
    assert said.startswith(f"{tmp_path / RESULTS_FILE} does not hold the results that a card shows (")
    assert said.endswith("): delete it, and measure again.") and "\n" not in said
