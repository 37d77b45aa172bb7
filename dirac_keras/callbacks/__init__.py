"""What happens during `model.fit`: when to measure, when to write, when to stop."""
