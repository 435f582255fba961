"""How scores become masks."""
