"""Architectures that need a word of their own; one file for each kind."""
