"""Tasks of base models, one per file."""
