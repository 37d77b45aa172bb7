"""One file a family: the layouts in which libraries store it, as tables of names."""
