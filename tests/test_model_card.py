"""Cards: what is generated, what is the owner's, and what cannot be published."""

import json

import pytest

import hf_diffmask
from hf_diffmask import DiffMaskError, DiffMaskModel
from hf_diffmask.cli import main
from hf_diffmask.examples import example_attributions
from hf_diffmask.model_card import card_for, emphasised, front_matter, markdown, merge, outside, validate, write_card
from hf_diffmask.results import RESULTS_FILE, add_results, read_results


@pytest.fixture
def generated(explainer, tmp_path):
    (tmp_path / "made").mkdir()
    return card_for(tmp_path / "made", explainer)


def test_front_matter_and_sections_of_the_owner_survive(generated):
    owned = generated.replace("---\n\n<!--", "license: mit\nlanguage: en\n---\n\nBefore.\n\n<!--", 1)
    owned = owned.replace("- diffmask\n", "- diffmask\n- mine\n", 1).rstrip() + "\n\n## After\n\nMore.\n"
    again = merge(owned, generated)
    front = front_matter(again)
    assert (front["license"], front["language"]) == ("mit", "en") and front["tags"][-1] == "mine"
    assert outside(again) == "Before.\n\n## After\n\nMore." and outside(generated) == ""
    assert again.count("begin summary") == again.count("begin states") == 1
    assert merge(again, generated) == again
    validate(again)


def test_a_section_that_is_new_follows_the_one_before_it(generated):
    section = "<!-- hf-diffmask: begin audit -->\n## Audit\n\nAll well.\n<!-- hf-diffmask: end audit -->"
    end = "<!-- hf-diffmask: end states -->"
    card = merge(generated, generated.replace(end, f"{end}\n{section}"))
    assert card.index("end states") < card.index("begin audit") < card.index("begin meaning")
    assert "begin audit" not in merge(card, generated)


@pytest.mark.parametrize(
    "old, new, says",
    [
        ("library_name: hf-diffmask\n", "", "no library_name"),
        ("## Citation", "## Citation\n\n## Next", "nothing under the heading 'Citation'"),
        ("nothing here says", "{{ nothing }} says", "placeholder is left in the section 'meaning'"),
        ("hf-diffmask: begin citation", "begin citation", "section 'citation' is missing"),
        ("tags:\n", "tags: [\n", "no YAML"),
    ],
)
def test_what_cannot_be_published(generated, old, new, says):
    validate(generated)
    with pytest.raises(DiffMaskError, match=says):
        validate(generated.replace(old, new, 1))


def test_a_card_of_somebody_else_is_left_alone_until_asked(explainer, tmp_path, capsys):
    explainer.save_pretrained(tmp_path)
    (tmp_path / "README.md").write_text("# Mine\n\nText.\n")
    assert write_card(tmp_path, explainer) is None and (tmp_path / "README.md").read_text() == "# Mine\n\nText.\n"
    assert main(["card", str(tmp_path), "--license", "apache-2.0"]) == 0
    card = (tmp_path / "README.md").read_text()
    assert outside(card) == "# Mine\n\nText." and front_matter(card)["license"] == "apache-2.0"
    (tmp_path / "README.md").write_text(f"{card}\n## Left empty\n")
    assert main(["card", str(tmp_path)]) == 2 and "nothing under the heading 'Left empty'" in capsys.readouterr().err
    assert (tmp_path / "README.md").read_text() == f"{card}\n## Left empty\n"
    assert main(["card", str(tmp_path / "nothing")]) == 2 and "name a local folder" in capsys.readouterr().err


def test_evaluations_where_the_hub_looks_for_them(explainer, tmp_path):
    figures = {"comprehensiveness": {"mean": 0.51234, "low": 0.5, "high": 0.6}}
    measured = {
        "preset": "hf_diffmask", "inputs": 9, "dataset": "org/data", "dataset_on_hub": True, "dataset_config": "one",
        "held_out": "pad", "machine": "m", "figures": figures, "table": "| a |\n|---|\n| 1 |",
    }  # fmt: skip
    add_results(tmp_path, faithfulness=measured)
    write_card(tmp_path, explainer)
    found = (tmp_path / ".eval_results" / "hf-diffmask.yaml").read_text()
    assert "id: org/data" in found and "task_id: one" in found and "value: 0.5123" in found
    add_results(tmp_path, faithfulness={**measured, "dataset": "mine.csv", "dataset_on_hub": False})
    write_card(tmp_path, explainer)
    assert not (tmp_path / ".eval_results" / "hf-diffmask.yaml").exists()
    for wrong, says in (
        ("[]", "holds no object"),
        ('{"training": 5}', "training has the wrong type"),
        ("{", "delete it"),
    ):
        (tmp_path / RESULTS_FILE).write_text(wrong)
        with pytest.raises(DiffMaskError, match=says):
            read_results(tmp_path)


def test_nothing_in_a_text_is_markup():
    assert markdown("a|b <img src=x> `c` *d*\x1b[0m") == ("a\\|b &lt;img src=x&gt; \\`c\\` \\*d\\*\\\\x1b\\[0m")
    assert emphasised("a warm, dull film", [(2, 6), (6, 7), (13, 17)]) == "a **warm,** dull **film**"
    assert emphasised("x  y", [(0, 1), (3, 4)]) == "**x  y**" and emphasised("none", []) == "none"


def test_examples_are_sentences_of_ours(classifier):
    explainer = DiffMaskModel.from_pretrained(hf_diffmask.BUNDLED_EXPLAINER, base_model=classifier)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(hf_diffmask.BUNDLED_CLASSIFIER)
    first, *_ = example_attributions(explainer, tokenizer)
    assert first["text"].replace("**", "") == "a warm and quietly funny film" and "**" in first["text"]
    assert (
        first["prediction"].startswith("POSITIVE (0.") and len(example_attributions(explainer, tokenizer, True)) == 2
    )
    json.dumps(first)
