"""One score a file: a pure function of features and targets."""
