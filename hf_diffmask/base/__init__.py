"""Names, records and replaces states of the base model, and leaves the base model unchanged."""
