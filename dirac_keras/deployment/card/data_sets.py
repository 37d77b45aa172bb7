"""What the hub calls the data sets, and their licences as far as their authors state one."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class DataSet:
    """A data set.

    Attributes:
        hub: its name on the hub, or None.
        licence: a sentence.
    """

    hub: str | None
    licence: str


_NONE = "its authors state no licence"
DATA_SETS = {
    "digits": DataSet(None, "CC BY 4.0 (UCI, Optical Recognition of Handwritten Digits; as scikit-learn ships it)"),
    "cifar10": DataSet("uoft-cs/cifar10", _NONE),
    "cifar100": DataSet("uoft-cs/cifar100", _NONE),
    "mnist": DataSet("ylecun/mnist", _NONE),
    "fashion_mnist": DataSet("zalando-datasets/fashion_mnist", "MIT"),
    "usps": DataSet(None, _NONE),
    "coil20": DataSet(None, _NONE),
    "imagenet2012": DataSet(
        "ILSVRC/imagenet-1k", "non-commercial research and education, by ImageNet's terms of access"
    ),
}


def data_set(name):
    """The `DataSet` of a name; one whose licence is not known for any other, such as a folder."""
    return DATA_SETS.get(name, DataSet(None, "not known here"))
