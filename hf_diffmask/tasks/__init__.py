"""What base models predict: one task a file."""
