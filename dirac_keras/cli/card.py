"""The options of a model card, and the facts that a run's folder and its data give for one."""

import dataclasses
import functools
import json
import logging
import pathlib

import rich_click as click

from dirac_keras.cli.options import splits_of_model
from dirac_keras.cli.speech.telling import told_once
from dirac_keras.deployment.card import CardFacts, accuracy_by_class
from dirac_keras.errors import UserError
from dirac_keras.training.folder.directory import RunDirectory
from dirac_keras.training.result import read_figures

logger = logging.getLogger("dirac_keras")


@dataclasses.dataclass(frozen=True)
class CardOptions:
    """The flags of `card_options`."""

    with_card: bool
    hub: bool
    license: str | None
    benchmark: str | None
    data_dir: str | None = None

    def facts(self, source, network, metadata, input=None, outputs=None):
        """What a card says of a network, or None for `--no-card`.

        Args:
            source: of the network, a `.keras` file or a run's folder.
            network: `keras.Model` that is exported.
            metadata: dict of its file.
            input, outputs: as the command was told.

        Returns: `CardFacts`. Where the accuracy cannot be measured, it says why.
        Raises: ValueError: if the benchmark's record cannot be read.
        """
        if not self.with_card:
            return None
        source, data = pathlib.Path(source), metadata.get("data")
        config, summary = _of_run(source, metadata)
        evaluation, why = None, None
        if not (data or {}).get("name"):
            why = "the model's file does not say what it was trained on"
        else:
            try:
                evaluation = self._evaluate(source, network, metadata, config, input, outputs)
            except ValueError as error:  # absent data, data of other classes: the card is written without the figures
                why = " ".join(str(error).replace("`", "").split())
        if why:
            logger.info("card: accuracy by class is left out: %s", why)
        name = source.name if source.is_dir() else source.stem
        return CardFacts(name, config, summary, evaluation, why, _read_benchmark(self.benchmark), self.license)

    def _evaluate(self, source, network, metadata, config, input, outputs):
        limits = {"max_test": config.get("max_test")} if config else {}
        limits |= {"eval_batch_size": 256, "data_dir": self.data_dir}
        with told_once(metadata["data"]["name"]):
            splits = splits_of_model(network, metadata, source, None, **limits)
        return accuracy_by_class(network, metadata["data"], splits, input, outputs)


def _of_run(source, metadata):
    """`(config, summary)` of a run's folder, or of the folder that a run's model file lies in; None for other files."""
    folder = source if source.is_dir() else source.parent
    try:
        run = RunDirectory(folder)
        record = run.record()
        if source.is_dir() or (metadata.get("run") is not None and metadata["run"] == record.run):
            return json.loads(run.config.read_text(encoding="utf-8")), read_figures(run)[1]
    except (UserError, OSError):
        pass
    return None, None


def _read_benchmark(path):
    if path is None:
        return None
    try:
        record = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
        if {"rows", "batches", "threads", "images"} <= set(record):
            return record
        raise ValueError("it lacks the rows of one")
    except (OSError, ValueError, TypeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"benchmark: {path} is no record of dirac-keras benchmark: {reason}.") from None


def card_options(command):
    """A decorator: `--card`, `--hub`, `--license`, `--benchmark`, which the command takes as `card`, `CardOptions`."""

    @functools.wraps(command)
    def with_options(with_card, hub, license, benchmark, **values):
        return command(card=CardOptions(with_card, hub, license, benchmark, values.get("data_dir")), **values)

    for option in (
        click.option("--benchmark", type=click.Path(), metavar="FILE", help="benchmark.json of these artefacts, whose "
                     "latencies the card then has. Default: none."),
        click.option("--license", metavar="NAME", help="Licence of the weights for the card, as hubs name it: mit, "
                     "apache-2.0, cc-by-4.0. Default: unknown."),
        click.option("--hub", is_flag=True, help="Write a folder as hubs keep it: artefact, README.md, config.json and "
                     "model.safetensors."),
        click.option("--card/--no-card", "with_card", default=True, help="Write a model card: README.md in a folder, "
                     "NAME.SUFFIX.md beside a file. It needs the run's test images for the accuracy by class. Default: "
                     "yes."),
    ):  # fmt: skip
        with_options = option(with_options)
    return with_options
