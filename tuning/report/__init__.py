"""What a search has found: tables, the Pareto front, importances, TensorBoard's HParams."""
