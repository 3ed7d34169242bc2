"""Which backbone, by evidence on the data."""
