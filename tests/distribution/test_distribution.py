import itertools

import keras
import numpy as np
import pytest

from benchmarks.replicas import compare, run_one, run_workers
from dirac_keras.distribution import Placement, open_strategy, refuse_what_replicas_compute_wrongly, split_cpu
from dirac_keras.distribution.batches import one_batch_a_replica, padded, part_of_worker
from dirac_keras.distribution.cluster import first_line
from dirac_keras.files.tables import read_table
from dirac_keras.training.config import TrainConfig
from dirac_keras.training.optimization.schedules import build_schedule
from pipelines import load_splits
from tests.distribution import workers
from tests.distribution.tasks import TASKS

RUN = ["--data=digits", "--depth=10", "--width=0.25", "--precision=float32", "--max-train=256", "--max-test=129"]
RUN += ["--batch-size=64", "--learning-rate=0.01"]
CLUSTER = ["127.0.0.1:1", "127.0.0.1:2"]


def numbers(*sizes):
    """Batches `(x, y)` of consecutive numbers from 0."""
    import tensorflow as tf

    start = np.cumsum((0, *sizes))
    spec = (tf.TensorSpec((None, 1), "float32"), tf.TensorSpec((None,), "int64"))

    def batches():
        for first, last in itertools.pairwise(start):
            y = np.arange(first, last)
            yield y[:, None].astype("float32"), y

    return tf.data.Dataset.from_generator(batches, output_signature=spec)


@pytest.fixture(scope="module")
def found():
    return workers.run_script("replicas_script.py", "quick", backend="tensorflow")


@pytest.fixture(scope="module")
def found_at_length():
    return workers.run_script("replicas_script.py", backend="tensorflow")


@pytest.mark.slow
def test_auto_takes_all_devices(found):
    assert found["auto"] == "mirrored" and found["replicas"] == 2


@pytest.mark.slow
def test_two_replicas_train_to_the_weights_of_one_device(found):
    # 1e-5: sums in float32 in another order; unsynchronised statistics differ by more than 1e-3.
    assert found["networks"]["diracnet"]["weights"] < 1e-5
    assert found["networks"]["diracnet"]["between"] == 0, "the replicas' weights and statistics differ"


@pytest.mark.slow
@pytest.mark.parametrize("network", ["plainnet", "fastnet", "van"])
def test_two_replicas_train_other_networks_to_the_weights_of_one_device(found_at_length, network):
    assert found_at_length["networks"][network]["weights"] < 1e-5
    assert found_at_length["networks"][network]["between"] == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "network",
    [
        *("diracnet", "plainnet", "fastnet", "van", "diracnet by Muon", "plainnet by Muon", "van by Muon"),
        *("plainnet clipped", "plainnet by AdamW", "plainnet by Lion"),
    ],
)
def test_two_replicas_compute_what_one_device_computes(found_at_length, network):
    # In float64 there is no rounding to be amplified: 1e-12 is thousands of last bits, and nothing beside a mistake.
    assert found_at_length["networks"][network]["weights_in_float64"] < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_labels_and_values_are_learned_and_judged_as_on_one_device(found_at_length, task):
    """1e-5: sums in float32 in another order. The last batch of the test is no multiple of the replicas."""
    of_task = found_at_length["tasks"][task]
    assert of_task["weights"] < 1e-5
    assert {"labels": "test_f1_macro", "values": "test_r2"}[task] in of_task["figures"]
    for one, two in of_task["figures"].values():
        assert two == pytest.approx(one, abs=1e-5)


@pytest.mark.slow
def test_gradient_is_clipped_by_the_norm_of_the_sum_over_the_replicas(found):
    """1e-6: float32 sums. Clipped by each replica's own norm, the weights differ by more than 1e-4."""
    assert found["networks"]["plainnet clipped"]["weights"] < 1e-6
    assert found["networks"]["plainnet clipped"]["between"] == 0


@pytest.mark.slow
def test_accumulation_is_refused_before_anything_is_written(found):
    assert found["accumulated"].startswith("accumulate_steps: TensorFlow's replicas cannot accumulate gradients")


@pytest.mark.slow
def test_statistics_that_are_not_synchronized_are_seen(found_at_length):
    assert found_at_length["unsynchronized_between"] > 1e-3


def check_test_figures(figures):
    accuracy, accuracy_here, loss, loss_here = figures
    assert accuracy == accuracy_here
    assert abs(loss - loss_here) < 1e-5 * max(1, loss)  # float32 sums


@pytest.mark.slow
@pytest.mark.parametrize("count", ["1", "129"])
def test_any_number_of_test_images_gives_the_figures_of_one_device(found, count):
    check_test_figures(found["tests"][count])


@pytest.mark.slow
@pytest.mark.parametrize("count", ["3", "5"])
def test_other_numbers_of_test_images_give_the_figures_of_one_device(found_at_length, count):
    check_test_figures(found_at_length["tests"][count])


@pytest.mark.slow
def test_clipping_per_replica_is_refused(found):
    assert "clipnorm cuts the gradients of each replica" in found["clipped"]


@pytest.mark.slow
def test_averaged_weights_are_refused(found):
    assert found["averaged"].startswith("ema_momentum averages weights on one device alone. Received ema_momentum=0.9")
    assert found["averaged"].endswith('on 2 replicas (mirrored). Leave it out, or train with `strategy="one"`.')


@pytest.mark.slow
def test_run_on_two_devices_killed_within_an_epoch_ends_as_the_uninterrupted_one(found_at_length):
    """Killed in both epochs. The metrics' sums are kept over both devices: float32 rounding."""
    assert found_at_length["interrupted"]["kept"] == [[3], [12, 9]]
    assert found_at_length["interrupted"]["weights"] == 0
    assert found_at_length["interrupted"]["metrics"] < 1e-6
    assert found_at_length["interrupted"]["skips"], "the rows of skips.csv differ"


@pytest.mark.slow
def test_batch_that_does_not_divide_is_refused_with_the_nearest(found):
    assert found["uneven"].endswith("over 2 replicas. Received batch_size=33; give 32 or 34.")


@pytest.mark.slow
def test_devices_cannot_be_split_when_tensorflow_computes(found):
    assert "logical_devices must be set before TensorFlow computes anything" in found["late"]


def test_short_batch_is_filled_up_under_a_mask():
    (first, _, mask), (last, labels, last_mask) = padded(numbers(4, 1), 2).as_numpy_iterator()
    assert first[:, 0].tolist() == [0, 1, 2, 3] and mask.tolist() == [1, 1, 1, 1]
    assert last[:, 0].tolist() == [4, 4] and labels.tolist() == [4, 4] and last_mask.tolist() == [1, 0]


def test_parts_of_the_workers_are_each_batch_without_overlap_or_loss():
    parts = [[y.tolist() for _, y in part_of_worker(numbers(4, 4), i, 2).as_numpy_iterator()] for i in (0, 1)]
    assert parts == [[[0, 1], [4, 5]], [[2, 3], [6, 7]]]


def test_replicas_of_a_worker_share_its_batch():
    batches = [y.tolist() for _, y in one_batch_a_replica(numbers(4, 2), 2).as_numpy_iterator()]
    assert batches == [[0, 1], [2, 3], [4], [5]]


def test_training_streams_of_two_workers_are_the_batches_of_one():
    splits = load_splits("digits", batch_size=64, max_train=256)
    streams = [splits.train(3), splits.train(3, (0, 2)), splits.train(3, (1, 2))]
    for (whole, labels), *parts in zip(*(stream.take(3) for stream in streams), strict=True):
        np.testing.assert_array_equal(whole, np.concatenate([images for images, _ in parts]))
        np.testing.assert_array_equal(labels, np.concatenate([some for _, some in parts]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "two"}, "strategy must be one of auto, one, data_parallel, mirrored, multiworker, tpu"),
        ({"name": "mirrored"}, "needs several devices. Received 1, "),
        ({"name": "mirrored", "workers": CLUSTER}, 'workers are for `strategy="multiworker"`'),
        ({"name": "multiworker"}, "needs two workers or more. Received none"),
        ({"name": "multiworker", "workers": CLUSTER}, r"to 1.*Received worker_index=None: give each process its own"),
        ({"name": "auto", "workers": CLUSTER, "worker_index": 2}, "Received worker_index=2"),
        (
            {"name": "multiworker", "workers": ["here", "there:1"], "worker_index": 0},
            "host:port each, as host0:2222. Received 'here'",
        ),
        ({"name": "multiworker", "workers": ["a:1", "a:1"], "worker_index": 0}, "workers must differ"),
        ({"name": "one", "tpu": "nowhere"}, "is for `strategy=\"tpu\"`.*with strategy='one': leave it out"),
        ({"name": "tpu", "tpu": "nowhere"}, r"needs a TPU. Received tpu='nowhere', which cannot be reached"),
    ],
)
def test_mistake_is_one_line(options, message, monkeypatch):
    import tensorflow as tf

    def no_tpu(tpu):
        raise ValueError("Please provide a TPU Name to connect to.\nmore")

    monkeypatch.delenv("TF_CONFIG", raising=False)
    monkeypatch.setattr(tf.distribute.cluster_resolver, "TPUClusterResolver", no_tpu)
    with pytest.raises(ValueError, match=message) as raised:
        open_strategy(**options)
    assert "\n" not in str(raised.value)


def test_long_reason_of_a_library_ends_with_a_whole_word():
    assert first_line(RuntimeError("word " * 100 + "\nmore")) == " ".join(["word"] * 39) + " ..."
    assert first_line(RuntimeError("short")) == "short" and first_line(RuntimeError()) == "RuntimeError"


@pytest.mark.parametrize("text", ["no json", "[]", '{"cluster": {"ps": ["a:1"], "worker": ["b:1"]}}'])
def test_tf_config_of_another_form_is_refused(text, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match="TF_CONFIG must"):
        open_strategy("multiworker")


def test_tpu_is_connected_initialized_and_computes_in_bfloat16(monkeypatch):
    """As far as a machine without one can tell: the public calls, in their order."""
    import tensorflow as tf

    calls = []
    monkeypatch.setattr(tf.distribute.cluster_resolver, "TPUClusterResolver", lambda tpu: f"resolver of {tpu}")
    monkeypatch.setattr(tf.config, "experimental_connect_to_cluster", lambda r: calls.append(("connect", r)))
    monkeypatch.setattr(tf.tpu.experimental, "initialize_tpu_system", lambda r: calls.append(("initialize", r)))
    monkeypatch.setattr(tf.distribute, "TPUStrategy", lambda r: calls.append(("strategy", r)))
    place = open_strategy("tpu", tpu="pod")
    assert calls == [(step, "resolver of pod") for step in ("connect", "initialize", "strategy")]
    assert place.resolve_precision("auto") == ("mixed_bfloat16", "a TPU computes in bfloat16")
    with pytest.raises(ValueError, match=r"bfloat16 or float32\. Received precision='float16'"):
        place.resolve_precision("float16")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": keras.optimizers.SGD(global_clipnorm=1.0)}, "global_clipnorm cuts"),
        ({"optimizer": keras.optimizers.SGD(gradient_accumulation_steps=2)}, "cannot be accumulated"),
        ({"optimizer": "sgd", "jit_compile": True}, "cannot compile replicas with XLA"),
    ],
)
def test_what_replicas_compute_wrongly_is_refused(options, message):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(loss="mse", **options)
    with pytest.raises(ValueError, match=message):
        refuse_what_replicas_compute_wrongly(model)


def test_activity_regularizer_is_refused():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, activity_regularizer="l2")])
    model.compile("sgd", "mse", jit_compile=False)
    with pytest.raises(ValueError, match=r"activity regularizer is counted several times.*layer 'dense"):
        refuse_what_replicas_compute_wrongly(model)


def test_one_device_is_left_as_it_is():
    model, data = object(), object()
    place = Placement("one")
    assert place.prepare(model) is model and place.test_data(data) is data and place.num_replicas == 1


@pytest.mark.parametrize("parts", [1, True, 2.0])
def test_parts_of_the_cpu_must_be_two_or_more(parts):
    with pytest.raises(ValueError, match="logical_devices must be a whole number of 2 or more"):
        split_cpu(parts)


def test_learning_rate_grows_with_the_batch_where_asked():
    options = {"schedule": "constant", "learning_rate": 0.1, "batch_size": 512}
    assert float(build_schedule(TrainConfig(**options), 10)(0)) == pytest.approx(0.1)
    scaled = TrainConfig(**options, learning_rate_scaling="linear")  # quick's batch is 128
    assert float(build_schedule(scaled, 10)(0)) == pytest.approx(0.4)
    scaled = TrainConfig(**options, learning_rate_scaling="linear", base_batch_size=256)
    assert float(build_schedule(scaled, 10)(0)) == pytest.approx(0.2)
    with pytest.raises(ValueError, match="learning_rate_scaling must be one of none, linear"):
        TrainConfig(learning_rate_scaling="sqrt")


@pytest.mark.slow
# MLflow 3.17 asks SQLAlchemy 2.1 for what it deprecates.
@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")
def test_two_processes_train_as_one(tmp_path, monkeypatch):
    """Verified on Keras 3.15.1: what `Placement.prepare` does for several workers rests on its steps' logs."""
    client = pytest.importorskip("mlflow.tracking").MlflowClient
    pytest.importorskip("sqlalchemy")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    one = run_one(tmp_path / "one", [*RUN, "--epochs=2"], ["--strategy=one"])
    two = run_workers(tmp_path / "two", [*RUN, "--epochs=2", "--tracker=mlflow"], 2)
    figures = compare(one, two)
    assert figures["replicas"] == 2 and figures["between_replicas"] == 0
    assert figures["weights"] < 1e-5 and figures["metrics"] < 1e-5 and figures["after_loading"] < 1e-5
    assert not list((tmp_path).glob("two-worker1*")), "the first worker alone writes"
    [experiment] = [one for one in client().search_experiments() if one.name == "dirac-keras"]
    [tracked] = client().search_runs([experiment.experiment_id])  # and it alone is tracked
    losses = [(one.step, one.value) for one in client().get_metric_history(tracked.info.run_id, "loss")]
    assert tracked.info.status == "FINISHED"
    assert losses == [(row["epoch"], row["loss"]) for row in read_table(two / "metrics.csv")]


def start(*options):
    """Starts both of two workers in a folder."""
    return lambda folder: workers.start_workers(RUN, folder, "--epochs=30", *options, backend="tensorflow")


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_worker_that_dies_ends_the_other_and_the_run_goes_on(victim, tmp_path):
    output = workers.check_dead_worker(start(), tmp_path, victim)
    assert "died or cannot be reached" in output.splitlines()[-1]


@pytest.mark.slow
def test_signal_to_one_worker_ends_both_with_the_step_saved_and_the_run_goes_on_within_the_epoch(tmp_path):
    workers.check_signal(start("--epochs=3", "--max-train=1024", "--checkpoint-steps=2"), tmp_path)
