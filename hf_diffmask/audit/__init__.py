"""Tests for the known faults of learned explanations."""
