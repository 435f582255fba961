"""Which tokens each state keeps, over a data set."""
