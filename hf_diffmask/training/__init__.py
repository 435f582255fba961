"""Training of explainers."""
