"""Recipes: settings and objective of a training run, one recipe per file."""
