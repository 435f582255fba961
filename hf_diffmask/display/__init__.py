"""Explanations to look at: words, colours, grids, pages, plots."""
