"""Zagoruyko & Komodakis 2017, "DiracNets: Training Very Deep Neural Networks Without Skip-Connections".

The paper trains CIFAR for 200 epochs and ImageNet for 100. Here the networks of a table share the `quick` recipe and
few epochs; in full they have the paper's.
"""

from dirac_keras.experiments.diracnets.cifar_errors import TABLE2, TABLE2_CIFAR100
from dirac_keras.experiments.diracnets.depth import DEPTH
from dirac_keras.experiments.diracnets.imagenet import FIG3, TABLE3
from dirac_keras.experiments.diracnets.initialization import SIGMA
from dirac_keras.experiments.diracnets.scales import FIG2
from dirac_keras.experiments.diracnets.sizes import FIG1
from dirac_keras.experiments.diracnets.structure import TABLE1

# ImageNet last: those without these data have all the rest by then.
EXPERIMENTS = {entry.name: entry for entry in (TABLE1, DEPTH, FIG1, TABLE2, TABLE2_CIFAR100, FIG2, SIGMA, TABLE3, FIG3)}
