"""Thresholds of the audit; docs/audit.md gives the source of each."""

READABLE = 0.05  # highest accuracy above the base rate for reading the prediction from masks or gates


HOLDS = 0.8  # lowest share of unchanged predictions, for each unseen replacement


RANDOM_BASE = 0.2  # highest absolute rank correlation with explanations for a random base model


TYPICAL = 0.99  # highest quantile, among whole inputs, for the median masked input


SEEDS = 0.5  # lowest mean rank correlation of explainers trained with other seeds


OUTSIDE = 0.25  # highest share of inputs with a cost above the margin


ROUNDING = 1e-7  # nats; a divergence in single precision can reach this by rounding alone


ENOUGH = 500  # texts; with fewer, an accuracy is too rough to judge to within READABLE


REPLACEMENTS = ("mask", "pad", "attention", "delete")  # those that training used are left out


CLASS_CONDITIONAL = (
    "class-conditional: the gates are told the prediction, and how much they keep may differ from class to class"
)
