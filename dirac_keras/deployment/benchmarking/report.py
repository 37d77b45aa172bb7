"""What a benchmark measured, as a table and as a record."""

import dataclasses
import pathlib

from dirac_keras.brief import brief
from dirac_keras.files.amounts import counted, size_text, unit_of


@brief
@dataclasses.dataclass(frozen=True)
class BenchmarkReport:
    """The artefacts of one network, measured side by side.

    Attributes:
        rows: list of dicts, one an artefact: `artefact`, `format`, `form` (`"folded"`, `"unfolded"` or None),
            `precision`, `runtime`, `size_bytes`, `open_seconds`, `warm_up_seconds`, `latency` (batch -> `median_ms`,
            `p95_ms`, `images_per_second`, `calls`, `times_faster`, `times_faster_range`), `peak_memory_mib`,
            `memory_before_mib`, `accuracy`, `agreement`, `max_abs_difference`, `compared`, `sqnr_db`, `notes`. What was
            not measured is None.
        skipped: list of `(artefact, reason)`, whose runtime is not installed.
        failed: list of `(artefact, reason)`.
        reference: path of the Keras model that the outputs are compared with, or None.
        baseline: path of the artefact that `times_faster` is against: the folded Keras model, or None.
        images: int, test images.
        threads, batches, rounds: as they were measured.
    """

    rows: list
    skipped: list
    failed: list
    reference: str | None
    baseline: str | None
    images: int
    threads: int
    batches: tuple
    rounds: int

    def to_dict(self):
        """A JSON-safe dict."""
        return {
            **dataclasses.asdict(self),
            "batches": list(self.batches),
            "skipped": [{"artefact": path, "reason": reason} for path, reason in self.skipped],
            "failed": [{"artefact": path, "reason": reason} for path, reason in self.failed],
        }

    def best(self, batch):
        """The fastest row at a batch: by the ratios round by round where there is a baseline, else by the median."""
        if self.baseline is not None:
            return max(self.rows, key=lambda row: row["latency"][str(batch)]["times_faster"])
        return min(self.rows, key=lambda row: row["latency"][str(batch)]["median_ms"])

    def table(self):
        """Rows of texts for printing: dicts with the same keys."""
        return [self._texts(row) for row in self.rows]

    def short(self, path):
        """The name of an artefact's file; its path where another one has the same name."""
        names = [pathlib.PurePath(row["artefact"]).name for row in self.rows]
        name = pathlib.PurePath(path).name
        return name if names.count(name) == 1 else path

    def _texts(self, row):
        unit = unit_of(max(row["size_bytes"] for row in self.rows))
        cells = {
            "artefact": self.short(row["artefact"]),
            "": " ".join(filter(None, (row["precision"], row["form"]))),
            unit[0]: size_text(row["size_bytes"], unit),
            "warm-up ms": f"{1e3 * row['warm_up_seconds']:.0f}",
        }
        for batch in self.batches:
            timed = row["latency"][str(batch)]
            cells |= {
                f"b{batch} ms": _number(timed["median_ms"]),
                f"b{batch} p95": _number(timed["p95_ms"]),
                f"b{batch} img/s": f"{timed['images_per_second']:.0f}",
            }
            if self.baseline is not None:
                cells[f"b{batch} faster"] = _number(timed["times_faster"])
        cells["peak MiB"] = _or_dash(row["peak_memory_mib"], "{:.0f}")
        cells["acc. %"] = f"{100 * row['accuracy']:.2f}"
        if self.reference is not None:
            cells["same class %"] = f"{100 * row['agreement']:.2f}"
            cells["max diff"] = _or_dash(row["max_abs_difference"], "{:.2g}")
            cells["SQNR dB"] = _or_dash(row["sqnr_db"], "{:.1f}")
        return cells

    def lines(self):
        """What is said below the table, a list of texts."""
        rounds = "one round" if self.rounds == 1 else f"medians of {self.rounds:,} rounds in turn"
        said = [f"{counted(self.images, 'test image')}; threads: {self.threads}; {rounds}"]
        if self.reference is not None:
            compared = sorted({row["compared"] for row in self.rows if row["compared"]})
            said.append(f"same class, difference and SQNR: against {self.reference}, of the {' or '.join(compared)}")
        else:
            said.append("no Keras model among the artefacts: no agreement and difference; `reference` gives one")
        if self.baseline is not None:
            said.append(f"faster: times faster than {self.baseline}, round by round, the median")
            for batch in self.batches:
                row = self.best(batch)
                low, high = row["latency"][str(batch)]["times_faster_range"]
                times = row["latency"][str(batch)]["times_faster"]
                name = self.short(row["artefact"])
                said.append(f"fastest at batch {batch}: {name}, {times:.2f} times ({low:.2f}-{high:.2f})")
        said += [f"{self.short(row['artefact'])}: {note}" for row in self.rows for note in row["notes"]]
        return said + [f"skipped: {path}: {reason}" for path, reason in self.skipped]


def _number(value):
    """Three digits."""
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _or_dash(value, form):
    return "-" if value is None else form.format(value)
