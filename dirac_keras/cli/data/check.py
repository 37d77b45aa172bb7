"""`dirac-keras data check`: what a data set holds, and which images it has twice."""

import dataclasses

import rich_click as click

from dirac_keras.cli.options import CONTEXT, config_options, read_config, splits_of_config
from dirac_keras.cli.speech.json_option import emit, is_quiet, json_option
from dirac_keras.cli.speech.output import print_rows, say
from dirac_keras.files.amounts import counted
from dirac_keras.training.config import TrainConfig

# Of the fields of a config those that decide what is read.
NOT_READ = ("data", "augmentation", "on_broken")
WITHOUT = tuple(
    field.name
    for field in dataclasses.fields(TrainConfig)
    if field.name in NOT_READ or (field.metadata["group"] != "Data" and field.name != "seed")
)
MOST_CLASSES = 20  # rows of the table; of more, the largest and the smallest
MOST_SHOWN = 5


@click.command("check", context_settings=CONTEXT)
@click.argument("name")
@click.option("--download", is_flag=True, help="Download the data set if it is absent.")
@click.option("--config", "config_file", type=click.Path(), help="JSON or TOML file with options of a training.")
@json_option("Print JSON instead of the tables, with up to 1,000 pairs by name.")
@config_options(without=WITHOUT)
def check(name, download, config_file, as_json, **flags):
    """Count classes, sizes and broken files of a data set, and find images that it has twice.

    NAME is what `train` takes as `--data`. Exact duplicates have the same pixels once they are decoded at the size of
    the model. Near duplicates have perceptual hashes that differ in few bits, and pixels that correlate; what is
    mirrored or cropped is not found. CIFAR-10 takes about a minute.

    `dirac-keras data check folder:photos --json photos.json`
    """
    from dirac_keras.files.stderr import quiet_stderr

    config = read_config(config_file, {**flags, "data": name})
    splits = splits_of_config(dataclasses.replace(config, on_broken="skip"), download)
    with quiet_stderr():
        from pipelines.checks.report import check as look

    record = look(splits)
    if not is_quiet(as_json):
        _show(record)
    emit(as_json, record)


def _show(record):
    classes, images = record["classes"], record["images"]
    what = {"classes": "classes", "labels": "labels", "values": "values"}[record["task"]]
    _show_classes(what, classes)
    if "largest" in classes:
        ratio = f", {classes['ratio']:.3g} times as many" if (classes["ratio"] or 1) > 1 else ""
        say(f"training images of a class: {classes['smallest']:,} to {classes['largest']:,}{ratio}")
    if "labels_per_image" in classes:
        without = classes["images_without_labels"]
        say(f"labels of a training image: {classes['labels_per_image']:.2f} on average; without any: {without:,}")
    sizes = ", ".join(f"{size} ({count:,})" for size, count in images["sizes"].items())
    more = images["different_sizes"] - len(images["sizes"])
    say(f"sizes: {sizes or 'not looked at'}" + (f", and {counted(more, 'other')}" if more > 0 else ""))
    if images["modes"]:
        say("modes: " + ", ".join(f"{mode} ({count:,})" for mode, count in images["modes"].items()))
    if images.get("not_looked_at"):
        say(f"size and mode not looked at: {counted(images['not_looked_at'], 'image')}, whose headers are not read")
    broken = record["broken"]
    say(f"broken files: {broken['count']:,}" + "".join(f"\n  {f['file']}: {f['reason']}" for f in broken["files"][:10]))
    for title, key in (("exact duplicates", "exact_duplicates"), ("near duplicates", "near_duplicates")):
        if record[key] is None:
            say(f"{title}: {record['not_searched']}")
        else:
            _show_pairs(title, record[key])


def _show_classes(what, classes):
    rows = classes["by_class"]
    if len(rows) > MOST_CLASSES:
        rows = sorted(rows, key=lambda row: row["train"])
        half = MOST_CLASSES // 2
        rows = rows[:half] + rows[-half:]
        what += f"; the {half} smallest and the {half} largest"
    print_rows(f"{classes['count']:,} {what}", [
        {name: f"{cell:,}" if isinstance(cell, int) else f"{cell:.4g}" if isinstance(cell, float) else cell
         for name, cell in row.items()} for row in rows
    ])  # fmt: skip


def _show_pairs(title, found):
    say(f"{title}: {counted(found['pairs'], 'pair')}")
    if "rule" in found:
        say(f"  rule: {found['rule']}")
    if "note" in found:
        say(f"  note: {found['note']}")
    if found.get("of_one_colour"):
        say(f"  of one colour, not compared: {counted(found['of_one_colour'], 'image')}")
    for between, counts in found["between"].items():
        if counts["pairs"]:
            images = ", ".join(
                counted(n, f"{k.removesuffix('_images')} image") for k, n in counts.items() if "_images" in k
            )
            other = f"; pairs whose labels differ: {counts['other_label']:,}" if counts["other_label"] else ""
            say(f"  {between.replace('_', ' ')}: {counted(counts['pairs'], 'pair')}, {images}{other}")
    if found["listed"]:
        say("  these are:" if len(found["listed"]) <= MOST_SHOWN else f"  the first {MOST_SHOWN}:")
    for pair in found["listed"][:MOST_SHOWN]:
        say("    " + (" ~ " if "rule" in found else " = ").join(_called(pair[side]) for side in ("first", "second")))


def _called(image):
    label = image["label"] if isinstance(image["label"], str) else ", ".join(map(str, image["label"])) or "no label"
    return f"{image.get('name') or image['part'] + ' ' + str(image['index'])} ({label})"
