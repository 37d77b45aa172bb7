"""Command lines of `tune` that are wrong: each ends with a line that names the option and the way out."""

import json
import re

import pytest

pytest.importorskip("keras_tuner")

from tests.cli.test_cli import command  # noqa: F401  # a fixture

NINES = "9" * 400
ONE_POINT = ("--width", "1", "--learning-rate", "0.1", "--weight-decay", "0")
WRONG = [
    # numbers that nobody can mean
    (("--depth", "10-1000000000000"), "depth has 999,999,999,991 values; at most 10,000 can be searched"),
    (("--depth", "10-1e12"), "depth must be whole numbers.*Received '1e12'"),
    (("--depth", f"10-{NINES}"), "depth has .* values; at most 10,000"),
    (("--depth", f"10-{'9' * 5000}"), r"depth must be whole numbers.*\(5002 characters\)"),
    (("--depth", "999999994,1000000000"), "A network with depth=1,000,000,000 .* takes about .* GB.*--max-gigabytes"),
    (("--depth", "4-16", "--width", "0.25-1e300"), "width has .* values"),
    (("--depth", "4-16", "--width", "0.25-1e308:0.25"), "width has .* values"),
    (("--depth", "10,16", "--width", "1e300,2e300"), "takes about .* GB"),
    (("--depth", "10,16", "--width", "1e400"), "width must be numbers"),
    (("--depth", "10,16", "--width", "nan"), "width must be numbers"),
    (("--width", "0.5-1:1e-9"), "width has 500,000,001 values.*larger step"),
    (("--learning-rate", "1e-300-1e300", "--depth", "10"), "too far apart"),
    (("--batch-size", "1-1000000000000", "--depth", "10"), "batch_size must be at most|A training step"),
    (("--batch-size", f"16-{'9' * 5000}"), "batch_size must be whole numbers"),
    (("--batch-size", "64,1000000"), "batch_size must be at most the number of training examples"),
    (("--max-trials", "1e9"), "'1e9' is not a valid integer"),
    (("--max-trials", "1000000000"), "max_trials must be 100,000 or less.*--time"),
    (("--max-trials", "0"), "not in the range"),
    (("--max-trials", NINES), "max-trials"),
    (("--max-epochs", "1000000000", "--tuner", "hyperband"), "trials with max_epochs=1,000,000,000 to try"),
    (("--max-epochs", NINES), "max-epochs"),
    (("--max-epochs", "10000000000000", "--tuner", "random"), "max_epochs must be 1,000,000,000,000 or less"),
    (("--max-epochs", "1000000000000", "--tuner", "random"), "are .* steps; at most"),
    (("--executions", "1000000"), "executions must be 1,000 or less"),
    (("--executions", "2", "--seed", "4294967295"), "seed must be 4294967294 or less"),
    (("--seed", "-1"), "seed must be 0 or more"),
    (("--seed", NINES), "seed"),
    (("--workers", "100000"), "workers must be .* or less"),
    (("--workers", "0"), "workers must be a whole number, 1 or more"),
    (("--logical-devices", "1000000000"), "logical_devices must be a whole number"),
    (("--latency-batch", "1000000000000"), "latency_batch=1,000,000,000,000 images do not fit.*--latency-batch"),
    (("--max-params", "nan"), "max_params must be above 0"),
    (("--max-params", "inf"), "max_params must be finite"),
    (("--max-params", NINES), "max_params must be finite"),
    (("--max-params", "0"), "max_params must be above 0"),
    (("--max-macs", "-inf"), "max_macs must be above 0"),
    (("--max-latency-ms", "1e-12"), "No candidate meets the budget"),
    (("--max-latency-ms", "-1"), "max_latency_ms must be above 0"),
    (("--max-gigabytes", "0"), "max-gigabytes"),
    (("--max-gigabytes", "1e-9"), "takes about .* GB of memory; 1e-09 GB are allowed"),
    (("--max-gigabytes", "inf"), "max.gigabytes.*(finite)"),
    (("--time", f"{NINES}h"), "finite|not more than"),
    (("--time", "0.0s"), "must be above 0"),
    (("--time", "-5"), "expected a time|No such option"),
    (("--time", "1.2.3h"), "expected a time"),
    (("--time", ""), "expected a time"),
    (("--lease-seconds", "nan", "--workers", "2"), "lease_seconds must be above 0"),
    (("--lease-seconds", "inf", "--workers", "2"), "lease_seconds must be above 0 seconds, and not more"),
    (("--lease-seconds", "0", "--workers", "2"), "lease_seconds must be above 0"),
    # a grid that nobody can try
    (
        ("--tuner", "grid", "--depth", "10-3000", "--width", "0.25-8:0.05", "--momentum", "0.5-0.9"),
        "combinations to try; at most 100,000 are possible.*--max-trials",
    ),
    # texts
    (("--depth", ""), "depth must have a value"),
    (("--depth", ","), "depth must have a value"),
    (("--depth", "16-10"), "the smaller number first"),
    (("--depth", "10-16:0"), "step must be above 0"),
    (("--depth", "10-16:-1"), "depth must be whole numbers"),
    (("--depth", "-5"), "depth|No such option"),
    (("--depth", "0-3"), "no depth of family"),
    (("--depth", "ten"), "depth must be whole numbers"),
    (("--depth", "10;16"), "depth must be whole numbers"),
    (("--depth", "10..16"), "depth must be whole numbers"),
    (("--depth", "11,12"), "no depth of family=diracnet.*the nearest are 10 and 16"),
    ((*ONE_POINT, "--depth", "10,10"), "The search space is empty"),
    ((*ONE_POINT, "--depth", "10-10"), "The search space is empty"),
    (("--depth", "11,1000000001"), "no depth of family"),
    (("--momentum", "0.9-1.5", "--depth", "10"), "momentum must be"),
    (("--label-smoothing", "0-2", "--depth", "10"), "label_smoothing must be"),
    (("--learning-rate", "0-1"), "begins above 0"),
    (("--nesterov", "--momentum", "0", "--depth", "10,16"), "nesterov.*has an effect only"),
    (("--family", ""), "family must"),
    (("--family", "alexnet,diracnet"), "family must be one of"),
    (("--layout", "cifar,lenet"), "layout must be one of"),
    (("--recipe", "none"), "recipe must be one of"),
    (("--data", "nowhere"), "nowhere"),
    (("--data", ""), "data"),
    (("--data", "folder:/nowhere/at/all"), "/nowhere/at/all"),
    (("--validation", "0"), "validation must be above 0"),
    (("--validation", "5000"), "validation must be"),
    (("--validation", "nan"), "validation"),
    (("--image-size", "0"), "image_size must be"),
    (("--max-train", "1"), "leaves some of the 1 training examples"),
    (("--precision", "float8"), "precision must be one of"),
    (("--schedule", "zigzag"), "schedule must be one of"),
    (("--decay-epochs", "a,b"), "expected numbers separated by commas"),
    (("--decay-epochs", "2,1", "--schedule", "step"), "decay_epochs must be above 0 and rise"),
    (("--tuner", "pso"), "'pso' is not one of"),
    (("--strategy", "multiworker"), "'multiworker' is not one of"),
    (("--deep", "10"), "No such option.*--deep"),
    (("extra",), "unexpected extra argument"),
    (("--search", ""), "search must name a field"),
    (("--search", ",,"), "search must name a field"),
    (("--search", "optimizer"), "optimizer has no default range here. Give --optimizer a list"),
    (("--search", "nothing"), "'nothing' is nothing that can be searched"),
    (("--search", "epochs"), "'epochs' is nothing that can be searched"),
    # options that others leave without effect
    (("--search", "depth", "--depth", "10"), "depth has one value, 10, and is in search too"),
    (("--name", "me"), "--name has an effect only with --join"),
    (("--end-with-parent",), "--end-with-parent has an effect only with --join"),
    (("--lease-seconds", "5"), "--lease-seconds has an effect only with --chief or several --workers"),
    (("--decay-factor", "0.1", "--schedule", "one_cycle"), "--decay-factor has an effect only with --schedule step"),
    (("--units", "8,16"), "units has no effect on diracnet in this layout"),
    (("--sigma", "0.1,0.2"), "sigma is a field of family=resnet"),
    (("--phase-out-share", "0.5"), "phase_out_share is a field of family=van"),
    (("--max-pixels", "1000"), "--max-pixels has an effect only on image files"),
    (("--max-pixels", "1-10"), "'1-10' is not a valid integer"),
    (("--no-exif-orientation",), "exif-orientation has an effect only on image files"),
    (
        ("--family", "van", "--recipe", "van_dense", "--phase-out-share", "0.5", "--phase-out-end", "1"),
        "both say when the skips are gone",
    ),
    (
        ("--family", "van", "--recipe", "van_dense", "--phase-out-start", "3", "--tuner", "hyperband"),
        "phase-out must fit into the training",
    ),
    (("--logical-devices", "2", "--strategy", "one"), "--logical-devices are for data_parallel and mirrored"),
    (("--join", "127.0.0.1:9", "--overwrite"), "--overwrite has no effect with --join"),
    (("--join", "127.0.0.1:9", "--depth", "10,16"), "--depth has no effect with --join"),
    (("--join", "127.0.0.1:9", "--max-trials", "3"), "--max-trials has no effect with --join"),
    (("--join", "127.0.0.1:9", "--tuner", "hyperband"), "--tuner has no effect with --join"),  # its default too
    (("--join", "127.0.0.1:9", "--workers", "2"), "--workers has no effect with --join"),
    (("--join", "127.0.0.1:9", "--chief", "127.0.0.1:10"), "--chief has no effect with --join"),
    (("--join", "here"), "HOST:PORT"),
    (("--chief", "127.0.0.1:99999"), "chief must be HOST:PORT"),
    (("--chief", "127.0.0.1"), "chief must be HOST:PORT"),
    (("--chief", ":8000"), "chief must be HOST:PORT"),
    # files
    (("--space", "/nowhere.toml"), "/nowhere.toml cannot be read"),
    (("--space", "/etc/passwd"), "ends in .json or .toml"),
    (("--workdir", "/dev/null"), "workdir /dev/null cannot be"),
    (("--workdir", "/proc/nowhere"), "workdir /proc/nowhere cannot be written"),
    (("--workdir", "/dev/null/sub"), "workdir /dev/null/sub cannot be"),
    (("--workdir", "a" * 300), "cannot be written: File name too long"),
]
FILES = [
    ("[]", "must hold a table of fields"),
    ("{", "is no valid JSON"),
    ("null", "must hold a table of fields"),
    ('{"depth": {"low": 10}}', r"`?space`?: .*a value, a text or a list of values"),
    ('{"depth": null}', "a value, a text or a list of values"),
    ('{"depth": [[10, 16]]}', "a value, a text or a list of values"),
    ('{"depth": []}', "depth must have a value"),
    ('{"depth": true}', "depth must be a whole number"),
    ('{"depth": 1e400}', "depth"),
    ('{"dept": 10}', "Unknown field 'dept' in the search space. Did you mean 'depth'"),
    ('{"epochs": 5}', "epochs cannot be a field of a search"),
    ('{"seed": "a", "depth": "10,16"}', "seed must be a whole number"),
    ('{"seed": 1.5, "depth": "10,16"}', "seed must be a whole number"),
    ('{"data": 5}', "data must be a text"),
    ('{"family": 5}', "family must be"),
    ('{"family": []}', "family must"),
    ('{"validation": "a"}', "validation"),
    ('{"decay_epochs": ["a"], "schedule": "step"}', "decay_epochs must be"),
    ('{"layout": 3}', "layout must be"),
    ('{"learning_rate": "1-0"}', "the smaller number first"),
    ('{"width": NaN}', "width must be"),
    ("[" * 100_000, "is no valid JSON"),
]


def words(text):
    return " ".join(re.sub("[│╭╮╰╯─]", " ", text).split())


def check(status, out, err, message):
    said = words(out + err)
    assert status in (1, 2), (status, said)
    assert "Traceback" not in said and "fault of dirac-keras" not in said
    assert len(said) < 1500, said
    assert re.search(message, said), said


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=lambda value: str(value)[:40])
def test_wrong_line_gets_one_message_and_makes_no_folder(command, arguments, message, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    tuner = () if {"--tuner", "--join"} & {*arguments} else ("--tuner", "random")
    check(*command("tune", *tuner, *arguments), message)
    assert not any(tmp_path.rglob("*.json*"))


@pytest.mark.parametrize(("text", "message"), FILES, ids=lambda value: str(value)[:40])
def test_wrong_file_of_a_space_gets_one_message(command, text, message, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    (tmp_path / "space.json").write_text(text)
    check(*command("tune", "--tuner", "random", "--space", "space.json"), message)
    assert [path.name for path in tmp_path.rglob("*")] == ["space.json"]


@pytest.mark.slow
def test_seed_of_a_file_is_the_search_s(command, tmp_path):  # noqa: F811
    given = {"data": "digits", "family": "plainnet", "recipe": "plainnet", "depth": "2,3", "units": 8, "seed": 7}
    given |= {"learning_rate": 0.01, "weight_decay": 0, "max_train": 256}
    (tmp_path / "space.json").write_text(json.dumps(given))
    arguments = ("--space", tmp_path / "space.json", "--tuner", "grid", "--max-trials", "1", "--max-epochs", "1")
    status, _, err = command("tune", *arguments, "--workdir", tmp_path / "search")
    assert status == 0, err
    assert json.loads((tmp_path / "search" / "search.json").read_text())["seed"] == 7
    assert json.loads((tmp_path / "search" / "trials" / "0000" / "run0" / "config.json").read_text())["seed"] == 7
