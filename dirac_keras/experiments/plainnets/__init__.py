"""Oyedotun et al., "Revisiting the Training of Very Deep Neural Networks without Skip Connections".

The paper trains 300 epochs (400 for the convolutional network) at a rate it gives as "in the range [0.0001-0.1]". Here
all runs of a table share one rate and one schedule, and fewer epochs unless they are trained in full
(docs/deviations.md).
"""

from dirac_keras.experiments.plainnets import reports, sensitivity, structure
from dirac_keras.experiments.plainnets.networks import (
    DEEP,
    DEPTHS,
    INITIALIZERS,
    RATE_UNKNOWN,
    TABLE2,
    TABLE2_CAUSES,
    at_high_rate,
    conv_run,
    dense_run,
)
from dirac_keras.experiments.report import error_over_depth, error_table, training_curves
from dirac_keras.experiments.runs import Experiment

# One network, as in the paper's figures.
ONE = {"seeds": 1, "full_seeds": 1}

_ENTRIES = (
    Experiment(
        "table2",
        "Ablation of the three components, 100 layers on USPS",
        "table II",
        tuple(
            dense_run("usps", scenario, paper=paper, cause=TABLE2_CAUSES.get(scenario, ""))
            for scenario, paper in TABLE2.items()
        ),
        error_table,
        side_by_side=True,
        artefacts=("Table II",),
        cause=RATE_UNKNOWN,
    ),
    Experiment(
        "table2-rate",
        "What max-norm does at a ten times higher rate",
        "table II; the rate is ours",
        tuple(at_high_rate(scenario, TABLE2[scenario]) for scenario in ("bn+lrelu", "proposed")),
        error_table,
        side_by_side=True,
        cause="the paper names no rate; this one is at the end of its range",
    ),
    Experiment(
        "table3",
        "50 convolutions on CIFAR-10",
        "table III",
        (conv_run("bn"), conv_run("proposed", {"test_error": 6.65, "parameters": 0.72})),
        structure.table3,
        artefacts=("Table III",),
        full_seeds=1,
        cause=RATE_UNKNOWN,
    ),
    Experiment(
        "fig1",
        "Error over depth, with and without BatchNormalization",
        "Fig. 1",
        tuple(dense_run(d, s, depth) for d in ("coil20", "usps") for s in ("naive", "bn") for depth in DEPTHS),
        error_over_depth,
        artefacts=("Fig. 1",),
        **ONE,
    ),
    Experiment(
        "table1",
        "Parameters of the dense networks",
        "table I",
        (),
        structure.parameter_table,
        artefacts=("Table I",),
        figures=structure.table1_figures,
    ),
    Experiment(
        "tableA1",
        "The network of 50 convolutions",
        "table A1",
        (),
        structure.convolution_table,
        artefacts=("Table A1",),
    ),
    Experiment(
        "prop1",
        "How much a layer's solution moves when its input moves",
        "proposition 1, eq. 6 to 10",
        (),
        sensitivity.demonstrate,
        artefacts=("Prop. 1",),
    ),
    Experiment(
        "fig2-5",
        "Activations and weights over the layers of the trained networks",
        "Fig. 2 to 5",
        DEEP,
        reports.depth_pictures("normalized_mean", "max_absolute", "weight_condition_number"),
        artefacts=("Fig. 2", "Fig. 3", "Fig. 4", "Fig. 5"),
        looks_into=True,
        data_of={"Fig. 2": "coil20", "Fig. 3": "usps"},
        **ONE,
    ),
    Experiment(
        "fig6-8",
        "Responses of the units of layers 50 and 99 to all training images",
        "Fig. 6 to 8",
        DEEP,
        reports.response_pictures(50, 99),
        artefacts=("Fig. 6", "Fig. 7", "Fig. 8"),
        looks_into=True,
        data_of={"Fig. 6": "coil20", "Fig. 7": "coil20", "Fig. 8": "usps"},
        **ONE,
    ),
    Experiment(
        "fig9",
        "Error over depth for several initializers, with and without BatchNormalization, and the proposed network",
        "Fig. 9",
        tuple(
            dense_run(data, scenario, depth, initializer)
            for data in ("coil20", "usps")
            for scenario, initializer in (
                *((s, i) for s in ("naive", "bn") for i in INITIALIZERS),
                ("proposed", "paper"),
            )
            for depth in DEPTHS
        ),
        error_over_depth,
        artefacts=("Fig. 9",),
        **ONE,
    ),
    Experiment(
        "fig10",
        "Training curves of 50 convolutions on CIFAR-10",
        "Fig. 10",
        (conv_run("proposed"),),
        training_curves,
        artefacts=("Fig. 10",),
        looks_into=True,
        **ONE,
    ),
    Experiment(
        "figA1",
        "Share of units above several thresholds, over the layers and at layer 50",
        "Fig. A1",
        DEEP,
        reports.threshold_report(50),
        artefacts=("Fig. A1",),
        looks_into=True,
        data_of={"Fig. A1": "usps"},
        **ONE,
    ),
    Experiment(
        "updated",
        "How far the weights of each layer have come from their start",
        'section VI.C: "reasonably updated"',
        DEEP,
        reports.distance_report,
        artefacts=("Section VI",),
        looks_into=True,
        **ONE,
    ),
)
EXPERIMENTS = {entry.name: entry for entry in _ENTRIES}
