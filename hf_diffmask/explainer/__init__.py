"""The explainer: config, model, probes, and the base model that it holds."""
