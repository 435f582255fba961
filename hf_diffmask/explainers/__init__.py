"""What amortised explanations are compared with: one method a file, one signature, batched.

Each method is a function of an explainer, whose base model and baselines it uses, a batch of features and the number
of a state, and returns one score a unit; see [`~hf_diffmask.explainers.masking.Masking`] for what they share.
"""
