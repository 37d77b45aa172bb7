"""AdamW and Lion with the weight decay of this package: on kernels alone."""

import keras
from keras import ops

from dirac_keras.errors import UserError
from dirac_keras.training.optimization.clipping import SummedClipping
from dirac_keras.training.optimization.optimizers import is_kernel
from dirac_keras.training.start.layer_patterns import factor_of

ADAM_BETAS, LION_BETAS = (0.9, 0.999), (0.9, 0.99)  # Keras' and the papers'


class _DecoupledDecay:
    """What both have in common, before Keras' optimizer in the order of base classes.

    Not Keras' own `weight_decay`: it decays biases, gamma and beta too, what is excluded from it is lost by saving, and
    it knows no rates of layers. Here the rule is the variable's name.
    """

    def __init__(self, *args, decay=0.0, rates=(), **kwargs):
        if kwargs.get("weight_decay"):
            raise UserError(
                f"{type(self).__name__} takes decay, which is on kernels alone. "
                f"Received weight_decay={kwargs['weight_decay']}."
            )
        if decay < 0:
            raise UserError(f"decay must be 0 or more. Received decay={decay}.")
        super().__init__(*args, **kwargs)
        self.decay = decay
        self.rates = tuple(map(tuple, rates))

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self._factors = [factor_of(variable, self.rates) for variable in variables]

    def update_step(self, gradient, variable, learning_rate):
        rate = learning_rate
        if self.rates:
            rate = rate * self._factors[self._get_variable_index(variable)]
        if self.decay and is_kernel(variable):
            share = ops.cast(rate, variable.dtype) * ops.cast(self.decay, variable.dtype)
            self.assign_sub(variable, share * ops.convert_to_tensor(variable))
        super().update_step(gradient, variable, rate)

    def get_config(self):
        return super().get_config() | {"decay": self.decay, "rates": [list(rate) for rate in self.rates]}


@keras.saving.register_keras_serializable(package="dirac_keras")
class DecoupledAdam(_DecoupledDecay, SummedClipping, keras.optimizers.Adam):
    """AdamW: `w <- w - rate decay w` for kernels, then Adam's step.

    Args:
        learning_rate, beta_1, beta_2, epsilon: as `keras.optimizers.Adam`.
        decay: float, the factor, on kernels alone (`optimizers.is_kernel`). It does not enter the moments.
        rates: see `CoupledSGD`; on the decay of a layer too.

    Source: Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2 with the rate of each step as its schedule.
    """


@keras.saving.register_keras_serializable(package="dirac_keras")
class DecoupledLion(_DecoupledDecay, SummedClipping, keras.optimizers.Lion):
    """Lion: `w <- w - rate decay w` for kernels, then a step of `rate` along the sign of the momentum.

    Args:
        learning_rate, beta_1, beta_2: as `keras.optimizers.Lion`.
        decay, rates: see `DecoupledAdam`.

    Source: Chen et al. 2023, arXiv:2302.06675, algorithm 2.
    """
