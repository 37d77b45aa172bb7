"""SGD whose weight decay is the paper's, coupled L2 on kernels alone; and Muon, for the kernels of convolutions too."""

import re

import keras
from keras import ops

from dirac_keras.errors import UserError
from dirac_keras.training.optimization.clipping import SummedClipping
from dirac_keras.training.start.layer_patterns import factor_of

# Keras' name of a variable, or TensorFlow's, which is what `update_step` is given there: "kernel", "kernel:0",
# "dense/kernel/replica_1:0".
_KERNEL_NAME = re.compile(r"kernel(/replica_\d+)?(:\d+)?$")
_BETA_NAME = re.compile(r"beta(/replica_\d+)?(:\d+)?$")
# Of the weights that draw a network back: the average keeps 0.95^5 of itself at the end, by the cube of the progress.
_LOOKAHEAD_DECAY, _LOOKAHEAD_POWER = 0.95**5, 3
# a, b and c of x <- a x + (b x x^T + c (x x^T)^2) x, which brings every singular value near 1 in few steps.
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 3
MOMENTUM_RULES = ("pytorch", "keras")


def is_kernel(variable):
    """Whether weight decay applies: kernels of any layer, not scales, gamma, beta, biases, alpha."""
    return _KERNEL_NAME.search(variable.name) is not None


def is_beta(variable):
    """Whether a variable is the shift of a BatchNormalization."""
    return _BETA_NAME.search(variable.name) is not None


@keras.saving.register_keras_serializable(package="dirac_keras")
class CoupledSGD(SummedClipping, keras.optimizers.SGD):
    """SGD with momentum and coupled L2: `g <- g + l2 w` enters the momentum, as in PyTorch's SGD.

    With `momentum_rule="pytorch"` the velocity sums gradients, and the rate of the step is on all of it; with
    `"keras"`, Keras' own, the rate of each step stays on its gradient. They are equal while the rate is constant. Where
    it falls, the steps of Keras' rule stay the larger ones for the ten or so in which the velocity forgets.

        pytorch: v <- m v + g,       w <- w - rate v  (nesterov: w - rate (g + m v))
        keras:   v <- m v - rate g,  w <- w + v       (nesterov: w + m v - rate g)

    `keras.optimizers.SGD(weight_decay=...)` is decoupled from the momentum, and its exclusions are lost by saving.
    Here the rule is the variable's name, so it holds after loading too.

    Args:
        learning_rate, momentum, nesterov: as `keras.optimizers.SGD`.
        momentum_rule: `"pytorch"` or `"keras"`, see above. An optimizer that was saved before there were two has
            Keras'.
        l2: float, the factor. Applied to kernels alone (`is_kernel`), and to beta where `beta_rate` is not 1.
        beta_rate: float, factor on the learning rate of BatchNormalization's beta, not on its decay.
        lookahead_steps: int, every how many steps the weights are drawn to their average over such steps (`average <- d
            average + (1 - d) weights; weights <- average`), with `d = 0.95^5 progress^3`; 0: never. The averages are
            optimizer variables, so a checkpoint keeps them. Of the weights of a VariableSkip there is none.
        total_steps: int, of the training; for the progress.

        rates: sequence of `(pattern, factor)` on the learning rate of layers whose path fits, the first that does; the
            others have 1.

    Source: weight decay of Zagoruyko & Komodakis 2017, "we do not l2-regularize" a and b (section 2). The others:
        Jordan 2024, arXiv:2404.00498, section 3.4; the average after Zhang et al. 2019, arXiv:1907.08610.
    """

    def __init__(
        self,
        learning_rate=0.1,
        momentum=0.9,
        nesterov=False,
        l2=0.0,
        beta_rate=1.0,
        lookahead_steps=0,
        total_steps=None,
        momentum_rule="pytorch",
        rates=(),
        name="coupled_sgd",
        **kwargs,
    ):
        if l2 < 0:
            raise UserError(f"l2 must be 0 or more. Received l2={l2}.")
        if beta_rate < 0:
            raise UserError(f"beta_rate must be 0 or more. Received beta_rate={beta_rate}.")
        if lookahead_steps < 0 or (lookahead_steps and not total_steps):
            raise UserError(
                "lookahead_steps must be 0 or more, and needs total_steps. "
                f"Received lookahead_steps={lookahead_steps} and total_steps={total_steps}."
            )
        if momentum_rule not in MOMENTUM_RULES:
            raise UserError(
                f"momentum_rule must be {' or '.join(MOMENTUM_RULES)}. Received momentum_rule={momentum_rule!r}."
            )
        if kwargs.get("weight_decay"):
            raise UserError(f"CoupledSGD takes l2, the coupled factor. Received weight_decay={kwargs['weight_decay']}.")
        super().__init__(learning_rate=learning_rate, momentum=momentum, nesterov=nesterov, name=name, **kwargs)
        self.l2 = l2
        self.beta_rate = beta_rate
        self.lookahead_steps = lookahead_steps
        self.total_steps = total_steps
        self.momentum_rule = momentum_rule
        self.rates = tuple(map(tuple, rates))

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self._factors = [factor_of(variable, self.rates) for variable in variables]
        # Where an average is, None elsewhere: as Keras keeps its own lists.
        self.averages = [
            self.add_variable_from_reference(variable, name="average") if self._is_averaged(variable) else None
            for variable in variables
        ]

    def _is_averaged(self, variable):
        return self.lookahead_steps > 0 and variable.name != "alpha"

    def update_step(self, gradient, variable, learning_rate):
        factor = self._factors[self._get_variable_index(variable)] if self.rates else 1.0
        self.descend(gradient, variable, learning_rate * factor)
        if self.lookahead_steps:
            average = self.averages[self._get_variable_index(variable)]
            if average is not None:
                self._look_ahead(variable, average)

    def descend(self, gradient, variable, learning_rate):
        """One step of a variable, without the average."""
        has_own_rate = self.beta_rate != 1.0 and is_beta(variable)
        if has_own_rate:
            gradient = ops.cast(gradient, variable.dtype) * self.beta_rate
        if self.l2 and (has_own_rate or is_kernel(variable)):
            gradient = ops.cast(gradient, variable.dtype) + self.l2 * ops.convert_to_tensor(variable)
        if self.momentum_rule == "keras" or self.momentum == 0:
            super().update_step(gradient, variable, learning_rate)
        else:
            self._descend_as_pytorch(ops.cast(gradient, variable.dtype), variable, learning_rate)

    def _descend_as_pytorch(self, gradient, variable, learning_rate):
        velocity = self.momentums[self._get_variable_index(variable)]
        momentum = ops.cast(self.momentum, variable.dtype)
        self.assign(velocity, momentum * ops.convert_to_tensor(velocity) + gradient)
        direction = ops.convert_to_tensor(velocity)
        if self.nesterov:
            direction = gradient + momentum * direction
        self.assign_sub(variable, ops.cast(learning_rate, variable.dtype) * direction)

    def _look_ahead(self, variable, average):
        step = self.iterations + 1
        is_due = ops.logical_or(step % self.lookahead_steps == 0, step == self.total_steps)
        progress = ops.minimum(ops.cast(step, "float32") / self.total_steps, 1.0)
        # The first time there is no average yet.
        has_one = ops.cast(step > self.lookahead_steps, "float32")
        decay = ops.cast(has_one * _LOOKAHEAD_DECAY * progress**_LOOKAHEAD_POWER, variable.dtype)
        weights, former = ops.convert_to_tensor(variable), ops.convert_to_tensor(average)
        mixed = decay * former + (1.0 - decay) * weights
        self.assign(average, ops.where(is_due, mixed, former))
        self.assign(variable, ops.where(is_due, mixed, weights))

    def get_config(self):
        config = {**super().get_config(), "l2": self.l2}
        own = {
            "beta_rate": self.beta_rate,
            "lookahead_steps": self.lookahead_steps,
            "total_steps": self.total_steps,
            "momentum_rule": self.momentum_rule,
            "rates": [list(rate) for rate in self.rates],
        }
        return config | own

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return super().from_config({"momentum_rule": "keras"} | config, custom_objects)


@keras.saving.register_keras_serializable(package="dirac_keras")
class MuonSGD(CoupledSGD):
    """Muon for the kernels of hidden layers, `CoupledSGD` for all other weights.

    A kernel is taken as the matrix `(inputs of a filter, filters)`. Its momentum `m <- mu m + g` (with `nesterov`, `g +
    mu m`) is replaced by the nearest matrix of singular values near 1, `O`; the step is

        W' = W - rate |W| / sqrt(filters) O,    W <- W' |W| / |W'|

    with `|W|` the Frobenius norm, which therefore stays that of the start: a BatchNormalization behind the layer hides
    it anyway, and weight decay has nothing to do. Where none follows, the scale of a layer does not train.

    Not `keras.optimizers.Muon`: it gives every weight that is no matrix to AdamW, so all kernels of convolutions.

    Args:
        muon_ratio: float, `rate` as a share of the learning rate.
        muon_momentum: float in [0, 1), `mu`.
        excluded: list of str: the kernels of layers whose path holds one of them are `CoupledSGD`'s; the classifier.

    Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers", https://kellerjordan.github.io/posts/muon/; the
        norm as in airbench94_muon.py of github.com/KellerJordan/cifar10-airbench, which sets it before the step to
        sqrt(filters): behind a BatchNormalization that is the same.
    """

    def __init__(self, *args, muon_ratio=0.1, muon_momentum=0.6, excluded=("head_",), name="muon_sgd", **kwargs):
        super().__init__(*args, name=name, **kwargs)
        if not 0 <= muon_momentum < 1:
            raise UserError(f"muon_momentum must be in [0, 1). Received muon_momentum={muon_momentum}.")
        if muon_ratio <= 0:
            raise UserError(f"muon_ratio must be above 0. Received muon_ratio={muon_ratio}.")
        if self.momentum == 0:
            raise UserError("MuonSGD needs momentum above 0. Received momentum=0.")
        self.muon_ratio = muon_ratio
        self.muon_momentum = muon_momentum
        self.excluded = tuple(excluded)

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self._is_hidden = [
            is_kernel(variable)
            and len(variable.shape) >= 2
            and not any(part in variable.path for part in self.excluded)
            for variable in variables
        ]

    def descend(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        if not self._is_hidden[index]:
            super().descend(gradient, variable, learning_rate)
            return
        gradient = ops.cast(gradient, variable.dtype)
        momentum = self.momentums[index]
        self.assign(momentum, self.muon_momentum * ops.convert_to_tensor(momentum) + gradient)
        direction = ops.convert_to_tensor(momentum)
        if self.nesterov:
            direction = gradient + self.muon_momentum * direction
        kernel = ops.convert_to_tensor(variable)
        filters = kernel.shape[-1]
        direction = ops.reshape(orthogonalized(ops.reshape(direction, (-1, filters))), kernel.shape)
        norm = _norm(kernel)
        rate = ops.cast(learning_rate, variable.dtype) * self.muon_ratio
        moved = kernel - rate * norm / filters**0.5 * direction
        self.assign(variable, moved * (norm / ops.maximum(_norm(moved), 1e-12)))

    def get_config(self):
        own = {"muon_ratio": self.muon_ratio, "muon_momentum": self.muon_momentum, "excluded": list(self.excluded)}
        return super().get_config() | own


def orthogonalized(matrix, steps=NEWTON_SCHULZ_STEPS):
    """`matrix` `(n, m)` with its singular values brought near 1, between 0.3 and 1.3 but for the smallest.

    Source: Newton-Schulz iteration of the fifth order, see `MuonSGD`.
    """
    a, b, c = NEWTON_SCHULZ
    is_tall = matrix.shape[0] > matrix.shape[1]
    x = ops.transpose(matrix) if is_tall else matrix
    x = x / (_norm(x) + 1e-7)  # no singular value above 1
    for _ in range(steps):
        square = ops.matmul(x, ops.transpose(x))
        x = a * x + ops.matmul(b * square + c * ops.matmul(square, square), x)
    return ops.transpose(x) if is_tall else x


def _norm(tensor):
    return ops.sqrt(ops.sum(ops.square(tensor)))
