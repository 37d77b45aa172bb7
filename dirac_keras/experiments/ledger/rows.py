"""The rows of the ledger: a figure each, of the seeds of a network that were trained alike."""

import dataclasses
import shlex

from dirac_keras.experiments.ledger.originals import describe_data
from dirac_keras.experiments.merging import fields_apart, trained_as
from dirac_keras.experiments.metrics import METRICS, figure_text
from dirac_keras.experiments.report import mean_and_deviation
from dirac_keras.training.folder.directory import WHERE_ONLY
from dirac_keras.version import __version__

# Fields that may differ between the short run and the paper's recipe without making it another one.
OF_THE_LENGTH = (*WHERE_ONLY, "seed", "epochs", "max_train", "phase_out_start", "phase_out_end")


@dataclasses.dataclass(frozen=True)
class Row:
    """A figure of a network.

    Attributes:
        network: title.
        series: of its curve in a picture; empty where the entry draws none.
        depth: in layers, or None.
        data_set: name of it.
        metric: `Metric`.
        paper: number of the paper, or None.
        paper_deviation: that of the paper's number over its runs, or None.
        values: tuple of ours, a number for each seed that did not diverge; of what needs no training, the one.
        diverged: int, seeds that did.
        seeds: tuple of int.
        epochs, paper_epochs: int.
        data, hardware, date, command, cause: texts.
    """

    network: str
    series: str
    depth: int | None
    data_set: str
    metric: object
    paper: float | None
    paper_deviation: float | None = None
    values: tuple = ()
    diverged: int = 0
    seeds: tuple = ()
    epochs: int | None = None
    paper_epochs: int | None = None
    data: str = ""
    hardware: str = ""
    date: str = ""
    command: str = ""
    cause: str = ""

    @property
    def is_run(self):
        """Whether there are runs of it."""
        return bool(self.seeds)

    @property
    def is_there(self):
        """Whether there is ours: of a run, or computed."""
        return self.is_run or bool(self.values)

    @property
    def ours(self):
        """Mean and sample standard deviation of ours as text, or why there is none."""
        if not self.is_there:
            return "not run"
        if not self.values:
            return "diverged" if self.diverged else "not measured"
        return figure_text(self.metric, *mean_and_deviation(self.values))

    @property
    def papers(self):
        """The paper's number as text; empty without one."""
        return "" if self.paper is None else figure_text(self.metric, self.paper, self.paper_deviation)

    @property
    def seeds_told(self):
        """How many seeds, and how many of them diverged; empty of what needs no training."""
        return f"{len(self.seeds) or ''}" + (f", {self.diverged} diverged" if self.diverged else "")


def rows_of(experiment, found):
    """The rows of an entry: its networks in their order, those in full first.

    Args:
        experiment: `Experiment`.
        found: list of `Found` of this entry.

    Returns: list of `Row`; a network without runs has a row only where the paper gives a figure of it.
    """
    rows = [_computed(*figure) for figure in experiment.figures()]
    for run in experiment.runs:
        names = {run.name, run.full_name or run.name}
        groups = {}
        for one in found:
            if one.run.network in names and _is_same(one.run, run):
                groups.setdefault(_trained_alike(one), []).append(one)
        for metric in _metrics(run):
            paper = run.paper.get(metric)
            if not groups and paper is not None:
                theirs = paper, run.paper_deviation.get(metric)
                rows.append(Row(*_network(run), METRICS[metric], *theirs, paper_epochs=_epochs_in_full(run)))
            rows += [_row(experiment, run, metric, groups[key]) for key in sorted(groups, key=_longest_first)]
    return rows


def _computed(network, metric, paper, ours, cause=""):
    return Row(network, "", None, "", METRICS[metric], paper, values=(ours,), cause=cause)


def _is_same(one, run):
    """Whether a run with its length is this one of the entry: a name may stand for both lengths."""
    return (one.title, one.series, one.paper) == (run.title, run.series, run.paper)


def _metrics(run):
    return dict.fromkeys([*(["train_error"] if "train_error" in run.paper else []), "test_error", *run.paper])


def _trained_alike(one):
    """What the seeds of a row have in common: all of the config but the seed, the length, and the version."""
    config = one.ended.config
    return one.is_full, config.epochs, one.ended.version or "", trained_as(config, (*WHERE_ONLY, "seed"))


def _longest_first(key):
    is_full, epochs, version, text = key
    return not is_full, -epochs, version, text


def _epochs_in_full(run):
    return dataclasses.replace(run, fields={**run.fields, **run.full}).config().epochs


def _network(run):
    return run.title, run.series, run.fields.get("depth"), run.fields["data"]


def _row(experiment, run, name, group):
    group = sorted(group, key=lambda one: one.ended.config.seed)
    metric = METRICS[name]
    measured = [
        metric.value(one.ended.rows, one.ended.summary, one.ended.directory)
        for one in group
        if one.ended.summary is not None
    ]
    first, full = group[0].ended, dataclasses.replace(run, fields={**run.fields, **run.full}).config()
    return Row(
        *_network(run),
        metric,
        run.paper.get(name),
        run.paper_deviation.get(name),
        tuple(value for value in measured if value is not None),
        sum(one.ended.summary is None for one in group),
        tuple(one.ended.config.seed for one in group),
        first.config.epochs,
        full.epochs,
        "; ".join(dict.fromkeys(describe_data(one.ended) for one in group)),
        "; ".join(dict.fromkeys(_hardware(one.ended) for one in group)),
        _dates([one.ended.date for one in group]),
        _command(group),
        _cause(experiment, run, name, group, full),
    )


def _hardware(ended):
    record = ended.record
    version = "" if ended.version == __version__ else f", dirac_keras {ended.version}"
    device = record.device or record.machine or "?"
    return f"{device}, {record.precision_used}, {record.backend or 'tensorflow'}{version}"


def _dates(dates):
    known = sorted({date for date in dates if date})
    if not known:
        return ""
    return known[0] if len(known) == 1 else f"{known[0]} to {known[-1]}"


def _command(group):
    """The command that trains these runs, from their configs."""
    one = group[0]
    seeds = [member.ended.config.seed for member in group]
    words = ["dirac-keras", "reproduce", one.paper, "--only", one.entry, "--run", one.run.network]
    if seeds == list(range(len(seeds))):
        words += ["--seeds", str(len(seeds))]
    elif len(seeds) > 1:
        words += ["--seeds", ",".join(map(str, seeds))]
    else:
        words[-1] = f"{one.run.network}-seed{seeds[0]}"
        words += ["--seeds", f"0,{seeds[0]}"]
    words += ["--full"] if one.is_full else []
    if one.ended.config.epochs != one.run.config().epochs:
        words += ["--epochs", str(one.ended.config.epochs)]
    return shlex.join(words)


def _cause(experiment, run, name, group, full):
    """Why ours is not the paper's: what the files show, and what the entry knows."""
    if name not in run.paper:
        return ""
    ended = group[0].ended
    texts = []
    if ended.config.epochs < full.epochs:
        texts.append(f"{ended.config.epochs} of {full.epochs} epochs")
    if ended.config.max_train is not None and full.max_train is None:
        texts.append(f"{ended.config.max_train:,} images alone")
    if not group[0].is_full and fields_apart(ended.config, full, OF_THE_LENGTH):
        texts.append("not the paper's recipe")
    if name == "train_error" and any(one.ended.summary and "train_accuracy" not in one.ended.summary for one in group):
        texts.append("mean of the last epoch while it ran, not evaluated")
    known = run.cause or experiment.cause
    return "; ".join([*texts, *([known.rstrip(".")] if known else [])])
