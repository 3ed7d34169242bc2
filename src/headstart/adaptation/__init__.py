"""Make a backbone ours: heads, strategies, and the predictor that they return."""
