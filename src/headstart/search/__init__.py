"""Which candidate, under a time budget."""
