"""What a user sees of a search while it runs: a line for each trial, and on a terminal how far the running ones are."""

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from dirac_keras.files.amounts import counted
from tuning.oracles import COMPLETED
from tuning.space import without_prefixes


class SearchProgress:
    """Listener of an oracle.

    Args:
        oracle: `KeptOracle`; max_trials: int or None; deadline: `time.monotonic()` or None.
        console: rich's; None makes one.
    """

    def __init__(self, oracle, max_trials=None, deadline=None, console=None):
        self.oracle, self.deadline = oracle, deadline
        self.console = console or Console()
        self.running = {}
        self.bar = None
        if self.console.is_terminal:
            self.bar = Progress(
                TextColumn("trials"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.fields[words]}"),
                console=self.console,
                transient=True,
            )
            self.task = self.bar.add_task("", total=max_trials, completed=len(oracle.records), words="")
            self.bar.start()

    def trial_began(self, number, values):
        self.running[number] = ""
        self._show()

    def epoch_ended(self, number, epoch, epochs, logs):
        accuracy = (logs or {}).get("val_accuracy")
        self.running[number] = f" epoch {epoch}/{epochs}" + (f" {accuracy:.4f}" if accuracy is not None else "")
        self._show()

    def trial_ended(self, number, record):
        self.running.pop(number, None)
        self.console.print(
            f"{describe_trial(record)}  |  {self._standing()}", highlight=False, markup=False, soft_wrap=True
        )
        self._show()

    def close(self):
        """Take the bar off the terminal."""
        if self.bar:
            self.bar.stop()

    def _show(self):
        if self.bar:
            running = ", ".join(f"trial {number}{words}" for number, words in sorted(self.running.items()))
            self.bar.update(self.task, completed=len(self.oracle.records), words=f"{running}  {self._standing()}")

    def _standing(self):
        words = []
        if best := best_record(self.oracle.records):
            words.append(f"best {best['score']:.4f} (trial {best['trial']})")
        if self.oracle.num_rejected:
            words.append(f"{self.oracle.num_rejected} over the budget")
        if self.deadline is not None:
            left = max(0, round(self.deadline - time.monotonic()))
            words.append(f"{left // 60}:{left % 60:02d} left")
        return ", ".join(words) or "none finished yet"


def best_record(records):
    """Of `{number: record}` the completed one with the highest score, of equals the one with fewest parameters."""
    completed = [record for record in records.values() if record["status"] == COMPLETED]
    return max(completed, key=lambda record: (record["score"], -record["parameters"]), default=None)


def describe_values(values):
    """Hyperparameters in a few words."""
    own = {name: value for name, value in without_prefixes(values).items() if not name.startswith("tuner/")}
    return " ".join(
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}" for name, value in own.items()
    )


def describe_trial(record):
    """One line of a finished trial."""
    head = f"trial {record['trial']}: {describe_values(record['values'])}"
    if record["status"] != COMPLETED:
        return f"{head}  failed: {record['reason']}"
    spread = f" ± {record['spread']:.4f}" if record["spread"] is not None else ""
    return (
        f"{head}  val_accuracy {record['score']:.4f}{spread}  {counted(record['epochs'], 'epoch')} in "
        f"{record['seconds']:.1f} s  "
        f"folded {record['parameters']:,} parameters, {scaled(record['macs'])} MACs"
        + (f", {record['latency_ms']:.2f} ms" if record["latency_ms"] is not None else "")
    )


def scaled(number):
    """A count in thousands, millions or billions."""
    for factor, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= factor:
            return f"{number / factor:.3g} {letter}"
    return str(number)
