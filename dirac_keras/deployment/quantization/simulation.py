"""How far the outputs of a network with rounded kernels are from the original's, integers simulated in floats."""

from dirac_keras.deployment.quantization.fake import Ranges, fake_quantize, quantized_tensors
from dirac_keras.deployment.quantization.grids import signal_to_noise_db
from dirac_keras.deployment.quantization.running import run


class Simulation:
    """A network whose tensors are rounded as a runtime does it: one range a tensor, the least to the largest number.

    The ranges are not cut: in networks that hand on an identity the rare large activations carry the signal, and to
    cut them costs more than the finer steps gain.

    Attributes:
        network: `Network`, whose kernels may change between two measurements.
        bits: int, of activations; None leaves them in float.
        float_outputs: bool, whether the outputs stay in float.
        ranges: `Ranges`.
    """

    def __init__(self, network, images, bits=8, float_outputs=False):
        """`images`: those that the ranges are taken from."""
        self.network, self.bits, self.float_outputs = network, bits, float_outputs
        self.ranges = Ranges(network, float_outputs=float_outputs)
        if bits:
            run(network, images, self.ranges.watch)

    def outputs(self, images, kept=(), only=None):
        """What the network gives.

        Args:
            images: array.
            kept: paths of layers that compute in float.
            only: number of the one tensor that is rounded, or None for all.
        """
        if not self.bits:
            return run(self.network, images)
        tensors = quantized_tensors(self.network, kept, self.float_outputs) if only is None else {only}

        def on_grid(tensor, values):
            return fake_quantize(values, *self.ranges.limits[tensor], self.bits) if tensor in tensors else values

        return run(self.network, images, on_grid)

    def db(self, reference, images, kept=()):
        """Signal to quantization noise ratio of the outputs, decibels."""
        return signal_to_noise_db(reference, self.outputs(images, kept))
