"""Helpers for audit tests: texts, and explainers that are sound or broken on purpose."""

import numpy as np
import torch

from hf_diffmask import DiffMaskModel
from hf_diffmask.audit.explained import Explained

GOOD = ["warm", "funny", "clever", "moving", "lovely", "brilliant", "touching", "delightful"]
BAD = ["dull", "boring", "awful", "lazy", "tired", "stupid", "pointless", "terrible"]
FRAMES = [
    "a {} film with a good deal of rain in it",
    "the second half of this story is {} from start to end",
    "i found the whole thing {}",
    "{} and long , with a cast of twelve",
]
ENDS = ["", "today", "once more", "in the end", "they said", "to me", "at first", ", again", "tonight"]


TEXTS = [frame.format(word) for frame in FRAMES for word in [*GOOD, *BAD]]


MANY = [f"{text} {end}" for text in TEXTS for end in ENDS]


class LeaveOneOut(DiffMaskModel):
    """A sound explainer without training: keeps the three units that the prediction needs most."""

    def explain(self, recorded, classes=None, margin=None):
        output = super().explain(recorded, classes, margin)
        input_ids = recorded.batch.inputs["input_ids"]
        scores = torch.zeros(input_ids.shape)
        for unit in range(input_ids.shape[1]):
            mask = torch.ones_like(input_ids, dtype=torch.bool)
            mask[:, unit] = False
            masked = self.masked(recorded, mask)
            scores[:, unit] = (
                output.target.gather(-1, output.target.argmax(-1, keepdim=True))[:, 0]
                - masked.gather(-1, output.target.argmax(-1, keepdim=True))[:, 0]
            )
        scores = scores.masked_fill(~output.maskable, -99)
        needed = scores >= scores.topk(3, dim=-1).values[:, -1:]
        output.keep_probability = self.keep(needed, output, scores)[..., None].expand(output.logits.shape)
        return output

    def keep(self, needed, output, scores):
        """Keep probabilities in the order of the scores: 0.6 to 0.9 for needed units, below 0.4 for the others."""
        rank = scores.argsort(-1).argsort(-1) / scores.shape[1]
        return torch.where(needed, 0.6 + 0.3 * rank, 0.4 * rank).masked_fill(~output.maskable, 1.0)


class LabelInPattern(LeaveOneOut):
    """Gives the prediction away: keeps the first word for class 1 only."""

    def keep(self, needed, output, scores):
        keep = super().keep(needed, output, scores)
        keep[:, 1] = torch.where(output.target.argmax(-1) == 1, 0.95, 0.05)
        return keep


class Random(LeaveOneOut):
    """Keeps three random units."""

    def keep(self, needed, output, scores):
        noise = torch.rand(scores.shape).masked_fill(~output.maskable, -99)
        return super().keep(noise >= noise.topk(3, dim=-1).values[:, -1:], output, noise)


def made(kind, classifier, tokenizer):
    explainer = DiffMaskModel.from_base_model(classifier, tokenizer, class_conditional=False)
    explainer.__class__ = kind
    return explainer.eval()


def one(predicted=0, scores=(0.5,), kept=(True,), logits=((0.0,),), cost=0.0, agrees=True):
    return Explained(predicted, list(scores), list(kept), np.array(logits), cost, agrees)
