"""Files of tensors, read without running what they hold: names -> NumPy arrays."""
