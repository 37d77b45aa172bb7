"""The fields of a `TrainConfig`, each with default, check and help text, and how they must agree."""
