"""The model card: Markdown with the front matter that hubs read."""

import math
import os
import pathlib

from dirac_keras.deployment.card.data_sets import data_set
from dirac_keras.deployment.card.front_matter import front_matter
from dirac_keras.deployment.card.use import use_text
from dirac_keras.deployment.formats.registry import INTEGER
from dirac_keras.deployment.image_spec import ImageSpec
from dirac_keras.deployment.public_name import public_name
from dirac_keras.deployment.quantization.grids import db_text
from dirac_keras.deployment.report import images_text
from dirac_keras.errors import UserError
from dirac_keras.files.amounts import counted, size_text, unit_of
from dirac_keras.files.atomic import refuse_existing, write_text
from dirac_keras.models.family import families_with, is_of_some_families
from dirac_keras.version import __version__

# Fields of a run's configuration that a reader asks for, in this order.
_RECIPE = (
    "family",
    "layout",
    "depth",
    "width",
    "units",
    "parameterization",
    "scenario",
    "recipe",
    "epochs",
    "batch_size",
)
_RECIPE += (
    "learning_rate",
    "schedule",
    "momentum",
    "weight_decay",
    "label_smoothing",
    "augmentation",
    "precision_used",
)
_RECIPE += ("phase_out_end", "ema_momentum", "max_train")
# Figures of labels and of values, see `training.tasks`.
_OF_ROWS = {
    "test_mean_average_precision": "mean average precision",
    "test_f1_macro": "F1, mean over the labels, at a probability of 0.5",
    "test_f1_micro": "F1 of all labels together, at a probability of 0.5",
    "test_exact_match": "share of the images all of whose labels are right",
    "test_mae": "mean absolute error",
    "test_r2": "R2, share of the variance that is explained",
}
TASK = "image-classification"  # as hubs call it
_MARK = '- "dirac-keras"\n'  # in the front matter
SHOWN_CLASSES = 100  # rows of the table by class; of more classes the weakest


def card_path(path, is_folder=None):
    """Where the card of an artefact is: `README.md` in a folder, `NAME.SUFFIX.md` beside a file.

    With the suffix, since `net.onnx` and `net.tflite` are two artefacts.

    Args:
        path: of the artefact.
        is_folder: whether it will be a folder, where it is not yet there; None looks.
    """
    path = pathlib.Path(path)
    is_folder = path.is_dir() if is_folder is None else is_folder
    return path / "README.md" if is_folder else path.with_name(f"{path.name}.md")


def check_card(path, overwrite=True):
    """Raise UserError if there is a file in a card's place that is no card of this package, or not to be replaced."""
    if not os.path.lexists(path):
        return
    refuse_existing(path, overwrite)
    try:
        is_card = _MARK in pathlib.Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        is_card = False
    if not is_card:
        raise UserError(
            f"path: {path}, where the model card goes, was not written by an export, so it is not replaced. Give "
            "another `path`, or remove it yourself."
        )


def write_card(path, facts, model, metadata, report):
    """Write the card of an artefact.

    Args:
        path: of the artefact: a folder gets `README.md`, a file `NAME.SUFFIX.md` beside it; one that is there is
            replaced.
        facts: `CardFacts`.
        model: the `keras.Model` that was exported.
        metadata: dict of its file; `metadata["data"]` describes the data set.
        report: `ExportReport`, or its `to_dict()`.

    Returns: `pathlib.Path` of the card.
    """
    path = pathlib.Path(path)
    target = card_path(path)
    inside = [file.name for file in sorted(target.parent.iterdir()) if file.suffix in _FILES] if path.is_dir() else []
    write_text(target, card_text(facts, model, metadata, report, *inside[:1]))
    return target


def card_text(facts, model, metadata, report, file=None):
    """The card as Markdown; arguments as in `write_card`. `file`: the artefact's, where `report` names a folder."""
    report = report if isinstance(report, dict) else report.to_dict()
    data = (metadata or {}).get("data") or {}
    data = {**data, "name": public_name(data["name"])} if data.get("name") else data
    name = facts.name or model.name
    sections = [
        front_matter(_front(name, facts, data, report)),
        f"# {name}",
        _summary(facts, model, data, report),
        "## Use\n\n" + use_text(report, data, file),
        "## Data\n\n" + _data(data),
        "## Training\n\n" + _training(facts),
        "## Accuracy\n\n" + _accuracy(facts),
        "## Parity\n\n" + _parity(report),
        "## Latency\n\n" + _latency(facts.benchmark),
        "## Limits\n\n" + _limits(facts, data, report),
        "## Licence\n\n" + _licence(facts, data),
    ]
    return "\n\n".join(section.rstrip("\n") for section in sections) + "\n"


def _front(name, facts, data, report):
    values = {
        "license": facts.license or "unknown",
        "library_name": "keras",
        **({"pipeline_tag": TASK} if data else {}),
        "tags": [*([TASK] if data else []), "keras", "dirac-keras", report["format"].replace("_", "-")],
    }
    if report.get("precision"):
        values["tags"].append(report["precision"])
    if not data:
        return values
    own = data.get("name", "unknown")
    hub = data_set(own).hub or own
    if data_set(own).hub:
        values["datasets"] = [hub]
    accuracy = _accuracy_of(facts)
    if accuracy is None:
        return values
    values["metrics"] = ["accuracy"]
    is_rounded = report.get("precision") in INTEGER  # what was measured is the Keras model
    name_of_accuracy = "Accuracy before quantization" if is_rounded else "Accuracy"
    result = {
        "task": {"type": TASK, "name": "Image Classification"},
        "dataset": {"name": own, "type": hub, "split": "test"},
        "metrics": [{"type": "accuracy", "value": round(accuracy, 6), "name": name_of_accuracy}],
    }
    return values | {"model-index": [{"name": name, "results": [result]}]}


def _accuracy_of(facts):
    if facts.evaluation is not None:
        return facts.evaluation["accuracy"]
    return (facts.summary or {}).get("test_accuracy")


def _summary(facts, model, data, report):
    parameters = sum(math.prod(weight.shape) for weight in model.weights)
    what = f"A classifier of images of {data['num_classes']} classes" if data.get("num_classes") else "A network"
    if data.get("task") == "labels":
        what = f"A classifier that gives an image any of {data['num_classes']} labels, or none"
    if data.get("task") == "values":
        what = f"A network that gives {', '.join(map(str, data['class_names'][:5]))} of an image"
    line = f"{what}: {parameters:,} weights, written by dirac_keras {__version__} as {report['format']}"
    line += f", {report['precision']}" if report.get("precision") else ""
    return line + (f", {size_text(report['size_bytes'])}." if report.get("size_bytes") else ".")


_FILES = (".onnx", ".tflite", ".xml")


def _data(data):
    if not data:
        return "The model's file does not say what it was trained on."
    rows = {"data set": data.get("name"), "training images": data.get("num_train"), "test images": data.get("num_test")}
    lines = [f"- {what}: {value}" for what, value in rows.items() if value is not None]
    names = [str(name) for name in data.get("class_names") or ()]
    if names:
        lines.append("- classes: " + ", ".join(names[:20]) + (f", ... ({len(names)})" if len(names) > 20 else ""))
    return "\n".join(lines)


def _training(facts):
    if not facts.config:
        return "The recipe is not known: the model was not exported from the folder of a run."
    family = facts.config.get("family")
    names = [name for name in _RECIPE if not is_of_some_families(name) or family in families_with(name)]
    values = {name: facts.config.get(name) for name in names}
    lines = [f"- {name.replace('_', ' ')}: {value}" for name, value in values.items() if value not in (None, [], 0)]
    if facts.config.get("seed") is not None:
        lines.append(f"- seed: {facts.config['seed']}")
    versions = facts.config.get("versions") or {}
    if versions:
        lines.append("- versions: " + ", ".join(f"{name} {value}" for name, value in versions.items()))
    for name in ("commit", "machine", "started"):
        if facts.config.get(name):
            lines.append(f"- {name}: {facts.config[name]}")
    if (facts.summary or {}).get("train_seconds"):  # what the log says of an epoch holds its evaluation too
        seconds = f"{facts.summary['train_seconds']:.0f} s in the training steps"
        lines.append(f"- time: {seconds}, without the evaluation after each epoch")
    return "\n".join(lines)


def _accuracy(facts):
    found = facts.evaluation
    if found is None:
        why = facts.why_not_evaluated or "it was not measured at the export"
        lines = [f"By class it is not known: {why.rstrip('.')}."]
        others = [f"- {what}: {facts.summary[key]:.4f}" for key, what in _OF_ROWS.items() if _has(facts.summary, key)]
        if others:
            lines = ["Of the test images, at the end of the training:", "", *others]
        if (facts.summary or {}).get("test_accuracy") is not None:
            lines.insert(0, f"{facts.summary['test_accuracy']:.2%} of the test images, at the end of the training.")
        return "\n".join(lines)
    rows = found["by_class"]
    said = f"{found['accuracy']:.2%} of {found['images']:,} images of the {found['split']} split of {found['data']}, "
    said += f"cross-entropy {found['loss']:.4f}. Of the Keras model that was exported, evaluated at the export."
    if len(rows) > SHOWN_CLASSES:
        rows = sorted(rows, key=lambda row: 2.0 if row["accuracy"] is None else row["accuracy"])[:SHOWN_CLASSES]
        said += f" The {SHOWN_CLASSES} weakest of {len(found['by_class'])} classes:"
    table = ["| class | images | recognized | most often taken for |", "|---|---|---|---|"]
    for row in rows:
        accuracy = "" if row["accuracy"] is None else f"{row['accuracy']:.1%}"
        table.append(f"| {_cell(row['class'])} | {row['images']} | {accuracy} | {_cell(row['taken_for'] or '')} |")
    return f"{said}\n\n" + "\n".join(table)


def _has(summary, key):
    return (summary or {}).get(key) is not None


def _cell(text):
    return " ".join(str(text).split()).replace("|", "\\|")


def _parity(report):
    difference = report.get("max_abs_difference")
    if difference is None:
        return "The artefact was not compared with the Keras model."
    where = f" ({report['runtime']})" if report.get("runtime") else ""
    lines = [f"Reloaded in a process without dirac_keras{where} and compared with the Keras model:", ""]
    lines.append(f"- largest absolute difference of an output: {difference:.3g}")
    compared, gate, kept = (report.get(name) or {} for name in ("compared", "gate", "quantization"))
    if compared:
        fitted = compared.get("real") and report.get("precision") in INTEGER
        flattered = "; most of these the integers were fitted to, so on others they are further off" if fitted else ""
        lines.append(f"- compared on {images_text(compared)}{flattered}")
        if compared.get("agreement") is not None:
            lines.append(f"- same class for {compared['agreement']:.2%}")
        if compared.get("sqnr_db") is not None:
            lines.append(f"- signal to quantization noise ratio of the outputs: {db_text(compared['sqnr_db'])}")
    if gate:
        lines.append(f"- gate: {gate['text']}" if gate.get("text") else f"- gate: {gate}")
    if kept.get("kept"):
        lines.append(f"- layers kept in float: {', '.join(map(str, kept['kept']))}")
    if kept.get("chosen"):
        lines.append(f"- rounded with: {', '.join(map(str, kept['chosen']['cures']))}")
    return "\n".join(lines)


def _latency(benchmark):
    if not benchmark:
        return "Not measured. `dirac-keras benchmark` measures it."
    batches = [str(batch) for batch in benchmark["batches"]]
    said = (
        f"{benchmark.get('machine', 'machine not known')}, {benchmark.get('date', '')}; "
        f"{counted(benchmark['threads'], 'thread')}; {counted(benchmark['images'], 'test image')} of "
        f"{benchmark.get('data', 'the data')}. ms: median of the runs of a batch."
    )
    unit = unit_of(max(row["size_bytes"] for row in benchmark["rows"]))
    header = ["artefact", unit[0], *(f"ms, batch {batch}" for batch in batches), "accuracy"]
    table = [f"| {' | '.join(header)} |", "|" + "---|" * len(header)]
    for row in benchmark["rows"]:
        kind = " ".join(filter(None, (row["format"], row["form"], row["precision"])))
        times = [f"{row['latency'][batch]['median_ms']:.3g}" for batch in batches]
        cells = [kind, size_text(row["size_bytes"], unit), *times, f"{row['accuracy']:.2%}"]
        table.append(f"| {' | '.join(cells)} |")
    return f"{said}\n\n" + "\n".join(table)


def _limits(facts, data, report):
    lines = []
    if data:
        lines = ["It names one of its classes for every image, also for one that shows none of them."]
        lines.append(
            f"It was trained and measured on {data.get('name')} alone. On images from elsewhere, or of other sizes "
            "scaled to its own, its accuracy is not known; nor are robustness and fairness."
        )
    rows = [row for row in (facts.evaluation or {}).get("by_class", ()) if row["accuracy"] is not None]
    if rows:
        weakest = min(rows, key=lambda row: row["accuracy"])
        if weakest["accuracy"] < 1:
            lines.append(f"Its weakest class is {weakest['class']}: {weakest['accuracy']:.1%} recognized.")
    if report.get("precision") in ("int8", "int4", "float16"):
        lines.append(f"Its outputs are those of {report['precision']}: close to the Keras model's, not the same.")
    if facts.config and (recipe := facts.config.get("recipe")) in ("quick", "quick_muon"):
        lines.append(f"It was trained with the recipe `{recipe}`, of few epochs: the papers' recipes reach more.")
    lines += [_sentence(note) for note in report.get("notes") or ()]
    return "\n".join(f"- {line}" for line in lines) or "None is known."


def _sentence(note):
    """A note with a capital and a full stop; one that begins with a name stays as it is."""
    first = note.split()[0] if note.strip() else ""
    note = note[:1].upper() + note[1:] if first.isalpha() and first.islower() else note
    return note if note.endswith((".", ":", "!", "?")) else f"{note}."


def _licence(facts, data):
    weights = facts.license or "not stated by whoever exported them"
    lines = [f"- weights: {weights}"]
    if data.get("name"):
        lines.append(f"- data, {data['name']}: {data_set(data['name']).licence}")
    return "\n".join(lines)


def label_lines(metadata, model):
    """Names of the classes as the artefact has them, or None."""
    if not (metadata or {}).get("data"):
        return None
    return ImageSpec.from_metadata(metadata, model).label_lines()
