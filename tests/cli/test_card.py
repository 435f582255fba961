"""`hf-diffmask card` updates the owner's card, and refuses explainers that cannot be published."""

from hf_diffmask.hub.card_folder import write_card
from hf_diffmask.hub.card_sections import front_matter, outside
from hf_diffmask_entry import main


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
