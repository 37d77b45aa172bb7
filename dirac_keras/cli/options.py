"""What several commands take: the fields of `TrainConfig` as flags, devices, data."""

import functools
import os
import pathlib
import types
import typing
from dataclasses import fields

import rich_click as click

from dirac_keras.cli.speech.output import say
from dirac_keras.distribution import MOST_PARTS, STRATEGIES, open_strategy, split_cpu
from dirac_keras.errors import UserError, renaming
from dirac_keras.files.keras_file import model_file
from dirac_keras.files.places import check_present
from dirac_keras.files.stderr import quiet_stderr
from dirac_keras.models.family import OF_FILE, families_with, is_of_some_families
from dirac_keras.training.config import TrainConfig
from dirac_keras.training.config_file import is_record_file, read_config_file
from dirac_keras.training.effects import TABLES, is_of_image_files, refuse_without_effect
from dirac_keras.training.fields.field import GROUPS
from dirac_keras.training.folder.directory import RunDirectory
from dirac_keras.training.recipes import RECIPES
from dirac_keras.training.start.weights import NETWORK_FIELDS, network_of

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
# No lists or ranges.
AS_THEY_ARE = ("validation", "image_size", "channels", "max_train", "max_test", "base_batch_size", "seed", "max_pixels")
DEVICE_FLAGS = ["--strategy", "--logical-devices", "--workers", "--worker-index", "--tpu", "--data-service"]
DEVICE_FLAGS += ["--steps-per-execution", "--data-on-device"]


def config_options(without=(), defaults=None, as_text=False):
    """A decorator that adds a flag for every field of `TrainConfig`, named after it.

    Args:
        without: names of fields that get none.
        defaults: dict, field -> what its help text says of the default, where it is not the config's.
        as_text: bool, whether flags of numbers and words are read as texts, which may be lists and ranges.
    """

    def add(command):
        for option in reversed(fields(TrainConfig)):
            if option.name not in without:
                command = _config_option(option, defaults or {}, as_text)(command)
        return command

    return add


def _config_option(option, defaults, as_text):
    kind = _flag_type(option)
    flag = _flag_name(option)
    if kind is bool:
        flag = f"{flag}/--no-{flag.removeprefix('--')}"
    default = "the recipe's" if option.default is None and option.name in RECIPES["quick"] else option.default
    default = defaults.get(option.name, default)
    text = option.metadata["help"] + _families_text(option.name)
    if default is not None:
        text += f" Default: {default}."
    if as_text and kind in (int, float) and option.name not in AS_THEY_ARE:
        kind = str
    return click.option(flag, option.name, type=kind, default=None, help=text)


def group_flags(name, own_flags):
    """Set the groups of a command's help text: its own flags, those of `device_options`, those of `config_options`.

    Args:
        name: of the command, such as `train`.
        own_flags: the flags that only it has, and `--help`, in the order of the text.
    """
    groups = [{"name": "Run", "options": own_flags}, {"name": "Devices", "options": DEVICE_FLAGS}, *field_groups()]
    click.rich_click.OPTION_GROUPS[f"dirac-keras {name}"] = groups


def field_groups(without=()):
    """The groups of the fields' flags, a list of `{"name", "options"}`."""
    flags = {group: [] for group in GROUPS}
    for option in fields(TrainConfig):
        if option.name not in without:
            flags[option.metadata["group"]].append(_flag_name(option))
    return [{"name": group, "options": options} for group, options in flags.items()]


def _families_text(name):
    """For which families a field decides something, where it is not for all."""
    return f" For {', '.join(families_with(name))} only." if is_of_some_families(name) else ""


def _flag_name(option):
    return f"--{option.name.replace('_', '-')}"


def _flag_type(option):
    kind = option.type
    if isinstance(kind, types.UnionType):
        kind = next(part for part in typing.get_args(kind) if part is not type(None))
    return _Numbers() if kind is tuple else kind


class _Numbers(click.ParamType):
    name = "numbers"

    def convert(self, value, param, ctx):
        try:
            return tuple(float(part) if "." in part else int(part) for part in value.split(",") if part)
        except ValueError:
            self.fail(f"expected numbers separated by commas, received {value!r}", param, ctx)


def read_config(config_file, flags, workdir=None):
    """Recipe, then the network of the model to start from, then file, then flags: the later wins.

    Args:
        config_file: path, or None.
        flags: dict, field -> value, or None where the flag was not given.
        workdir: path of the run's folder, or None: a resumed run knows its network without the model it started from.
    """
    values = read_config_file(config_file) if config_file else {}
    is_whole = {option.name for option in fields(TrainConfig)} <= values.keys()  # with every default in it
    is_whole |= config_file is not None and is_record_file(config_file)  # although fields were added since
    given = {name: value for name, value in flags.items() if value is not None}
    network = network_of_start({**values, **given}, workdir)
    config = TrainConfig.from_mapping({**network, **values, **given})
    refuse_without_effect(config, given if is_whole else {**values, **given})
    return config


def network_of_start(given, workdir):
    """The fields of the network that a training starts from, as far as they are known and no other is asked for.

    Args:
        given: dict, field -> value, of all that the user gave.
        workdir: see `read_config`.
    """
    start = given.get("start")
    if start is None:
        return {}
    record = pathlib.Path(workdir) / "config.json" if workdir else None
    network = network_of(start)
    if not network and record is not None and record.exists() and read_config_file(record).get("start") == start:
        network = network_of(workdir)
    if not network and not any(name in given for name in NETWORK_FIELDS):
        return {"family": OF_FILE.name}  # a network of whatever kind; what cannot be trained is said where it is read
    is_other = any(given.get(name) not in (None, network.get(name)) for name in ("family", "layout"))
    return {} if is_other else network


def device_options(command):
    """Where a run is computed: what does not decide its result, and so is no field of `TrainConfig`.

    The command takes them as `devices`, for `open_devices`, and `data_service`.
    """
    names = ("strategy", "logical_devices", "workers", "worker_index", "tpu")

    @functools.wraps(command)
    def with_devices(**values):
        return command(devices={name: values.pop(name) for name in names}, **values)

    for option in (
        click.option(
            "--data-service", help="Address of the data service that prepares training batches: grpc://HOST:PORT."
        ),
        click.option("--tpu", help="Name or address of the TPU. Default: $TPU_NAME, else this machine's."),
        click.option(
            "--worker-index", type=click.IntRange(min=0), help="Index of this process among the workers, from 0."
        ),
        click.option(
            "--workers",
            help="Addresses of all processes of the run, HOST:PORT,HOST:PORT; the first one writes its files.",
        ),
        click.option(
            "--logical-devices",
            type=click.IntRange(2, MOST_PARTS),
            help="Number of devices to split the CPU into, for data_parallel, mirrored and multiworker.",
        ),
        click.option(
            "--strategy",
            type=click.Choice(STRATEGIES),
            default="auto",
            show_default=True,
            help="Devices: one; on JAX data_parallel, all of this machine or of the workers; on TensorFlow mirrored, "
            "all of this machine, multiworker, of several, or tpu. auto: the workers' if any are given, else all of "
            "this machine.",
        ),
    ):
        with_devices = option(with_devices)
    return with_devices


def open_devices(strategy, logical_devices, workers, worker_index, tpu):
    """The devices that the flags ask for, as `open_strategy` gives them."""
    if logical_devices:
        if strategy in ("one", "tpu"):
            raise UserError(
                f"`logical_devices` are for data_parallel, mirrored and multiworker. Received {logical_devices} with "
                f"strategy={strategy!r}: leave one of them out."
            )
        split_cpu(logical_devices)
    addresses = [address.strip() for address in workers.split(",")] if workers else None
    with quiet_stderr():  # before the server is there: to import it takes seconds
        from pipelines.listening import accept_only
    place = open_strategy(strategy, addresses, worker_index, tpu)
    if place.name == "multiworker":  # TensorFlow's server listens at every address of the machine
        host, _, port = place.workers[place.worker_index].rpartition(":")
        if not accept_only(host.strip("[]"), {int(port)}):
            say(f"worker {place.worker_index} accepts connections at ALL addresses of this machine, port {port}")
    return place


def splits_of_config(config, download):
    """The data set of a `TrainConfig`."""
    with quiet_stderr():  # imports TensorFlow, whatever the backend
        from pipelines import load_splits

    return load_splits(**config.data_arguments(), download=download)


def check_model(path, argument, or_artefact=False):
    """Raise UserError for a path that holds no model by its name, before anything is loaded.

    Args:
        path: of a file or a run's folder; None is none.
        argument: name of the argument that gave it.
        or_artefact: whether what `export` writes counts as well.
    """
    from dirac_keras.deployment.runtimes.as_model import is_artefact

    if path is None:
        return
    if or_artefact and is_artefact(path):
        check_present([path], argument)
        return
    with renaming(path=argument):
        model_file(pathlib.Path(path))


def check_data(name, argument="data"):
    """Raise UserError for data in files that are not there, before a model is read; None is no data."""
    prefix, colon, path = (name or "").partition(":")
    if colon and prefix in ("folder", "csv", "parquet"):
        check_present([os.path.expanduser(path)], argument)


def splits_of_model(network, metadata, model, data, **options):
    """The data set asked for, else the one the model was trained on, in the sizes of the model."""
    from dirac_keras.deployment.evaluation import image_shape_of

    with quiet_stderr():
        from pipelines import load_splits

    name = data or (metadata.get("data") or {}).get("name")
    if name is None:
        raise UserError(f"data: {model} does not say what it was trained on. Give `data` a name.")
    height, width, channels = image_shape_of(network)
    return load_splits(
        name,
        image_size=(height, width) if height and width else None,
        channels=channels,
        # The seed draws the test part of data whose authors give none.
        **(
            {"seed": metadata.get("seed", 0)}
            | _decoding_of(metadata.get("data"))
            | columns_of(metadata, name)
            | _broken_of(model, metadata, name)
            | options
        ),
    )


def _broken_of(model, metadata, name):
    """What a run was told to do with broken files, as an argument of `load_splits` for the data of the run."""
    data = metadata.get("data") or {}
    record = RunDirectory(model).config
    if not is_of_image_files(name) or not record.exists():
        return {}
    from pipelines.datasets import full_name

    if full_name(name) != data.get("name"):
        return {}
    return {"on_broken": read_config_file(record).get("on_broken", "fail")}


def columns_of(metadata, name):
    """Which columns of a table a model was trained on, and for what, as arguments of `load_splits` for a table.

    Args:
        metadata: dict of a model's file.
        name: of the data that are read.
    """
    data = metadata.get("data") or {}
    if not name.startswith(TABLES) or not (data.get("name") or "").startswith(TABLES):
        return {}
    return {"columns": data.get("columns"), "task": data.get("task", "classes")}


def _decoding_of(data):
    """How a model was trained to see image files, as arguments of `load_splits`; unturned before that was a choice."""
    if not data:
        return {}
    limit = {"max_pixels": data["max_pixels"]} if data.get("max_pixels") else {}
    return {"exif_orientation": data.get("exif_orientation", False), **limit}
