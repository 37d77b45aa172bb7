"""What a training begins with: weights of another model, and which of the layers keep them."""
