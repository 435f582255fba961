"""Fingerprints differ between models."""

import torch
from transformers import AutoModelForSequenceClassification

from hf_diffmask.base.fingerprint import fingerprint
from tests.helpers import build


def test_fingerprint_tells_weights_names_and_shapes_apart(tmp_path):
    model = build("bert")
    original = fingerprint(model, torch.float32)
    assert len(original) == 16 and fingerprint(model, torch.float32) == original
    model.half().save_pretrained(tmp_path)
    stored = {
        fingerprint(AutoModelForSequenceClassification.from_pretrained(tmp_path, dtype=dtype), torch.float16)
        for dtype in ("auto", torch.float32, torch.float64)
    }
    assert len(stored) == 1
    with torch.no_grad():
        model.classifier.weight[0, 0] += 1
    assert fingerprint(model, torch.float16) not in stored
    assert fingerprint(build("roberta"), torch.float32) != fingerprint(build("bert"), torch.float32)
