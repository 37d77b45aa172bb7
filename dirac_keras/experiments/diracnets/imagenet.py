"""Table 3 and Fig. 3: DiracNets and ResNets of 18 and 34 layers on ImageNet."""

from dirac_keras.experiments.report import one_each, save
from dirac_keras.experiments.runs import Experiment, Run
from dirac_keras.experiments.tables import figures_table
from dirac_keras.files.tables import read_table
from dirac_keras.pages import COLOURS, headline, legend, new_figure, style

# Network -> family, the paper's parameters in millions, top-1 and top-5 error.
NETWORKS = {
    ("dirac", 18): ("diracnet", 11.7, 30.37, 10.88),
    ("resnet", 18): ("resnet", 11.7, 29.62, 10.62),
    ("dirac", 34): ("diracnet", 21.8, 27.79, 9.34),
    ("resnet", 34): ("resnet", 21.8, 27.17, 8.91),
}
# Of networks that the paper quotes and this package has not got: parameters in millions, top-1 and top-5 error.
QUOTED = {"VGG-CNN-S": (102.9, 36.94, 15.40), "VGG-16": (138.4, 29.38, None)}
TITLES = {"dirac": "DiracNet", "resnet": "ResNet"}
SHORT = {"recipe": "quick", "epochs": 3, "max_train": 20_000, "image_size": 64, "keep_checkpoints": 1}
FULL = {"recipe": "imagenet", "epochs": 100, "max_train": None, "image_size": None}
PREACTIVATION = (
    "our ResNet is pre-activated and its projections have no BatchNormalization; which the paper's is, it leaves open"
)


def imagenet_run(network, depth):
    """A row of the table."""
    family, parameters, top1, top5 = NETWORKS[network, depth]
    return Run(
        f"imagenet2012-{network}{depth}",
        {**SHORT, "data": "imagenet2012", "family": family, "layout": "imagenet", "depth": depth},
        {"test_error": top1, "top5_error": top5, "parameters": parameters},
        title=f"{TITLES[network]}-{depth}",
        series=TITLES[network],
        full=FULL,
        only_full=depth == 34,  # beside 18 layers they tell little after so few steps
        cause=PREACTIVATION if network == "resnet" else "",
    )


def errors_table(experiment, results, folder):
    """Markdown lines: parameters, top-1 and top-5 error of each network beside the paper's, and what it quotes."""
    quoted = [
        f"{name} {top1:.2f}" + ("" if top5 is None else f" / {top5:.2f}") + f" % ({millions} M)"
        for name, (millions, top1, top5) in QUOTED.items()
    ]
    table = figures_table(results, ("parameters", "test_error", "top5_error"))
    return [*table, "", f"The paper quotes beside them, top-1 / top-5 errors: {', '.join(quoted)}."]


@style()
def convergence(experiment, results, folder):
    """A line that names a picture: top-5 error over the epochs, dashed on training images, solid on test images."""
    figure, axis = new_figure(7.5, 5)
    for number, (run, directory) in enumerate(one_each(results)):
        rows = read_table(directory.metrics)
        epochs = [row["epoch"] for row in rows]
        for name, line in (("top5", "--"), ("val_top5", "-")):
            values = [100 * (1 - row[name]) for row in rows]
            axis.plot(
                epochs, values, line, color=COLOURS[number % len(COLOURS)], label=run.title if line == "-" else None
            )
    axis.set(xlabel="epoch", ylabel="top-5 error, % (solid: test, dashed: training)")
    axis.xaxis.get_major_locator().set_params(integer=True)
    headline(figure, experiment.title)
    legend(figure, least=1)
    return [f"picture: {save(figure, folder / f'{experiment.name}.png')}"]


_RUNS = tuple(imagenet_run(*network) for network in NETWORKS)

TABLE3 = Experiment(
    "table3",
    "Top-1 and top-5 errors of DiracNets and ResNets, ImageNet",
    "table 3",
    _RUNS,
    errors_table,
    artefacts=("Table 3",),
    seeds=1,
    full_seeds=1,
)
FIG3 = Experiment(
    "fig3",
    "Convergence of DiracNets and ResNets, ImageNet",
    "Fig. 3",
    _RUNS,
    convergence,
    artefacts=("Fig. 3",),
    looks_into=True,
    seeds=1,
    full_seeds=1,
)
