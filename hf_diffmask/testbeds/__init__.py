"""Small models and texts for tests and benchmarks."""
