"""Fingerprints differ between models."""

import torch
from accelerate import disk_offload
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


def test_fingerprint_of_quantised_weights():
    """Dynamic quantisation puts tuples, dtypes and quantised tensors into the state dict."""
    torch.manual_seed(0)
    model = build("bert").eval()

    def quantised():
        return torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)

    original = fingerprint(quantised(), torch.float32)
    assert fingerprint(quantised(), torch.float32) == original != fingerprint(model, torch.float32)
    with torch.no_grad():
        model.classifier.weight.mul_(-1)
    assert fingerprint(quantised(), torch.float32) != original


class Halves(torch.Tensor):
    """A tensor of another layout, as quantisation libraries have them: most operations are missing."""

    @staticmethod
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)

    def __init__(self, inner):
        self.inner = inner

    def __tensor_flatten__(self):
        return ["inner"], None

    def dequantize(self):
        return self.inner * 2

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        if function is torch.ops.aten.detach.default:
            return cls(args[0].inner)
        raise NotImplementedError(function)


def test_fingerprint_of_tensors_that_are_not_plain():
    """The weights are equal, so the fingerprints are."""
    model = build("bert").eval()
    original = fingerprint(model, torch.float32)
    model.classifier.weight = torch.nn.Parameter(Halves(model.classifier.weight.detach() / 2), requires_grad=False)
    assert fingerprint(model, torch.float32) == original


def test_fingerprint_of_offloaded_weights(tmp_path):
    model = build("bert").eval()
    original = fingerprint(model, torch.float32)
    disk_offload(model.bert.encoder, tmp_path)
    assert next(model.bert.encoder.parameters()).is_meta
    assert fingerprint(model, torch.float32) == original
    assert next(model.bert.encoder.parameters()).is_meta
