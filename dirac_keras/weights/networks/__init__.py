"""Networks of others as Keras graphs, layers named by position, for weights that were trained elsewhere."""
