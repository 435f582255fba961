"""Shows explanations as words, colours, grids, pages and plots."""
