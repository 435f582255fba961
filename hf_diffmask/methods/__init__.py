"""Methods to compare explanations with, and searches for one input's mask. One method per file."""
