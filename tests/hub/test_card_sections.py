"""Generated sections leave the owner's text in a card; explainers that cannot be published are refused."""

import pytest

from hf_diffmask import DiffMaskError
from hf_diffmask.hub.card_folder import card_for
from hf_diffmask.hub.card_sections import front_matter, merge, outside, validate


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
        ("Other sets may suffice", "{{ nothing }} may suffice", "placeholder is left in the section 'meaning'"),
        ("hf-diffmask: begin citation", "begin citation", "section 'citation' is missing"),
        ("tags:\n", "tags: [\n", "no YAML"),
    ],
)
def test_what_cannot_be_published(generated, old, new, says):
    validate(generated)
    with pytest.raises(DiffMaskError, match=says):
        validate(generated.replace(old, new, 1))
