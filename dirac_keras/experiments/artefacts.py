"""Every table and figure of the three papers, and the statements of their texts that have numbers."""

# Paper -> name of an artefact -> what it shows. An entry names those that it shows in `Experiment.artefacts`.
ARTEFACTS = {
    "diracnets": {
        "Table 1": "structure of DiracNets",
        "Fig. 1": "accuracy over depth and width, area as parameters, CIFAR-10",
        "Section 3.1": "accuracies of Dirac and plain networks of 34, 52 and 100 layers, CIFAR-10",
        "Table 2": "errors of plain and residual networks, CIFAR-10 and CIFAR-100",
        "Fig. 2": "mean a and b of the layers of DiracNet-34 during training",
        "Section 3.3": "no layer of DiracNet-34 has a degraded ratio of a to b, and few feature planes have",
        "Table 3": "top-1 and top-5 errors, ImageNet",
        "Fig. 3": "convergence of DiracNet and ResNet, ImageNet",
        "Section 3.4": "ResNet-28 from I + W, W from N(0, sigma^2), CIFAR-10",
    },
    "plainnets": {
        "Fig. 1": "error over depth with and without BatchNormalization, COIL-20 and USPS",
        "Table I": "parameters of the networks of Fig. 1",
        "Prop. 1": "how far a layer's solution moves when its input moves: by the input's condition number at most",
        "Fig. 2": "normalized mean activations over the layers, COIL-20",
        "Fig. 3": "normalized mean activations over the layers, USPS",
        "Fig. 4": "largest absolute activations over the layers",
        "Fig. 5": "condition numbers of the weights over the layers",
        "Fig. 6": "responses of layer 50, COIL-20",
        "Fig. 7": "responses of layer 99, COIL-20",
        "Fig. 8": "responses of layer 99, USPS",
        "Fig. 9": "error over depth for several initializers, COIL-20 and USPS",
        "Table II": "ablation of the three components, 100 layers, USPS",
        "Section VI": "the weights are reasonably updated: distance from the start by layer",
        "Table III": "errors of 50 convolutions, CIFAR-10",
        "Fig. 10": "training curves of 50 convolutions, CIFAR-10",
        "Table A1": "structure of the network of 50 convolutions",
        "Fig. A1": "share of units above several thresholds, USPS",
    },
    "van": {
        "Fig. 1": "accuracy over depth of six thin dense architectures, MNIST and Fashion-MNIST",
        "Fig. 2": "accuracy over depth, training curves and residual of the skips, CIFAR-10",
        "Fig. 3": "accuracy over depth, training curves and residual of the skips, CIFAR-100",
        "Table 1": "errors of VANs and other networks, CIFAR-10 and CIFAR-100",
    },
}
