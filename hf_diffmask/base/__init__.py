"""The base model, a guest: its states are named, recorded and replaced, and it is left as it was found."""
