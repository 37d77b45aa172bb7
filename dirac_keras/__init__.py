"""dirac_keras: very deep networks without skip connections, trained in Keras 3 and folded to plain chains."""

__version__ = "0.1.0"
