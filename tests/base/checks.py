"""What holds for the states of any base model."""

import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from hf_diffmask.base.running import record, replace
from hf_diffmask.base.states import state_names


def loud(name, auto_class=AutoModelForSequenceClassification, **config):
    """A tiny model with random weights in which every token counts."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(name, **{"vocab_size": 60, "pad_token_id": 0, **config})
    model = auto_class.from_config(config).eval()
    with torch.no_grad():
        for value in model.parameters():
            if value.dim() > 1:
                value.mul_(4)
    return model


def ids(rows, length):
    """Different texts of one length, for which `features` are all ones."""
    given = torch.randint(3, 60, (rows, length), generator=torch.Generator().manual_seed(rows * 100 + length))
    return {"input_ids": given, "attention_mask": torch.ones_like(given)}


@torch.no_grad()
def states_are_reported(model, features, blocks, last=True):
    """States are the `hidden_states` of Transformers, and the logits are those of the bare model."""
    names = state_names(model)
    assert names == ["embeddings", *(f"block.{k}.input" for k in range(blocks)), f"block.{blocks - 1}.output"]
    output, states = record(model, features, names)
    reported = model(**features, output_hidden_states=True)
    torch.testing.assert_close(output.logits, reported.logits)
    assert len(reported.hidden_states) == blocks + 1
    length = features["input_ids"].shape[1]
    for ours, theirs in zip(states[1 : None if last else -1], reported.hidden_states, strict=last):
        torch.testing.assert_close(ours, theirs[:, :length])
    torch.testing.assert_close(states[0], model.get_input_embeddings()(features["input_ids"]))


@torch.no_grad()
def rest_depends_on_the_state_only(model, features, states=None):
    """A state of other texts in its place gives the logits of those texts."""
    names = states or state_names(model)
    other = {**features, "input_ids": features["input_ids"].roll(1, 0).flip(1)}
    expected, of_other = record(model, other, names)
    own, of_own = record(model, features, names)
    assert not torch.allclose(own.logits, expected.logits, atol=1e-3)
    for name, hidden, same in zip(names, of_other, of_own, strict=True):
        before = hidden.clone()
        torch.testing.assert_close(replace(model, features, name, hidden).logits, expected.logits, msg=name)
        torch.testing.assert_close(replace(model, features, name, same).logits, own.logits, msg=name)
        assert torch.equal(hidden, before), f"{name} was changed in place"


@torch.no_grad()
def padding_changes_nothing(model, lengths=(7, 4, 9)):
    """Each text of a padded batch has the logits and states that it has alone; padding on either side."""
    texts = [ids(1, length)["input_ids"][0] for length in lengths]
    names = state_names(model)
    for side in ("right", "left"):
        batch = torch.nn.utils.rnn.pad_sequence(texts, batch_first=True, padding_side=side)
        mask = (batch > 0).long()
        output, states = record(model, {"input_ids": batch, "attention_mask": mask}, names)
        for row, text in enumerate(texts):
            torch.testing.assert_close(output.logits[row], model(text[None]).logits[0], atol=1e-5, rtol=1e-4)
            _, alone = record(model, {"input_ids": text[None], "attention_mask": torch.ones_like(text[None])}, names)
            for state, expected in zip(states, alone, strict=True):
                torch.testing.assert_close(state[row][mask[row].bool()], expected[0], atol=1e-5, rtol=1e-4)
