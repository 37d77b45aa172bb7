"""SGD whose weight decay is the paper's: coupled L2, on kernels alone."""

import re

import keras
from keras import ops

from dirac_keras.errors import UserError

# Keras' name of a variable, or TensorFlow's, which is what `update_step` is given there: "kernel", "kernel:0",
# "dense/kernel/replica_1:0".
_KERNEL_NAME = re.compile(r"kernel(/replica_\d+)?(:\d+)?$")


def is_kernel(variable):
    """Whether weight decay applies: kernels of any layer, not scales, gamma, beta, biases, alpha."""
    return _KERNEL_NAME.search(variable.name) is not None


@keras.saving.register_keras_serializable(package="dirac_keras")
class CoupledSGD(keras.optimizers.SGD):
    """SGD with momentum and coupled L2: `g + l2 * w` enters the momentum, as in PyTorch's SGD.

    `keras.optimizers.SGD(weight_decay=...)` is decoupled from the momentum, and its exclusions are lost by saving.
    Here the rule is the variable's name, so it holds after loading too.

    Args:
        learning_rate, momentum, nesterov: as `keras.optimizers.SGD`.
        l2: float, the factor. Applied to kernels alone (`is_kernel`).

    Source: weight decay of Zagoruyko & Komodakis 2017, "we do not l2-regularize" a and b (section 2).
    """

    def __init__(self, learning_rate=0.1, momentum=0.9, nesterov=False, l2=0.0, name="coupled_sgd", **kwargs):
        if l2 < 0:
            raise UserError(f"l2 must be 0 or more. Received l2={l2}.")
        if kwargs.get("weight_decay"):
            raise UserError(f"CoupledSGD takes l2, the coupled factor. Received weight_decay={kwargs['weight_decay']}.")
        super().__init__(learning_rate=learning_rate, momentum=momentum, nesterov=nesterov, name=name, **kwargs)
        self.l2 = l2

    def update_step(self, gradient, variable, learning_rate):
        if self.l2 and is_kernel(variable):
            gradient = ops.cast(gradient, variable.dtype) + self.l2 * ops.convert_to_tensor(variable)
        super().update_step(gradient, variable, learning_rate)

    def get_config(self):
        return {**super().get_config(), "l2": self.l2}
