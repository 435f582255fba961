"""Recipes: what a run trains for, one a file."""
