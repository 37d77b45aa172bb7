"""Several processes and machines that share one search: the chief, its workers, their protocol."""
