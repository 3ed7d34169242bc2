"""Small models on top of features."""
