"""`hf-diffmask demo` runs to the end."""

from hf_diffmask_entry import main
from tests.helpers import refused


def test_demo_runs_the_whole_way(capsys, tmp_path):
    folder = tmp_path / "demo"
    assert main(["demo", "--output_dir", str(folder), "--max_steps", "6", "--num_sentences", "60"]) == 0
    printed = capsys.readouterr().out
    assert "small\n   grammar of our own" in printed and "heatmap.html" in printed
    assert (folder / "heatmap.html").read_text().count("<section>") == 3
    refused(capsys, ["demo", "--output_dir", str(folder), "--max_steps", "6", "--num_sentences", "60"], "not empty")
