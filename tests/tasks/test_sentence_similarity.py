"""Sentence embeddings: figures by hand, pooling as Sentence Transformers saves it, and every command."""

import json

import pytest
import torch
from torch.nn import functional as F
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel, pipeline

import hf_diffmask
from hf_diffmask import DiffMaskError, DiffMaskModel, recipe_config
from hf_diffmask.display.terminal import to_text
from hf_diffmask.space.service import Service
from hf_diffmask.space.settings import Settings
from hf_diffmask.tasks.registry import TASKS
from hf_diffmask.tasks.sentence_similarity import SentenceSimilarity
from hf_diffmask.testbeds.grammar import sentences
from hf_diffmask_entry import main
from tests.helpers import refused

TASK = "sentence-similarity"
TEXT = "the film is charming but the plot is dull ."


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """The encoder of the bundled classifier, with its tokenizer: the mean of its last state is the embedding."""
    folder = tmp_path_factory.mktemp("base")
    AutoModel.from_pretrained(hf_diffmask.BUNDLED_CLASSIFIER).save_pretrained(folder)
    AutoTokenizer.from_pretrained(hf_diffmask.BUNDLED_CLASSIFIER).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def trained(base, tmp_path_factory):
    """An explainer that the command trained."""
    folder = tmp_path_factory.mktemp("explainers")
    data = folder / "texts.jsonl"
    data.write_text("".join(json.dumps({"text": text}) + "\n" for text in sentences(500)))
    arguments = [
        "train", "--base_model", str(base), "--dataset", str(data), "--use_cpu", "True", "--max_steps", "200",
        "--masks", "8", "--per_device_train_batch_size", "16", "--disable_tqdm", "True", "--report_to", "none",
        "--eval_strategy", "no", "--save_strategy", "no", "--load_best_model_at_end", "False", "--output_dir",
        str(folder / "explainer"),
    ]  # fmt: skip
    assert main(arguments) == 0
    return folder / "explainer"


def test_the_task_is_told_by_a_class_without_a_head():
    config = BertConfig()
    assert [name for name, task in TASKS.items() if task.fits(["BertModel"], config)] == [TASK]
    assert not SentenceSimilarity.fits(["BertForMaskedLM"], config)
    config.is_encoder_decoder = True
    assert not SentenceSimilarity.fits(["T5Model"], config)


@pytest.mark.parametrize(("reads", "expected"), [("mean", [1.0, 2.0]), ("first", [0.0, 3.0]), ("last", [2.0, 1.0])])
def test_numbers_by_hand(reads, expected):
    task = SentenceSimilarity({"reads": reads})
    hidden = torch.tensor([[[0.0, 3.0], [2.0, 1.0], [float("nan"), 0.0]]])
    output = type("Output", (), {"last_hidden_state": hidden})()
    found = task.target(output, torch.tensor([[1, 1, 0]]))
    torch.testing.assert_close(found, F.normalize(torch.tensor([expected]), dim=-1))
    other = torch.tensor([[0.6, 0.8]])
    cosine = (found @ other.T).item()
    assert task.value(found, other).item() == pytest.approx(cosine)
    assert task.divergence(found, other).item() == pytest.approx(1 - cosine)
    assert task.divergence(found, found).item() == pytest.approx(0, abs=1e-6)
    assert task.agreement(found, other).item() == (cosine >= 0.9)
    assert task.log_odds(task.kept(found, other)).item() == pytest.approx(4 * cosine)


def test_the_masked_pass_is_checked_by_hand(trained):
    explain = pipeline("diffmask-attribution", model=str(trained))
    result = explain(TEXT)
    encoding = explain.tokenizer(TEXT, return_tensors="pt")
    kept = torch.tensor([[token["kept"] for token in result["tokens"]]])
    base, baseline = explain.model.base, explain.model.baseline
    with torch.no_grad():
        whole = base(**encoding).last_hidden_state.mean(1)
        embedded = base.get_input_embeddings()(encoding.pop("input_ids"))
        masked = base(inputs_embeds=torch.where(kept[..., None], embedded, baseline), **encoding)
    cosine = F.cosine_similarity(whole, masked.last_hidden_state.mean(1)).item()
    assert result["score"] == pytest.approx(cosine, abs=1e-5) and result["label"] == "embedding"
    assert result["divergence"] == pytest.approx(1 - cosine, abs=1e-5) and "drop" not in result
    assert result["same_prediction"] == (cosine >= 0.9) and result["within_margin"] == (1 - cosine <= 0.1)
    assert f"moves the embedding by {result['divergence']:.3f} (1 - cosine)" in to_text(result, color=False)


def test_evidence_is_what_the_similarity_loses(trained):
    """Against the similarity without each token alone, and over random masks."""
    explain = pipeline("diffmask-attribution", model=str(trained))
    report = json.loads((trained / "explainer_results.json").read_text())
    assert report["states"][-1]["kept_share"] < 0.9
    correlations = []
    for text in sentences(20, seed=3):
        result = explain(text, verify=False)
        features = dict(explain.tokenizer(text, return_tensors="pt", return_special_tokens_mask=True))
        recorded = explain.model.record(explain.model.batch(**features))
        units = [number for number, token in enumerate(result["tokens"]) if not token["special"]]
        lost = []
        for unit in units:
            mask = torch.ones_like(recorded.batch.maskable)
            mask[0, unit] = False
            lost.append(1 - explain.model.task.value(recorded.target, explain.model.masked(recorded, mask)).item())
        evidence = [result["tokens"][unit]["evidence"] for unit in units]
        correlations.append(torch.corrcoef(torch.tensor([evidence, lost]))[0, 1].item())
    assert sum(correlations) / 20 > 0.6


def test_a_batch_and_windows(trained, tokenizer):
    explain = pipeline("diffmask-attribution", model=str(trained))
    texts = [TEXT, "dull", "a superb cast and a warm script ."]
    for text, found in zip(texts, explain(texts, batch_size=3), strict=True):
        alone = explain(text)
        assert [token["kept"] for token in found["tokens"]] == [token["kept"] for token in alone["tokens"]]
        assert found["score"] == pytest.approx(alone["score"], abs=1e-5)
    explain.length = 24
    long = explain(" ".join(sentences(8)))
    assert 0 < long["score"] <= 1 and long["divergence"] == pytest.approx(1 - long["score"], abs=1e-5)


def test_what_does_not_fit_is_refused(trained, tmp_path, capsys):
    explain = pipeline("diffmask-attribution", model=str(trained))
    with pytest.raises(DiffMaskError, match="each has an embedding of its own, so give one"):
        explain({"text": TEXT, "text_pair": TEXT})
    with pytest.raises(DiffMaskError, match="whole output, not a class: leave `label` out"):
        explain(TEXT, label="embedding")
    shared = ["--model", str(trained), "--dataset", "no.csv", "--device", "cpu", "--output_dir", str(tmp_path / "o")]
    refused(capsys, ["evaluate", *shared], "Faithfulness needs a class's probability")
    refused(capsys, ["audit", *shared], "this explainer is not for a classifier")


def test_padding_does_not_change_an_embedding(base):
    """FNet mixes padding into every token, so rows of one length run together: the last state is spread again."""
    from transformers import FNetConfig, FNetModel

    torch.manual_seed(0)
    model = FNetModel(
        FNetConfig(vocab_size=50, hidden_size=16, num_hidden_layers=2, intermediate_size=24, tpu_short_seq_length=8)
    ).eval()
    tokenizer = AutoTokenizer.from_pretrained(base)
    explainer = DiffMaskModel.from_base_model(model, None, **recipe_config(task=TASK)).eval()
    ids = torch.tensor([[5, 6, 7, 8], [9, 10, 0, 0]])
    units = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    together = explainer.record(explainer.batch(input_ids=ids, attention_mask=units)).target
    alone = explainer.record(explainer.batch(input_ids=ids[1:, :2], attention_mask=units[1:, :2])).target
    torch.testing.assert_close(together[1:], alone)
    assert tokenizer.pad_token_id is not None


def test_the_card_runs(trained, capsys):
    card = (trained / "README.md").read_text()
    assert "pipeline_tag: sentence-similarity" in card and "1 less the cosine similarity" in card
    assert main(["explain", "--model", str(trained), "--format", "json", TEXT]) == 0
    assert json.loads(capsys.readouterr().out)["task"] == TASK


def test_analyses_and_the_page(trained, tmp_path, capsys):
    data = tmp_path / "texts.jsonl"
    data.write_text("".join(json.dumps({"text": text}) + "\n" for text in sentences(12, seed=2)))
    arguments = [
        "--model",
        str(trained),
        "--dataset",
        str(data),
        "--device",
        "cpu",
        "--output_dir",
        str(tmp_path / "o"),
    ]
    assert main(["analyze", *arguments]) == 0, capsys.readouterr().err
    service = Service(Settings(explainers=(str(trained),)))
    found = service.explain(TEXT)
    kept = [number for number, token in enumerate(found["tokens"]) if token["kept"]]
    assert service.what_if(TEXT, kept)["divergence"] == pytest.approx(found["divergence"], abs=1e-5)


def test_bert_with_a_pooler_is_read_before_it(base):
    """The pooler of BERT is no part of a sentence embedding, and its weights do not matter."""
    model = BertModel.from_pretrained(base).eval()
    tokenizer = AutoTokenizer.from_pretrained(base)
    explainer = DiffMaskModel.from_base_model(model, tokenizer, **recipe_config(task=TASK)).eval()
    encoding = tokenizer(TEXT, return_tensors="pt")
    with torch.no_grad():
        expected = F.normalize(model(**encoding).last_hidden_state.mean(1), dim=-1)
    torch.testing.assert_close(explainer.record(explainer.batch(**encoding)).target, expected)
    assert explainer.config.task_constants == {"reads": "mean"} and explainer.config.read_flow
