"""What one short loan of an accelerator should answer, most important first; each part has a time limit."""

import dataclasses
import json
import os
import pathlib
import sys
import time

from benchmarks import accelerator
from benchmarks.accelerator_parts import Part
from dirac_keras.files.atomic import write_text


@dataclasses.dataclass(frozen=True)
class Item:
    """A part of the session.

    Attributes:
        name: str.
        seconds: number, its time limit.
        part: `Part` to measure, or None.
        command: list of str to run instead.
    """

    name: str
    seconds: float
    part: Part | None = None
    command: tuple = ()


def items(folder, data_dir):
    """The parts in their order."""

    def train(name, seconds, *flags):
        where = ["--data-dir", data_dir] if data_dir else []
        command = [sys.executable, "-m", "dirac_keras.cli", "train", "--data", "cifar10", *where, "--no-export"]
        return Item(name, seconds, command=(*command, "--workdir", str(folder / name.replace(" ", "-")), *flags))

    def step(way, width, seconds=60):
        part = Part(way=way, width=width)
        return Item(part.name, seconds, part=part)

    table = [step(way, width) for width in (1, 10) for way in ("train", "scan")]
    fast = [train(f"fast seed {seed}", 60, "--recipe", "fast", "--seed", str(seed)) for seed in range(3)]
    paper = train("34-1 paper", 400, "--depth", "34", "--width", "1", "--recipe", "cifar")
    seeds = Part(way="seeds", depth=34, width=1, seeds=4)
    rest = [step(way, width) for width in (1, 10) for way in ("fit", "torch", "torch compiled")]
    rest += [step(way, width) for width in (2, 5) for way in ("train", "scan")]
    return [*table, *fast, paper, Item(seeds.name, 150, part=seeds), *rest]


def run(folder, data_dir, total_seconds, console, is_list):
    """Run the parts until the time is over; `results.json` in the folder has what is done.

    Args:
        folder: path, made if absent.
        data_dir: folder of tensorflow-datasets, or None.
        total_seconds: number; a part that would begin after it is left out, and its limit ends there.
        console: `rich.console.Console`.
        is_list: whether the parts are printed and none is run.
    """
    folder = pathlib.Path(folder or "session")
    todo = items(folder, data_dir)
    if is_list:
        for item in todo:
            console.print(
                f"{item.seconds:4.0f} s  {item.name}  {' '.join(item.command)}", highlight=False, soft_wrap=True
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    start, record = time.monotonic(), accelerator.new_record()
    environment = {**os.environ, "KERAS_BACKEND": os.environ.get("KERAS_BACKEND", "jax")}
    for item in todo:
        left = total_seconds - (time.monotonic() - start)
        seconds = min(item.seconds, left)
        if seconds < 10:
            row = {"name": item.name, "failed": "no time was left"}
        elif item.part:
            row = {"name": item.name, **accelerator.measured(item.part, seconds)}
        else:
            row = {"name": item.name, **accelerator.run_command(list(item.command), seconds, folder, environment)}
        record["parts"].append(row)
        text = (
            accelerator.describe(row) if "way" in row else f"{item.name}: {row.get('failed') or row['last_lines'][-1:]}"
        )
        console.print(text, highlight=False, soft_wrap=True)
        write_text(folder / "results.json", json.dumps(record, indent=2) + "\n")
    accelerator.show([row for row in record["parts"] if "way" in row], console)
