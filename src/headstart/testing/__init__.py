"""Contract suites that are shipped, so that others can run them over their own implementations."""
