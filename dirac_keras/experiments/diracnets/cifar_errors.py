"""Table 2: errors on CIFAR-10 and CIFAR-100."""

from dirac_keras.experiments.diracnets.networks import FULL, SHORT
from dirac_keras.experiments.runs import Experiment, Run
from dirac_keras.experiments.tables import figures_table

COLUMNS = ("cifar10", "cifar100")
# Network -> its fields, recipe of its paper, the paper's parameters in millions, errors on CIFAR-10 and -100 and their
# deviations over five runs.
# "VGG 16" of the table, with 20 M parameters, has 16 convolutions and one dense layer: `vgg` of depth 19.
ROWS = {
    "VGG": ({"family": "vgg", "depth": 19}, "cifar", 20, (6.09, 25.92), (0.11, 0.09)),
    "DiracNet-28-5": ({"depth": 28, "width": 5}, "cifar", 9.1, (5.16, 23.44), (0.14, 0.14)),
    "DiracNet-28-10": ({"depth": 28, "width": 10}, "cifar", 36.5, (4.75, 21.54), (0.16, 0.18)),
    "WRN-28-10": ({"family": "wide_resnet", "depth": 28, "width": 10}, "wide_resnet", 36.5, (4.00, 19.25), None),
}
# Of networks that the paper quotes and this package has not got: parameters in millions, errors.
QUOTED = {"NIN": (None, (8.81, 35.67)), "ELU": (None, (6.55, 24.28)), "ResNet-1001": (10.2, (4.92, 22.71))}
# Hours on two cores, even for a brief run.
LEFT_TO_FULL = ("DiracNet-28-5", "DiracNet-28-10", "WRN-28-10")


def table2_run(network, data):
    """A row of the table."""
    fields, recipe, parameters, errors, deviations = ROWS[network]
    column = COLUMNS.index(data)
    return Run(
        f"{data}-{network.lower()}",
        {**SHORT, "data": data, "epochs": 3, "max_train": 20_000, **fields},
        {"test_error": errors[column], "parameters": parameters},
        {} if deviations is None else {"test_error": deviations[column]},
        title=network,
        series=network,
        full={**FULL, "recipe": recipe},
        only_full=network in LEFT_TO_FULL,
    )


def _report(data):
    def report(experiment, results, folder):
        quoted = [
            f"{name} {errors[COLUMNS.index(data)]:.2f} %" + ("" if millions is None else f" ({millions} M)")
            for name, (millions, errors) in QUOTED.items()
        ]
        table = figures_table(results, ("parameters", "train_error", "test_error"))
        return [*table, "", f"The paper quotes beside them: {', '.join(quoted)}."]

    return report


def _table2(name, data, title):
    return Experiment(
        name,
        f"Errors of plain and residual networks, {title}",
        "table 2",
        tuple(table2_run(network, data) for network in ROWS),
        _report(data),
        artefacts=("Table 2",),
    )


TABLE2 = _table2("table2", "cifar10", "CIFAR-10")
TABLE2_CIFAR100 = _table2("table2-cifar100", "cifar100", "CIFAR-100")
