"""The known faults of learned explanations, as tests."""
