"""What explainers are tried on: data sets and target models of the paper."""
