"""Section 3.4: a ResNet of kernels I + W needs no careful start."""

from dirac_keras.experiments.diracnets.networks import FULL, SHORT, cifar10_run
from dirac_keras.experiments.report import table_and_curves
from dirac_keras.experiments.runs import Experiment, Run

SIGMAS = (0.0, 1e-8, 1e-4, 1e-2, 1.0)
# "In which case the range of the scaling gain is even wider": which gains, the paper does not say.
GAINS = (1e-8, 1e-4, 1e-2, 1.0, 10.0)


def sigma_run(sigma, start="sigma"):
    """ResNet-28 whose kernels are `I + W`.

    Args:
        sigma: number. None: ordinary kernels with MSRA's (He-normal) start.
        start: `"sigma"`, W from N(0, sigma^2), or `"orthogonal"`, a random orthogonal matrix times sigma.
    """
    title = "MSRA" if sigma is None else f"{start} {sigma:g}"
    network = {"family": "wide_resnet", "depth": 28, "sigma": sigma}
    if start == "orthogonal":
        network["kernel_initializer"] = start
    return Run(
        f"cifar10-resnet28-{title.lower().replace(' ', '')}",
        {**SHORT, "data": "cifar10", **network, "epochs": 3, "learning_rate": 0.1},
        title=title,
        series=title,
        full=FULL,
        full_name=cifar10_run("resnet", 28).name if sigma is None else "",  # in full it is that of Fig. 1
    )


SIGMA = Experiment(
    "sigma",
    "ResNet-28 with kernels I + W, W from N(0, sigma^2) or orthogonal, CIFAR-10",
    "section 3.4, eq. 8",
    (
        *(sigma_run(sigma) for sigma in (None, *SIGMAS)),
        *(sigma_run(gain, "orthogonal") for gain in GAINS),
    ),
    table_and_curves,
    artefacts=("Section 3.4",),
)
