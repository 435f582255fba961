"""`pipeline("diffmask-attribution")`, and predictions under the user's own mask."""
