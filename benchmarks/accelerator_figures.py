"""Figures of an accelerator: measured in a process of their own with a time limit, and as lines and a table."""

import datetime
import json
import re
import shlex
import subprocess
import sys
import time

from rich.table import Table

from benchmarks.accelerator_parts import Part
from dirac_keras.training.folder.directory import machine, versions

MARK = "FIGURES "  # before the line of a child that holds them


def new_record():
    """What a file of figures begins with."""
    return {
        "machine": machine(),
        "versions": versions(),
        "device": _device(),
        "date": datetime.date.today().isoformat(),
        "parts": [],
    }


def measured(part, seconds):
    """`measure(part)` in a process of its own: a dict with the part's fields, and figures or why there are none."""
    fields = {name: getattr(part, name) for name in part.__dataclass_fields__}
    command = [sys.executable, "-m", "benchmarks.accelerator", "--part", json.dumps(fields)]
    start = time.perf_counter()
    try:
        process = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return {**fields, "failed": f"took more than {seconds:.0f} s"}
    lines = [line for line in process.stdout.splitlines() if line.startswith(MARK)]
    if not lines:
        last = (process.stderr.strip().splitlines() or ["no message"])[-1]
        return {**fields, "failed": f"exit status {process.returncode}: {last[:300]}"}
    return {**fields, **json.loads(lines[-1].removeprefix(MARK)), "process_s": time.perf_counter() - start}


def describe(row):
    """One line of a part's figures."""
    name = Part(**{key: row[key] for key in Part.__dataclass_fields__}).name
    if "failed" in row:
        return f"{name}: {row['failed']}"
    if row["way"] == "seeds":
        return (
            f"{name} in {row['policy']}: together {row['together_s']:.1f} s, one after the other "
            f"{row['alone_s']:.1f} s; a step of all {row['together_step_ms']:.2f} ms against "
            f"{row['alone_step_ms']:.2f} ms; largest difference of a weight {row['largest_difference']:.2g}"
        )
    return f"{name}: {row['step_ms']:.2f} ms a step, compiled in {row['compile_s']:.1f} s"


def show(rows, console):
    """A table of the step times; ratios are to the bare scan of the same width."""
    table = Table(title="a training step", title_justify="left", header_style="bold")
    for heading in ("", "ms", "to the scan", "images/s", "compile s", "device MiB", "TFLOP/s", "of the peak"):
        table.add_column(heading, justify="left" if not heading else "right")
    scans = {row["width"]: row["step_ms"] for row in rows if row["way"] == "scan" and "step_ms" in row}
    for row in rows:
        if "step_ms" not in row:
            continue
        scan = scans.get(row["width"])
        table.add_row(
            f"{row['depth']}-{row['width']:g} {row['way']}",
            f"{row['step_ms']:.2f}",
            f"{row['step_ms'] / scan:.2f}" if scan else "",
            f"{row['images_s']:,.0f}",
            f"{row['compile_s']:.1f}",
            _number(row.get("device_mib"), ",.0f"),
            _number(row.get("tflops"), ".3g"),
            _number(row.get("peak_share"), ".0%"),
        )
    if table.row_count:
        console.print(table)


def run_command(command, seconds, folder, environment):
    """Run a command with a time limit.

    Returns: dict of its exit status, seconds, those of them in which chunks of steps were compiled, whether it resumed
        a run, and last lines.
    """
    start = time.perf_counter()
    log = folder / "command.log"
    with open(log, "a", encoding="utf-8") as file:
        file.write(f"$ {shlex.join(command)}\n")
        file.flush()
        try:
            status = subprocess.run(
                command, stdout=file, stderr=subprocess.STDOUT, timeout=seconds, env=environment
            ).returncode
        except subprocess.TimeoutExpired:
            status = f"stopped after {seconds:.0f} s"
    seconds = time.perf_counter() - start
    text = log.read_text(encoding="utf-8", errors="replace")
    own = text.rpartition(f"$ {shlex.join(command)}\n")[2]
    compiled = re.findall(r"steps compiled together in ([\d.]+) s", own)
    return {
        "status": status,
        "seconds": seconds,
        "compile_s": sum(map(float, compiled)),
        "is_resumed": "resuming after " in own,
        "last_lines": text.splitlines()[-12:],
    }


def _device():
    """JAX's name of what computes; None on another backend. In a child, so that this process holds no device."""
    code = "import jax; print(jax.local_devices()[0].device_kind, len(jax.local_devices()))"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return process.stdout.strip() or None


def _number(value, form):
    return "" if value is None else format(value, form)
