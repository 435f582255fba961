"""Ablations: random masks of inputs, and what the base model says under each."""
