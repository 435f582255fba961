"""From files and texts to batches of features."""
