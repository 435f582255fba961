"""`pipeline("diffmask-attribution")`, and predictions from a mask that the user chose."""
