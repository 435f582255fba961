"""Masks from scores."""
