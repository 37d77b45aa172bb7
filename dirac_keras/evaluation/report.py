"""The whole report of a network: one record, which a page or a JSON file shows."""

import dataclasses
import logging

import keras
import numpy as np

from dirac_keras.errors import UserError
from dirac_keras.evaluation import robustness
from dirac_keras.evaluation.comparison import check_comparable, compare
from dirac_keras.evaluation.corruptions.applying import ALL, find_corruptions, skipped
from dirac_keras.evaluation.intervals import Paired, difference, mcnemar
from dirac_keras.evaluation.outcomes import VALUES
from dirac_keras.evaluation.record import record_of
from dirac_keras.evaluation.summary import headline
from dirac_keras.files.amounts import counted
from dirac_keras.version import __version__

logger = logging.getLogger("dirac_keras")
FORMAT = "dirac_keras evaluation 1"


@dataclasses.dataclass(frozen=True)
class Report:
    """A network, judged.

    Attributes:
        record: dict, JSON-safe.
        pictures: dict, `index` of a mistake -> its image, uint8 `(height, width, channels)`.
    """

    record: dict
    pictures: dict

    def __repr__(self):
        """One line: of what it is, and what it comes to."""
        return f"<{type(self).__name__} of {self.record['model']} on {self.record['data']}: {headline(self.record)[1]}>"


def make_report(
    subject, other=None, test_time_augmentation="none", corruptions=None, corruption_images=None, seed=0
):  # fmt: skip
    """Judge a network on data.

    Args:
        subject: `Subject`.
        other: `Subject` to compare it with, on the same data; or None.
        test_time_augmentation: one of `deployment.views.VIEWS`. All figures are of outputs averaged over these views;
            the report sets them beside those without.
        corruptions: names of `corruptions.table.CORRUPTIONS`, or `"all"`; None for none.
        corruption_images: so many images are corrupted at most, drawn at random; None: all.
        seed: draws what is random: halves, images, corruptions.

    Returns: `Report`.
    Raises: ValueError: if the networks or the data do not allow it.
    """
    spec, total = subject.spec, subject.total
    chosen = _chosen(corruptions, spec)
    if other is not None:
        check_comparable(subject, other)
    if test_time_augmentation != "none" and spec.task == VALUES:
        raise UserError("`test_time_augmentation` counts right answers; numbers are never exactly right. Leave it out.")
    logger.info("input: %s", subject.feed.text)
    outcomes = subject.collect(test_time_augmentation, seed)
    record = {
        "format": FORMAT,
        "model": subject.name,
        "data": spec.name,
        "split": subject.split,
        "task": spec.task,
        "input": subject.feed.text,
        "test_time_augmentation": test_time_augmentation,
        "seed": seed,
        "dirac_keras": __version__,
        "keras_backend": keras.backend.backend(),
    }
    record |= record_of(outcomes, spec.class_names, seed)
    for row in record["mistakes"]:
        if (file := subject.name_of(row["index"])) is not None:
            row["file"] = file
    if test_time_augmentation != "none":
        record["views"] = views_record(subject.collect("none", seed), outcomes)
    if other is not None:
        theirs = other.collect(test_time_augmentation, seed)
        record["comparison"] = {"model": other.name, **compare(outcomes, theirs, spec.class_names)}
    if chosen:
        count = min(corruption_images or total, total)
        logger.info("corruptions: %d, at five strengths, of %s", len(chosen), counted(count, "image"))
        for name, one in (("corruptions", subject), ("corruptions_other", other)):
            if one is not None:
                record[name] = _corrupted(one, chosen, corruption_images, test_time_augmentation, seed)
        if corruptions == ALL:
            channels = spec.image_shape[-1]
            record["left_out"] += [{"what": what, "why": why} for what, why in skipped(channels).items()]
    return Report(record, {kept.index: kept.pixels for kept in outcomes.worst})


def _chosen(corruptions, spec):
    if corruptions is None:
        return []
    if spec.task == VALUES:
        raise UserError("`corruptions` count right answers; the numbers of this network are never exactly right.")
    return find_corruptions(corruptions, spec.image_shape[-1])


def views_record(plain, averaged):
    """What averaging over views changes, JSON-safe: of two `Outcomes`, without and with it."""
    paired = Paired.of(averaged.right, plain.right)
    return {
        "accuracy_before": float(np.mean(plain.right)),
        "accuracy_after": float(np.mean(averaged.right)),
        "loss_before": float(np.mean(plain.columns["loss"])),
        "loss_after": float(np.mean(averaged.columns["loss"])),
        "difference": dataclasses.asdict(difference(paired)),
        "mcnemar": dataclasses.asdict(mcnemar(paired)),
        **dataclasses.asdict(paired),
    }


def _corrupted(subject, chosen, most, test_time_augmentation, seed):
    splits = subject.fed_splits
    return robustness.measure(
        subject.predictor(test_time_augmentation),
        subject.batches(),
        subject.spec,
        splits.pixel_table(),
        subject.total,
        chosen,
        most,
        seed,
    ).to_dict()
