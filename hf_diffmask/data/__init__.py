"""Reads files and texts, and makes batches of features."""
