"""What an entry is: a table or a figure of a paper, the runs it needs, and the seeds of each."""

import collections
import dataclasses

from dirac_keras.errors import UserError
from dirac_keras.models.family import find_family
from dirac_keras.training.config import TrainConfig

# What `--quick` makes of a run: every step once, nothing learned.
QUICK = {"epochs": 1, "max_train": 256, "max_test": 128, "batch_size": 64}
QUICK_DEPTH, QUICK_UNITS = 4, 16  # of dense networks
QUICK_WIDTH = 0.25  # of convolutional ones
MOST_SEEDS = 1000  # of a run; more is a mistake, such as a seed that was given for their number
PHASE_OUT = ("phase_out_start", "phase_out_end")  # epochs of a timetable


@dataclasses.dataclass(frozen=True)
class Run:
    """One training of an experiment; an experiment that asks for several seeds makes one of each, see `with_seeds`.

    Attributes:
        name: of its folder; two entries that share a run give it the same name. Without the seed.
        fields: dict, those of `TrainConfig`, without the seed.
        paper: dict of the figures that the paper gives for it, such as `{"test_error": 5.48}`; the names are those of
            `metrics.METRICS`. May be empty.
        paper_deviation: dict, the deviation over the paper's runs for those figures of which it gives one.
        title: of its row in a table.
        series: of its curve in a picture.
        full: dict, the fields of the paper's own recipe where `fields` have a shorter one.
        full_name: of its folder with `full`; entries that train the same then share it. Default: `name`.
        only_full: bool, whether it is left to `full_runs`, as it takes too long.
        seeds, full_seeds: int, number of seeds, short and in full, where it is not the experiment's.
        cause: text, why ours differs from the paper's figure, where it is known and not the experiment's.
        network: name without the seed, of a run that `with_seeds` made; empty before.
    """

    name: str
    fields: dict
    paper: dict = dataclasses.field(default_factory=dict)
    paper_deviation: dict = dataclasses.field(default_factory=dict)
    title: str = ""
    series: str = ""
    full: dict = dataclasses.field(default_factory=dict)
    full_name: str = ""
    only_full: bool = False
    seeds: int | None = None
    full_seeds: int | None = None
    cause: str = ""
    network: str = ""

    def config(self, **overrides):
        """The run's `TrainConfig`.

        Overrides that are None are passed over, a seed is added to the run's own, and with other epochs the skips fade
        over the same share of the training.
        """
        given = {name: value for name, value in overrides.items() if value is not None}
        if "seed" in given:
            given["seed"] += self.fields.get("seed", 0)
        timed = [name for name in PHASE_OUT if self.fields.get(name)]
        if timed and "epochs" in given:
            longer = given["epochs"] / TrainConfig.from_mapping(self.fields).epochs
            given |= {name: self.fields[name] * longer for name in timed}
        return TrainConfig.from_mapping({**self.fields, **given})


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A table or a figure of a paper, or a part of one.

    Attributes:
        name: of it on the command line.
        title: what it shows.
        source: where in the paper.
        runs: tuple of `Run`; empty where nothing needs to be trained.
        report: function `(experiment, results, folder) -> list of lines`, which writes its figures to `folder`;
            results are `[(run, RunDirectory), ...]`, the seeds of a network one after another (`report.by_network`).
        side_by_side: bool, whether runs that differ in their seed alone are trained in one step
            (`train_side_by_side`).
        artefacts: tuple of names of the paper's tables and figures that it shows, as `artefacts.ARTEFACTS` has them;
            empty for what is ours.
        looks_into: bool, whether its report looks into trained networks or their curves, of which figures tell nothing.
        data_of: dict, artefact -> the data set it is of, for those that are not of all runs.
        figures: function `() -> [(network, name of a metric, paper's number, ours, cause), ...]`: figures that need no
            training; the cause may be left out.
        seeds, full_seeds: int, number of seeds of each run, short and as many as the paper has.
        cause: text, why ours differ from the paper's figures, where it is known and the same for all runs.
    """

    name: str
    title: str
    source: str
    runs: tuple
    report: object
    side_by_side: bool = False
    artefacts: tuple = ()
    looks_into: bool = False
    data_of: dict = dataclasses.field(default_factory=dict)
    figures: object = tuple
    seeds: int = 3
    full_seeds: int = 5
    cause: str = ""


def quick_runs(experiment):
    """The runs of an experiment cut down to a few steps on small networks; those that become the same, once."""
    cut_down = {}
    for run in map(_quick, experiment.runs):
        cut_down.setdefault(tuple(sorted(run.fields.items())), run)
    return with_seeds(cut_down.values(), 1)


def short_runs(experiment, seeds=None):
    """The runs of an experiment but those that are `only_full`, each with its seeds; see `with_seeds`."""
    chosen = (run for run in experiment.runs if not run.only_full)
    return with_seeds(
        [dataclasses.replace(run, seeds=experiment.seeds if run.seeds is None else run.seeds) for run in chosen], seeds
    )


def full_runs(experiment, seeds=None):
    """The runs of an experiment with the paper's own recipe, epochs and number of seeds; see `with_seeds`."""
    return with_seeds(
        [
            dataclasses.replace(
                run,
                name=run.full_name or run.name,
                fields={**run.fields, **run.full},
                seeds=experiment.full_seeds if run.full_seeds is None else run.full_seeds,
            )
            for run in experiment.runs
        ],
        seeds,
    )


def with_seeds(runs, seeds=None):
    """Each run once for each of its seeds: `NAME` with seed 0, `NAME-seed1`, ...

    Args:
        runs: of `Run`.
        seeds: int, how many for every run, from 0 on; or a sequence of the seeds. None: as many as each run asks for.

    Returns: tuple of `Run`.
    Raises: UserError: if a seed is there twice.
    """
    return tuple(_with_seed(run, seed) for run in runs for seed in seed_list(run.seeds if seeds is None else seeds))


def seed_list(seeds):
    """A number of seeds, or the seeds themselves, as a tuple.

    Raises: UserError: if one is there twice, there are none, or more than `MOST_SEEDS`.
    """
    if isinstance(seeds, int) and seeds > MOST_SEEDS:
        raise UserError(
            f"`seeds` must be a number of at most {MOST_SEEDS:,}, or the seeds themselves, such as 0,{seeds}. Received "
            f"seeds={seeds}."
        )
    found = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
    if not found:
        raise UserError(f"`seeds` must be a number of at least 1, or the seeds themselves. Received seeds={seeds!r}.")
    twice = sorted(seed for seed, count in collections.Counter(found).items() if count > 1)
    if twice:
        raise UserError(f"`seeds` has {twice[0]} twice. Give each seed once.")
    return found


def _with_seed(run, seed):
    return dataclasses.replace(
        run,
        name=f"{run.name}-seed{seed}" if seed else run.name,
        network=run.name,
        fields={**run.fields, "seed": seed},
    )


def _quick(run):
    fields = {**run.fields, **QUICK}
    for name in PHASE_OUT:
        if fields.get(name):
            fields[name] = QUICK["epochs"] / 2
    config = TrainConfig.from_mapping(fields)
    layout = find_family(config.family).layout(config.layout)
    if layout.size == "units":
        fields.update(depth=min(config.depth, QUICK_DEPTH), units=QUICK_UNITS)
    elif layout.size == "width":
        fields.update(depth=layout.smallest_depth(), width=QUICK_WIDTH)
    return dataclasses.replace(run, fields=fields)
