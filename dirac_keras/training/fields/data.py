"""What is trained on."""

import dataclasses

from dirac_keras.training.checks import COUNT, NOT_NEGATIVE, SWITCH, TEXT, WHOLE, Choice
from dirac_keras.training.fields.field import field

MAX_PIXELS = 2**27  # `pipelines.decoding.rule.DEFAULT_MAX_PIXELS`, which needs TensorFlow
TASKS = ("auto", "classes", "labels", "values")


@dataclasses.dataclass(frozen=True)
class DataFields:
    """Fields of the images and their augmentation."""

    data: str = field(
        "digits",
        "Data",
        TEXT,
        "Data set: digits, cifar10, cifar100, mnist, fashion_mnist, usps, coil20, imagenet2012 or folder:PATH; a table "
        "of images and labels: csv:FILE, parquet:FILE or hf:NAME.",
    )
    columns: str | None = field(
        None,
        "Data",
        TEXT,
        "Columns of a table: image=NAME,label=NAME,split=NAME; several labels or values as label=NAME+NAME. Default: "
        "those that are named so.",
    )
    task: str = field(
        "auto",
        "Data",
        Choice(TASKS),
        "What a table says of an image: classes (one of them), labels (any of them, or none) or values (numbers); "
        "auto: by its cells.",
    )
    data_dir: str | None = field(None, "Data", TEXT, "Folder of tensorflow-datasets. Default: its own.")
    validation: float = field(
        0, "Data", NOT_NEGATIVE, "Training samples held out for validation: a share below 1, or a number of images."
    )
    augmentation: str | None = field(
        None,
        "Data",
        TEXT,
        "Augmentation: auto (that of the data set), alternating (the same with small shifts, and flips by turns), "
        "none, flip, cifar, cifar_zeros (cifar with black borders), digits, mnist, fashion or imagenet; with +: mixup, "
        "cutmix, randaugment, autoaugment, erasing, jitter, vflip, grey, blur, as in "
        "cifar+mixup:0.2+randaugment:2:9.",
    )
    image_size: int | None = field(
        None, "Data", WHOLE, "Side in pixels to which images are resized. Default: that of the data set."
    )
    channels: int | None = field(
        None,
        "Data",
        WHOLE,
        "Channels of the images: 3 (colour) or 1 (grey, the luminance). Default: those of the data set; of image files "
        "3.",
    )
    on_broken: str = field(
        "fail",
        "Data",
        TEXT,
        "Broken image files in a folder, a table or imagenet2012, and rows of a table without file or label: fail, or "
        "skip them.",
    )
    exif_orientation: bool = field(
        True, "Data", SWITCH, "Turn image files as their EXIF orientation says, in training, evaluation and serving."
    )
    max_pixels: int = field(
        MAX_PIXELS, "Data", COUNT, "Largest number of pixels of an image file; a larger one counts as broken."
    )
    max_train: int | None = field(None, "Data", WHOLE, "Largest number of training images. Default: all.")
    max_test: int | None = field(None, "Data", WHOLE, "Largest number of test images. Default: all.")
