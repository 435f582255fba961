"""The GRU target, checked by hand: padding, gradients, round trips, tokenizer."""

import math

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from hf_diffmask import DiffMaskModel
from hf_diffmask.errors import DiffMaskError
from hf_diffmask.testbeds.gru import GruConfig, GruForSequenceClassification, word_tokenizer
from tests.helpers import masked_output

TEXTS = ["The soup was hot", "the bread was stale and the soup was cold", "Tea"]


@pytest.fixture
def words():
    return word_tokenizer(TEXTS, 100)


@pytest.fixture
def gru(words):
    config = GruConfig(vocab_size=len(words), embedding_size=8, hidden_size=8, num_labels=3)
    return GruForSequenceClassification(config).eval()


@pytest.fixture
def features(words):
    return dict(words(TEXTS, padding=True, return_tensors="pt"))


def set_all(model, value):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(value)


def test_a_state_by_hand():
    model = GruForSequenceClassification(GruConfig(vocab_size=2, embedding_size=2, hidden_size=2, num_labels=2)).eval()
    set_all(model, 0.0)
    with torch.no_grad():
        model.embeddings.weight[1] = torch.tensor([1.0, -0.5])
        gru = model.layers[0].gru
        # Rows: reset gate, update gate, candidate. With all other weights at 0, both gates are 1/2.
        gru.weight_ih_l0[2] = torch.tensor([1.0, 0.0])
        gru.weight_ih_l0_reverse[2] = torch.tensor([0.0, 1.0])
        model.classifier.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
        model.classifier.bias.copy_(torch.tensor([0.0, 0.25]))
    output = model(torch.tensor([[1, 1]]), labels=torch.tensor([0]))
    # h <- (h + tanh(x)) / 2 from 0, in either direction; the maximum is over both tokens.
    forwards, backwards = 0.75 * math.tanh(1.0), 0.5 * math.tanh(-0.5)
    expected = torch.tensor([[forwards, 2 * backwards + 0.25]])
    torch.testing.assert_close(output.logits, expected)
    torch.testing.assert_close(output.loss, expected[0].logsumexp(0) - expected[0, 0])


@pytest.mark.parametrize("sizes", [(8, 8, 1), (6, 8, 1), (6, 10, 3)])
def test_a_batch_is_what_its_rows_are_alone(words, features, sizes):
    embedding_size, hidden_size, layers = sizes
    config = GruConfig(
        vocab_size=len(words), embedding_size=embedding_size, hidden_size=hidden_size, num_hidden_layers=layers
    )
    model = GruForSequenceClassification(config).eval()
    alone = torch.cat([model(**words(text, return_tensors="pt")).logits for text in TEXTS])
    torch.testing.assert_close(model(**features).logits, alone, atol=1e-6, rtol=0)
    assert (alone[0] - alone[1]).abs().max() > 1e-3
    ids = features["input_ids"].masked_fill(features["attention_mask"] == 0, 3)
    torch.testing.assert_close(model(ids, features["attention_mask"]).logits, alone, atol=1e-6, rtol=0)


def test_padding_elsewhere_than_on_the_right_is_refused(gru, words, features):
    words.padding_side = "left"
    with pytest.raises(DiffMaskError, match="Row 0 of the batch has padding before or between its words"):
        gru(**words(TEXTS, padding=True, return_tensors="pt"))
    features["attention_mask"][1, 3] = 0
    with pytest.raises(DiffMaskError, match="Row 1 of the batch has padding before or between its words"):
        gru(**features)
    features["attention_mask"][2] = 0
    with pytest.raises(DiffMaskError, match="Row 2 of the batch holds no word"):
        gru(**features)
    with pytest.raises(DiffMaskError, match="Row 0 of the batch holds no word"):
        gru(torch.zeros(1, 0, dtype=torch.long))


def test_dummy_inputs_and_further_features(gru):
    assert gru(**gru.dummy_inputs, token_type_ids=None).logits.shape == (3, 3)
    assert gru(**gru.dummy_inputs).loss is None


def test_gradients_reach_the_embeddings_of_words_alone(gru, features):
    leaves = []

    def make_leaf(module, args, output):
        leaves.append(output.detach().requires_grad_())
        return leaves[0]

    gru.get_input_embeddings().register_forward_hook(make_leaf)
    gru.requires_grad_(False)(**features).logits.sum().backward()
    size = leaves[0].grad.abs().sum(-1)
    assert (size[features["attention_mask"] == 1] > 0).all()
    assert (size[features["attention_mask"] == 0] == 0).all()


@pytest.mark.parametrize("embedding_size", [8, 6])
def test_an_explainer_reads_its_states_and_masks_its_words(words, features, embedding_size):
    config = GruConfig(vocab_size=len(words), embedding_size=embedding_size, hidden_size=8, num_hidden_layers=2)
    model = GruForSequenceClassification(config).eval()
    explainer = DiffMaskModel.from_base_model(model, words).eval()
    assert explainer.config.state_names == ["embeddings", "block.0.input", "block.1.input", "block.1.output"]
    output = explainer(**features)
    assert output.keep_probability.shape == (*features["input_ids"].shape, 4)
    torch.testing.assert_close(output.target, model(**features).logits.log_softmax(-1))
    nothing = torch.zeros(features["input_ids"].shape)
    masks = torch.full_like(features["input_ids"], words.mask_token_id)
    expected = model(masks, features["attention_mask"]).logits.log_softmax(-1)
    torch.testing.assert_close(masked_output(explainer, nothing, **features), expected)


def test_round_trip_through_the_auto_classes(gru, words, features, tmp_path):
    gru.save_pretrained(tmp_path)
    words.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").exists()
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert type(loaded) is GruForSequenceClassification and not loaded.training
    assert AutoConfig.from_pretrained(tmp_path).num_labels == 3
    torch.testing.assert_close(loaded(**features).logits, gru(**features).logits, atol=0, rtol=0)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert dict(again(TEXTS)) == dict(words(TEXTS)) and again.mask_token_id == words.mask_token_id
    assert again.padding_side == "right"


def test_initial_weights_are_drawn_and_biases_of_the_classifier_are_zero():
    config = GruConfig(vocab_size=1000, embedding_size=32, hidden_size=64, num_labels=2)
    model = GruForSequenceClassification(config)
    assert 0.095 < model.embeddings.weight.std() < 0.105
    assert model.classifier.bias.eq(0).all() and model.projection.bias.eq(0).all()
    for weights in model.layers[0].gru.parameters():
        assert 0.9 < weights.abs().max() * 32**0.5 <= 1
    assert 0.16 < model.projection.weight.std() < 0.19


def test_weights_that_a_checkpoint_lacks_are_drawn(gru, tmp_path):
    kept = {name: value for name, value in gru.state_dict().items() if not name.startswith("layers.")}
    gru.save_pretrained(tmp_path, state_dict=kept)
    loaded = GruForSequenceClassification.from_pretrained(tmp_path)
    torch.testing.assert_close(loaded.embeddings.weight, gru.embeddings.weight)
    for weights in loaded.layers.parameters():
        assert 0 < weights.abs().max() <= 0.5 and weights.std() > 0.1


def test_cudnn_is_left_out_where_it_has_no_backward_pass(gru):
    enabled = []
    gru.layers[0].gru.register_forward_pre_hook(lambda module, args: enabled.append(torch.backends.cudnn.enabled))
    gru(**gru.dummy_inputs)
    with torch.no_grad():
        gru(**gru.dummy_inputs)
    gru.train()(**gru.dummy_inputs)
    with torch.backends.cudnn.flags(enabled=False):
        gru(**gru.dummy_inputs)
    assert enabled == [False, True, True, False] and torch.backends.cudnn.enabled


def test_the_loss_can_be_learned(gru, features):
    labels = torch.tensor([0, 2, 1])
    optimizer = torch.optim.Adam(gru.parameters(), lr=0.05)
    for _ in range(30):
        loss = gru(**features, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert gru(**features).logits.argmax(-1).tolist() == labels.tolist() and loss < 0.1


def test_the_embedding_table_can_be_resized(gru):
    gru.resize_token_embeddings(40)
    assert gru.get_input_embeddings().weight.shape == (40, 8) and gru.config.vocab_size == 40


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden_size": 7}, "must be even"),
        ({"dropout": 1.0}, "less than 1"),
        ({"vocab_size": 0}, "at least 1"),
        ({"num_hidden_layers": 0}, "at least 1"),
    ],
)
def test_settings_that_make_no_model(settings, message):
    with pytest.raises(StrictDataclassError, match=message):
        GruConfig(**settings)


def test_words_are_lower_cased_and_offsets_are_into_the_text(words):
    text = "  The  Soup, was\thot! TEA"
    encoding = words(text, return_offsets_mapping=True)
    assert words.convert_ids_to_tokens(encoding["input_ids"]) == ["the", "[UNK]", "was", "[UNK]", "tea"]
    assert [text[start:end] for start, end in encoding["offset_mapping"]] == ["The", "Soup,", "was", "hot!", "TEA"]
    assert words(TEXTS, padding=True)["attention_mask"][2] == [1] + [0] * 8
    assert sorted(encoding) == ["attention_mask", "input_ids", "offset_mapping"]


def test_the_vocabulary_holds_the_most_frequent_words():
    tokenizer = word_tokenizer(TEXTS, 6)
    vocabulary = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
    assert vocabulary == ["[PAD]", "[UNK]", "[MASK]", "the", "was", "soup"]
    assert (tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.mask_token_id) == (0, 1, 2)
    with pytest.raises(DiffMaskError, match=r"A vocabulary of 3 leaves no room beside \[PAD\], \[UNK\], \[MASK\]"):
        word_tokenizer(TEXTS, 3)
