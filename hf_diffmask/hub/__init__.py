"""Explainers on the Hub: push, find, files, cards."""
