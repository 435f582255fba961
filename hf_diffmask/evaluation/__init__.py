"""How faithful, plausible and stable attributions are, beside other methods."""
