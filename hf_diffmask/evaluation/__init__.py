"""Measures of how faithful, plausible and stable attributions are, for the explainer and for other methods."""
