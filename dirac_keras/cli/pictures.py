"""Images that a command is told by name: of a data set, or files."""

import dataclasses
import logging
import os
import pathlib
import types

import numpy as np

from dirac_keras.cli.options import check_data, splits_of_model
from dirac_keras.cli.speech.telling import told_once
from dirac_keras.deployment.public_name import public_name
from dirac_keras.errors import UserError
from dirac_keras.files.places import check_present
from dirac_keras.files.stderr import quiet_stderr

logger = logging.getLogger("dirac_keras")
SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp")


class Source:
    """Reads images for a model: pixels of its size, uint8.

    Args:
        network: `keras.Model`, a classifier of images.
        metadata: dict of its file.
        model: path of the file or the run, for errors.
        input, labels, image_size, max_pixels: as the command was told.
        seed: int, of the draw where there are more images than are wanted.
        data_dir: of tensorflow-datasets, or None.
    """

    def __init__(self, network, metadata, model, input, labels, image_size, max_pixels, seed, data_dir):
        self.network, self.metadata, self.model, self.input = network, metadata, model, input
        self.told = (input, labels, image_size, max_pixels)
        self.seed, self.data_dir = seed, data_dir

    def own(self):
        """The name of the data set that the model was trained on."""
        name = (self.metadata.get("data") or {}).get("name")
        if name is None:
            raise UserError(f"gate_data: {self._unknown()}. Give `gate_data`.")
        return name

    def _unknown(self):
        return f"{self.model} does not say what it was trained on"

    def read_own(self, count):
        """Test images of the data set that the model was trained on, or None where it is not known or not there."""
        if not (self.metadata.get("data") or {}).get("name"):
            logger.info("compared on random images: %s; --calibration gives others", self._unknown())
            return None
        try:
            return self.read([self.own()], "calibration", count, "test")
        except ValueError as error:
            reason = " ".join(str(error).replace("`", "").split())
            logger.info("compared on random images: %s", reason)
            return None

    def data_sets(self, values):
        """Those of some values that are names of data sets, each once."""
        return [value for value in dict.fromkeys(values) if _is_data_set(value)]

    def read(self, values, argument, count, part, apart=()):
        """Images of data sets and files.

        Args:
            values: list of names of data sets, folders, files.
            argument: name of the argument, for errors.
            count: int, images at most; of several values an equal share of each.
            part: `"train"` or `"test"`, of a data set; or `"all"`: of a folder of classes without a test folder all
                images, as nothing is measured on them; of others the training images.
            apart: names of data sets of which `"all"` leaves the test images for a measurement.

        Returns: `deployment.pictures.Pictures`; with classes if all have them.
        Raises: ValueError: if something is absent, broken or does not fit.
        """
        from dirac_keras.deployment.feeding import fed_data
        from dirac_keras.deployment.image_spec import ImageSpec
        from dirac_keras.deployment.pictures import Pictures

        data, _ = fed_data(self.network, self.metadata.get("data"), *self.told)
        spec = ImageSpec.from_metadata({"data": data}, self.network)
        shares = [count // len(values) + (index < count % len(values)) for index in range(len(values))]
        found = []
        for value, share in zip(values, shares, strict=True):
            given = (value, argument, max(1, share), data, spec)
            if not _is_data_set(value):
                found.append(self._files(*given))
            elif part == "all":
                found.append(self._whole_folder(*given, apart) or self._data_set(*given, "train"))
            else:
                found.append(self._data_set(*given, part))
        known = all(one.labels is not None for one in found)
        return Pictures(
            np.concatenate([one.pixels for one in found]),
            np.concatenate([one.labels for one in found]) if known else None,
            " and ".join(dict.fromkeys(one.what for one in found)),
        )

    def _whole_folder(self, name, argument, count, data, spec, apart):
        """Images of a folder of classes, whichever of them a split would have for a test; None for other data sets."""
        from dirac_keras.deployment.pictures import Pictures

        with quiet_stderr():
            from pipelines.datasets import FOLDER_PREFIX, full_name
            from pipelines.readers.layout import list_whole

        if not name.startswith(FOLDER_PREFIX) or full_name(name) in {full_name(other) for other in apart}:
            return None
        layout = list_whole(pathlib.Path(full_name(name).removeprefix(FOLDER_PREFIX)))
        if layout is None:
            return None
        names, (listing,) = layout.class_names, layout.listings.values()
        here = {"name": name, "image_shape": spec.image_shape, "num_classes": len(names), "class_names": names}
        self._check_classes(argument, data, types.SimpleNamespace(**here))
        chosen = self._draw(len(listing.paths), count)
        logger.info("%s: %s of the %s images of %s, which has no test folder", argument, f"{len(chosen):,}",
                    f"{len(listing.paths):,}", name)  # fmt: skip
        for line in layout.passed.lines():
            logger.info("passed over: %s", line)
        pixels = self._pixels([listing.paths[index] for index in chosen], spec)
        return Pictures(pixels, listing.labels[chosen].astype("int64"), f"images of {public_name(name)}")

    def _check_classes(self, argument, data, spec):
        from dirac_keras.deployment.evaluation import check_classes

        try:
            check_classes(self.network, data, spec)
        except UserError as error:
            raise UserError(f"{argument}: {str(error).removeprefix('data: ')}") from None

    def _data_set(self, name, argument, count, data, spec, part):
        from dirac_keras.deployment.evaluation import preprocessed_as
        from dirac_keras.deployment.pictures import as_pictures

        options = {f"max_{part}": count, "eval_batch_size": 256, "data_dir": self.data_dir}
        with told_once(name):
            splits = splits_of_model(self.network, self.metadata, self.model, name, **options)
        self._check_classes(argument, data, splits.spec)
        splits, _ = preprocessed_as(data, splits, self.network, self.input)
        batches = splits.test() if part == "test" else splits.train_in_order()
        found = as_pictures(((np.asarray(x), np.asarray(y)) for x, y in batches), spec, argument, count)
        return dataclasses.replace(
            found, what=f"{'training' if part == 'train' else 'test'} images of {public_name(name)}"
        )

    def _files(self, value, argument, count, data, spec):
        from dirac_keras.deployment.pictures import Pictures

        paths = _image_files(value, argument)
        pixels = self._pixels([paths[index] for index in self._draw(len(paths), count)], spec)
        return Pictures(pixels, what=f"image files of {value}" if len(paths) > 1 else "image files")

    def _draw(self, total, count):
        """Places of the images that are taken, in order: all, or some that the seed draws."""
        if total <= count:
            return np.arange(total)
        return np.sort(np.random.default_rng(self.seed).choice(total, count, replace=False))

    def _pixels(self, paths, spec):
        from dirac_keras.deployment.evaluation import read_image

        return np.stack([np.asarray(read_image(path, spec)) for path in paths]).astype("uint8")


def check_sources(values, argument):
    """Raise UserError for what is told to hold images and does not, before a model is read.

    Args:
        values: names of data sets, folders, files.
        argument: name of the argument that gave them.
    """
    files = [value for value in values if not _is_data_set(value)]
    for value in values:
        check_data(value, argument)
    if len(files) > 1:
        check_present(files, argument)
    for value in files:
        _image_files(value, argument)


def _is_data_set(value):
    with quiet_stderr():  # imports TensorFlow, whatever the backend
        from pipelines.datasets import FOLDER_PREFIX, PREFIXES, READERS

    return value.startswith((FOLDER_PREFIX, *PREFIXES)) or value in READERS


def _image_files(value, argument):
    with quiet_stderr():
        from pipelines.datasets import known_names

    path = pathlib.Path(value)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(
            f"{argument} must be a data set ({', '.join(known_names())}), an image file or a folder of such. "
            f"Received {value}, which is none of them."
        )
    found = sorted(
        pathlib.Path(where) / name
        for where, _, names in os.walk(path)
        for name in names
        if name.lower().endswith(SUFFIXES) and not name.startswith(".")
    )
    if not found:
        raise UserError(f"{argument}: {value} holds no image file ({', '.join(SUFFIXES)}).")
    return found
