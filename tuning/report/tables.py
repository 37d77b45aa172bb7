"""What a search has found, as files and tables."""

import csv
import io
import json

import tomli_w
from rich import box
from rich.table import Table

from dirac_keras.files.atomic import write_text
from dirac_keras.training.folder.directory import machine
from tuning.oracles import COMPLETED
from tuning.progress import best_record, describe_values, scaled
from tuning.report.importance import importances
from tuning.report.pareto import COSTS, on_some_front, plot_fronts

COLUMNS = (
    *("trial", "status", "score", "spread", "epochs", "executions", "seeds", "test_accuracy"),
    *("parameters", "macs", "latency_ms", "folded_difference", "argmax_agreement"),
    *("seconds", "overhead_seconds", "reason"),
)


SHORT = {"parameters": "params", "macs": "MACs", "latency_ms": "ms"}


def write_trials(path, records):
    """One row a trial, in the order of ending: what it came to, then its hyperparameters."""
    names = list(dict.fromkeys(name for record in records for name in record["values"]))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([*COLUMNS, *names])
    for record in records:
        row = {**record, "executions": len(record.get("scores", ())) or "", "seeds": _joined(record.get("seeds"))}
        cells = [row.get(name) for name in COLUMNS] + [record["values"].get(name) for name in names]
        table.writerow(["" if cell is None else cell for cell in cells])
    write_text(path, text.getvalue())


def write_best(path, record, settings):
    """The best trial's config as `dirac-keras train --config` takes it; its first execution, to the seed."""
    fields = settings.space.fields(record["values"], record["epochs"], record["seeds"][0])
    fields = {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}
    batch = settings.budget.latency_batch
    spread = f" +- {record['spread']:.4f} over seeds {_joined(record['seeds'])}" if record["spread"] is not None else ""
    latency = (
        "" if record["latency_ms"] is None else f", {record['latency_ms']:.2f} ms for {batch} image{'s' * (batch > 1)}"
    )
    comment = (
        f"# trial {record['trial']}: validation accuracy {record['score']:.4f}{spread}, {record['epochs']} epochs\n"
        f"# folded: {record['parameters']:,} parameters, {record['macs']:,} multiply-accumulates{latency}\n"
    )
    write_text(path, comment + tomli_w.dumps({name: value for name, value in fields.items() if value is not None}))


def write_summary(path, oracle, settings, rows, fit, call):
    """Counts, times and importances as JSON; `call` is what the last call alone did."""
    records = list(oracle.records.values())
    completed = [record for record in records if record["status"] == COMPLETED]
    best = best_record(oracle.records)
    summary = {
        "machine": machine(),
        "tuner": settings.tuner,
        "seed": settings.seed,
        "finished": len(completed),
        "failed": len(records) - len(completed),
        "over_budget": oracle.num_rejected,
        "stopped": oracle.why_stopped,
        "best_trial": best and best["trial"],
        "best_score": best and best["score"],
        "training_seconds": round(sum(record["seconds"] for record in records if "seconds" in record), 3),
        "last_call": call,
        "importances": rows,
        "importances_explain": fit,
    }
    write_text(path, json.dumps(summary, indent=2) + "\n")


def draw(path, records, settings):
    """The picture of the fronts."""
    data = settings.space.fixed.get("data", "digits")
    plot_fronts(records, path, f"{data}, {', '.join(settings.space.families)}; ")


def front_table(records):
    """The trials on a front, and on which, as a table of rich."""
    table = Table(
        title="On the front of accuracy against a cost", title_justify="left", header_style="bold", box=box.SIMPLE_HEAD
    )
    for heading in ("trial", "accuracy", "params", "MACs", "ms", "epochs"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("front of", overflow="fold")
    table.add_column("hyperparameters", min_width=20, overflow="fold")
    for record, costs in on_some_front(records):
        table.add_row(
            str(record["trial"]),
            f"{record['score']:.4f}",
            scaled(record["parameters"]),
            scaled(record["macs"]),
            "" if record["latency_ms"] is None else f"{record['latency_ms']:.2f}",
            str(record["epochs"]),
            "all" if len(costs) == len(COSTS) else ", ".join(SHORT[cost] for cost in costs),
            describe_values(record["values"]),
        )
    return table


def importance_table(records, seed=0):
    """`(table of rich or None, rows, fit)` of `importances`."""
    rows, fit = importances(records, seed)
    if not rows:
        return None, rows, fit
    title = f"Importance; the forest explains {fit:.0%} of the variance of trials it has not seen"
    table = Table(title=title, title_justify="left", header_style="bold")
    for heading in ("hyperparameter", "importance", "spread"):
        table.add_column(heading, justify="left" if heading == "hyperparameter" else "right")
    for row in rows:
        table.add_row(row["hyperparameter"], f"{row['importance']:.3f}", f"{row['spread']:.3f}")
    return table, rows, fit


def _joined(values):
    return " ".join(map(str, values or ()))
