"""Thresholds of the audit; docs/audit.md gives the source of each."""

# Thresholds; docs/audit.md gives the source of each.
READABLE = 0.05  # accuracy above the base rate with which the prediction may be read from masks or gates


HOLDS = 0.8  # share of predictions that have to hold, whichever way the masked tokens are taken away


RANDOM_BASE = 0.2  # rank correlation with explanations of a random base model


TYPICAL = 0.99  # quantile of whole inputs below which the typical masked input has to lie


SEEDS = 0.5  # rank correlation of explainers that were trained with other seeds


OUTSIDE = 0.25  # share of inputs whose cost may exceed the margin


ROUNDING = 1e-7  # nats: what a divergence in single precision can be of rounding alone


ENOUGH = 500  # texts without which an accuracy is too rough to be judged to within READABLE


UNSEEN = ("mask", "pad", "attention", "delete")


CLASS_CONDITIONAL = (
    "class-conditional: the gates are told the prediction, and how much they keep may differ from class to class"
)
