import keras
import numpy as np
import pytest
from keras import ops

from dirac_keras.layers import BatchNormalization, DiracDense
from dirac_keras.training.optimization.optimizers import CoupledSGD, MuonSGD, orthogonalized


def network():
    return keras.Sequential([keras.Input((4,)), DiracDense(4), BatchNormalization(), keras.layers.Dense(2)])


def step(model, optimizer, gradients):
    for gradient in gradients:
        optimizer.apply([ops.convert_to_tensor(g) for g in gradient], model.trainable_variables)


def definition(weights, names, gradients, lr, momentum, l2, nesterov):
    """SGD with coupled L2 as it is written: v <- m v - lr (g + l2 w); w <- w + v, in float64."""
    weights = [w.astype("float64") for w in weights]
    velocity = [np.zeros_like(w) for w in weights]
    for gradient in gradients:
        for i, g in enumerate(gradient):
            g = g + (l2 * weights[i] if names[i] == "kernel" else 0.0)
            velocity[i] = momentum * velocity[i] - lr * g
            weights[i] = weights[i] + (momentum * velocity[i] - lr * g if nesterov else velocity[i])
    return weights


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("reload_after", [None, 2])
def test_weight_decay_equals_its_definition_also_after_save_and_load(nesterov, reload_after, tmp_path):
    rng = np.random.default_rng(0)
    model = network()
    model.compile(CoupledSGD(0.1, momentum=0.9, nesterov=nesterov, l2=0.05), loss="mse")
    names = [variable.name for variable in model.trainable_variables]
    start = [ops.convert_to_numpy(variable) for variable in model.trainable_variables]
    gradients = [[rng.normal(size=w.shape).astype("float32") for w in start] for _ in range(5)]
    model.optimizer.build(model.trainable_variables)

    step(model, model.optimizer, gradients[:2])
    if reload_after:
        model.save(tmp_path / "model.keras")
        model = keras.models.load_model(tmp_path / "model.keras")
    step(model, model.optimizer, gradients[2:])

    expected = definition(start, names, gradients, 0.1, 0.9, 0.05, nesterov)
    for variable, value in zip(model.trainable_variables, expected, strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(variable), value, rtol=2e-5, atol=1e-5)  # float32, 5 steps


def test_only_kernels_decay():
    model = network()
    optimizer = CoupledSGD(0.1, momentum=0.0, l2=0.5)
    before = {variable.path: ops.convert_to_numpy(variable) for variable in model.trainable_variables}
    optimizer.apply([ops.zeros(v.shape) for v in model.trainable_variables], model.trainable_variables)
    for variable in model.trainable_variables:
        factor = 0.95 if variable.name == "kernel" else 1.0  # 1 - 0.1 * 0.5
        np.testing.assert_allclose(ops.convert_to_numpy(variable), factor * before[variable.path], rtol=1e-6)


def falling_rate():
    """0.5 for two steps, then 0.1."""
    return keras.optimizers.schedules.PiecewiseConstantDecay([1], [0.5, 0.1])


# One weight at 1, momentum 0.5, gradient 1 at every step, the rate falls to a fifth after the second.
# PyTorch: v = 1, 1.5, 1.75, 1.875; w = 1 - 0.5 * 1 - 0.5 * 1.5 - 0.1 * 1.75 - 0.1 * 1.875. Nesterov steps by 1 + v / 2.
# Keras: v = -0.5, -0.75, -0.475, -0.3375, each of which is a step; Nesterov steps by v / 2 - rate.
BY_HAND = {
    ("pytorch", False): [0.5, -0.25, -0.425, -0.6125],
    ("pytorch", True): [0.25, -0.625, -0.8125, -1.00625],
    ("keras", False): [0.5, -0.25, -0.725, -1.0625],
    ("keras", True): [0.25, -0.625, -0.9625, -1.23125],
}


@pytest.mark.parametrize(("rule", "nesterov"), BY_HAND)
def test_velocity_where_the_rate_falls_by_hand(rule, nesterov):
    layer = keras.layers.Layer()
    weight = layer.add_weight(name="gamma", shape=(), initializer="ones")
    optimizer = CoupledSGD(falling_rate(), momentum=0.5, nesterov=nesterov, momentum_rule=rule)
    found = []
    for _ in range(4):
        optimizer.apply([ops.ones(())], [weight])
        found.append(float(ops.convert_to_numpy(weight)))
    np.testing.assert_allclose(found, BY_HAND[rule, nesterov], rtol=1e-6)


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_rule_is_pytorchs(nesterov):
    """Against PyTorch's own SGD with weight decay, over a fall of the rate."""
    torch = pytest.importorskip("torch")
    values, gradients = optimized(CoupledSGD(falling_rate(), nesterov=nesterov, l2=0.05), steps=6)
    weight = torch.nn.Parameter(torch.tensor(values[0], dtype=torch.float64))
    theirs = torch.optim.SGD([weight], lr=0.5, momentum=0.9, nesterov=nesterov, weight_decay=0.05)
    for number, (gradient, value) in enumerate(zip(gradients, values[1:], strict=True)):
        theirs.param_groups[0]["lr"] = 0.5 if number < 2 else 0.1
        weight.grad = torch.tensor(gradient, dtype=torch.float64)
        theirs.step()
        np.testing.assert_allclose(value, weight.detach().numpy(), rtol=1e-5, atol=1e-5)  # ours in float32


def test_optimizer_of_an_earlier_file_keeps_kerass_rule():
    """Its velocity has the rates in it."""
    config = CoupledSGD(0.1).get_config()
    assert CoupledSGD.from_config(config).momentum_rule == "pytorch"
    del config["momentum_rule"]
    assert CoupledSGD.from_config(config).momentum_rule == "keras"


def test_l2_below_zero_is_refused():
    with pytest.raises(ValueError, match=r"l2 must be 0 or more. Received l2=-1"):
        CoupledSGD(l2=-1)


def test_kerass_decoupled_argument_is_refused():
    with pytest.raises(ValueError, match=r"takes l2, the coupled factor. Received weight_decay=0\.1"):
        CoupledSGD(weight_decay=0.1)


def optimized(optimizer, shape=(3, 3, 2, 4), steps=7, name="kernel", path="conv", rng_seed=1):
    """A variable's values after each step of gradients that are given, and the gradients."""
    rng = np.random.default_rng(rng_seed)
    layer = keras.layers.Layer(name=path)
    variable = layer.add_weight(name=name, shape=shape, initializer="zeros")
    variable.assign(rng.normal(size=shape).astype("float32"))
    optimizer.build([variable])
    values, gradients = [ops.convert_to_numpy(variable).astype("float64")], []
    for _ in range(steps):
        gradients.append(rng.normal(size=shape).astype("float32"))
        optimizer.apply([ops.convert_to_tensor(gradients[-1])], [variable])
        values.append(ops.convert_to_numpy(variable).astype("float64"))
    return values, gradients


def test_beta_has_a_rate_of_its_own_and_decays_at_the_common_one():
    """One step without momentum: beta - rate (64 g + l2 beta); gamma - rate g."""
    for name, factor, l2 in (("beta", 64.0, 0.5), ("gamma", 1.0, 0.0)):
        values, (gradient,) = optimized(
            CoupledSGD(0.01, momentum=0.0, l2=0.5, beta_rate=64.0), shape=(5,), steps=1, name=name
        )
        np.testing.assert_allclose(values[1], values[0] - 0.01 * (factor * gradient + l2 * values[0]), rtol=1e-5)


def test_lookahead_equals_its_definition():
    """Every third step of 7, and the last one, the weights and the average become a mixture of both."""
    options = {"learning_rate": 0.1, "momentum": 0.0}
    values, gradients = optimized(CoupledSGD(**options, lookahead_steps=3, total_steps=7))
    weights, average, expected = values[0], None, []
    for step, gradient in enumerate(gradients, start=1):
        weights = weights - 0.1 * gradient
        if step in (3, 6, 7):
            decay = 0.0 if average is None else 0.95**5 * (step / 7) ** 3
            weights = average = weights if average is None else decay * average + (1 - decay) * weights
        expected.append(weights)
    np.testing.assert_allclose(values[1:], expected, rtol=1e-5, atol=1e-6)  # float32, 7 steps
    plain, _ = optimized(CoupledSGD(**options))
    assert np.abs(values[-1] - plain[-1]).max() > 0.01


def test_weight_of_a_skip_has_no_average():
    """An average of a skip that fades would still have some of it."""
    options = {"learning_rate": 0.1, "shape": (3,), "name": "alpha"}
    rate = options.pop("learning_rate")
    with_average, _ = optimized(CoupledSGD(rate, lookahead_steps=2, total_steps=7), **options)
    without, _ = optimized(CoupledSGD(rate), **options)
    np.testing.assert_array_equal(with_average, without)


def muon_by_definition(values, gradients, rate, momentum, nesterov):
    """In float64, the orthogonal part by three steps of the iteration on the matrix `(inputs, filters)`."""
    kernel, buffer = values[0].reshape(-1, values[0].shape[-1]), 0.0
    norm, filters = np.linalg.norm(kernel), kernel.shape[1]
    for gradient in gradients:
        gradient = gradient.reshape(kernel.shape).astype("float64")
        buffer = momentum * buffer + gradient
        x = gradient + momentum * buffer if nesterov else buffer
        x = x / np.linalg.norm(x)
        for _ in range(3):
            square = x.T @ x
            x = 3.4445 * x + x @ (-4.7750 * square + 2.0315 * square @ square)
        kernel = kernel - rate * norm / np.sqrt(filters) * x
        kernel = kernel * norm / np.linalg.norm(kernel)
        yield kernel.reshape(values[0].shape)


@pytest.mark.parametrize("shape", [(3, 3, 2, 4), (3, 5)])
@pytest.mark.parametrize("nesterov", [False, True])
def test_muon_equals_its_definition(shape, nesterov):
    optimizer = MuonSGD(0.5, momentum=0.9, nesterov=nesterov, muon_ratio=0.2, muon_momentum=0.6)
    values, gradients = optimized(optimizer, shape=shape)
    expected = list(muon_by_definition(values, gradients, 0.1, 0.6, nesterov))
    np.testing.assert_allclose(values[1:], expected, rtol=1e-4, atol=1e-5)  # float32, 7 steps
    norms = [np.linalg.norm(value) for value in values]
    np.testing.assert_allclose(norms, norms[0], rtol=1e-5)


def test_orthogonalized_matrix_keeps_its_directions_and_evens_their_sizes():
    """Singular values 3, 1 and 0.3, whose directions stay and whose sizes come near 1."""
    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.normal(size=(n, 3)))[0] for n in (6, 4))
    matrix = left @ np.diag([3.0, 1.0, 0.3]) @ right.T
    found = ops.convert_to_numpy(orthogonalized(ops.convert_to_tensor(matrix.astype("float32"))))
    sizes = left.T @ found @ right
    np.testing.assert_allclose(sizes, np.diag(np.diag(sizes)), atol=1e-4)
    assert ((np.diag(sizes) > 0.5) & (np.diag(sizes) < 1.3)).all()


def test_muon_leaves_the_classifier_and_what_is_no_kernel_to_sgd():
    options = {"momentum": 0.9, "nesterov": True, "l2": 0.1}
    for variable in ({"path": "head_dense", "shape": (3, 5)}, {"name": "beta", "shape": (5,)}):
        muon, _ = optimized(MuonSGD(0.1, **options), **variable)
        sgd, _ = optimized(CoupledSGD(0.1, **options), **variable)
        np.testing.assert_array_equal(muon, sgd)


def test_kerass_muon_leaves_convolutions_to_adamw():
    """Why there is one of ours: with an average of squares a kernel is AdamW's."""
    layer = keras.layers.Conv2D(4, 3)
    layer.build((None, 5, 5, 2))
    optimizer = keras.optimizers.Muon()
    optimizer.build(layer.trainable_weights)
    assert all(velocity is not None for velocity in optimizer.adam_velocities)


@pytest.mark.parametrize(
    "make",
    [
        lambda: CoupledSGD(0.1, nesterov=True, l2=0.01, beta_rate=8.0, lookahead_steps=2, total_steps=6),
        lambda: CoupledSGD(0.1, momentum_rule="keras"),
        lambda: MuonSGD(0.1, nesterov=True, l2=0.01, beta_rate=8.0),
    ],
    ids=["lookahead", "keras", "muon"],
)
def test_state_survives_save_and_load(make, tmp_path):
    rng = np.random.default_rng(0)
    model = network()
    model.compile(make(), loss="mse")
    gradients = [[rng.normal(size=v.shape).astype("float32") for v in model.trainable_variables] for _ in range(6)]
    step(model, model.optimizer, gradients[:3])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for one in (model, loaded):
        step(one, one.optimizer, gradients[3:])
    for mine, theirs in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(mine), ops.convert_to_numpy(theirs))
    assert type(loaded.optimizer).from_config(loaded.optimizer.get_config()).get_config() == make().get_config()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CoupledSGD(lookahead_steps=5), r"lookahead_steps must be 0 or more, and needs total_steps"),
        (lambda: CoupledSGD(momentum_rule="torch"), r"momentum_rule must be pytorch or keras. Received .*'torch'"),
        (lambda: CoupledSGD(beta_rate=-1), r"beta_rate must be 0 or more. Received beta_rate=-1"),
        (lambda: MuonSGD(muon_momentum=1.0), r"muon_momentum must be in \[0, 1\). Received muon_momentum=1.0"),
        (lambda: MuonSGD(muon_ratio=0), r"muon_ratio must be above 0. Received muon_ratio=0"),
        (lambda: MuonSGD(momentum=0.0), r"MuonSGD needs momentum above 0"),
    ],
)
def test_option_out_of_range_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
