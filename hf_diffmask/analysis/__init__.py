"""What is kept at which state, over a data set."""
