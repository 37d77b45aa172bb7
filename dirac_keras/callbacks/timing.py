"""What a run waits for: times of steps and of their input, memory, and the verdict at the end."""

import logging
import statistics
import sys
import time

import keras

logger = logging.getLogger("dirac_keras")


INPUT_LIMIT = 0.1  # of the steps' time: waiting that is no mere jitter
SLOW_START_SECONDS = 10.0  # of the first step: from there on the log says where the time went


class StepTimes(keras.callbacks.Callback):
    """Adds to an epoch's logs how long its steps took, what share of it they waited for input, and the memory.

    | name | what it is |
    |---|---|
    | `step_milliseconds` | median of a step, its input and the reading of its loss included |
    | `input_wait_share` | part of the steps' time in which the next batch was not there yet |
    | `peak_memory_mib` | largest resident memory of the process so far |
    | `device_memory_mib` | largest memory of the first GPU so far, where there is one |

    Keras takes the batch inside its compiled function, where nobody sees it wait. Here the function is given an
    iterator that is not tf.data's own; Keras then takes the batch in Python, before the step, and that is timed. The
    loop reads the loss of every step, so while it waits for a batch no device computes. The first step of a process
    is left out: it compiles, and the buffer is empty. Where input and training share cores, what the input takes from
    the training is no waiting, and shows in the step's time alone.

    List it behind callbacks that make the training function anew (`SkipPhaseOut`).

    Where several steps are one program (`training.chunks`), each of them counts with its share of the whole, and the
    loop knows how long the device waited.

    Args:
        sees_input: bool, whether the waiting is measured. Not under a strategy of TensorFlow: a batch taken in Python
            is there a batch for each replica, on its way to several devices, and whether its time is the waiting was
            not tried. On JAX, Keras takes every batch in Python, for several devices too.
        waiting: object whose `seconds` a loop of our own adds to, instead of all that; None: Keras' `fit` trains.
    """

    def __init__(self, sees_input=True, waiting=None):
        super().__init__()
        # On PyTorch Keras takes the batch before it calls the function.
        self.sees_input = sees_input and waiting is None and keras.backend.backend() != "torch"
        self.waiting = waiting
        self._is_compiled = False

    def on_train_begin(self, logs=None):
        if (
            self.sees_input and self.model.steps_per_execution == 1
        ):  # several steps take their batches in one compiled loop
            self._function = self.model.train_function
            self.model.train_function = self._timed

    def on_epoch_begin(self, epoch, logs=None):
        self._waits, self._steps = [], []
        self._before = {"waited": 0.0, "stepped": 0.0, "step_milliseconds": None}  # an interruption

    def next_step(self, step):
        """None: where a chunk of steps ends is early enough, see `training.chunks.ends`."""

    def on_train_batch_begin(self, batch, logs=None):
        self._wait = 0.0
        self._first_batch = batch
        self._waited_before = self.waiting.seconds if self.waiting else 0.0
        self._start = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        count = batch - self._first_batch + 1  # several steps may be one call
        waited = self.waiting.seconds - self._waited_before if self.waiting else self._wait
        step = time.perf_counter() - self._start
        self._waits += [waited / count] * count
        self._steps += [step / count] * count
        if not self._is_compiled:
            self._is_compiled = True
            self._first = self._waits[-1], self._steps[-1]
            self._waits, self._steps = [], []
            if step >= SLOW_START_SECONDS and self.waiting is None:  # else the program has said so
                logger.info("the first step, which compiles the network, took %.0f s", step)

    def on_epoch_end(self, epoch, logs=None):
        state = self.epoch_state()
        if state["step_milliseconds"] is None and self._is_compiled:  # an epoch of one step
            self._waits, self._steps = ([seconds] for seconds in self._first)
            state = self.epoch_state()
        if state["step_milliseconds"] is not None:
            logs["step_milliseconds"] = state["step_milliseconds"]
        if state["waited"] or (self.waiting and state["stepped"]):  # else the training function was made anew
            logs["input_wait_share"] = state["waited"] / state["stepped"]
        logs |= memory()

    def on_train_end(self, logs=None):
        if self.model.train_function == self._timed:
            self.model.train_function = self._function

    def epoch_state(self):
        """What a resumed epoch starts from: its seconds so far, and the median of a step."""
        median = 1e3 * statistics.median(self._steps) if self._steps else self._before["step_milliseconds"]
        return {
            "waited": self._before["waited"] + sum(self._waits),
            "stepped": self._before["stepped"] + sum(self._steps),
            "step_milliseconds": median,
        }

    def restore_epoch_state(self, state):
        """Resume an interrupted epoch."""
        self._before = state

    def _timed(self, *arguments):
        *state, batches = arguments  # TensorFlow's function takes the batches alone
        return self._function(*state, _Timed(batches, self))

    def _take(self, batches):
        start = time.perf_counter()
        try:
            return next(batches)
        finally:
            self._wait += time.perf_counter() - start


class _Timed:
    """An iterator whose waiting is counted."""

    def __init__(self, batches, times):
        self._batches = batches
        self._times = times

    def __iter__(self):
        return self

    def __next__(self):
        return self._times._take(self._batches)


def memory():
    """`peak_memory_mib`, and `device_memory_mib` where there is a GPU, as a dict; what the system hides is out."""
    found = {}
    try:
        import resource
    except ImportError:  # Windows
        pass
    else:
        unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, KiB here
        found["peak_memory_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    peak = _device_peak_bytes()
    if peak is not None:
        found["device_memory_mib"] = peak / 2**20
    return found


def _device_peak_bytes():
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        if tf.config.list_logical_devices("GPU"):
            return tf.config.experimental.get_memory_info("GPU:0")["peak"]
    elif keras.backend.backend() == "jax":
        import jax

        return (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use")  # None on a CPU
    return None


def find_limit(rows):
    """What the rows of `metrics.csv` say of the whole run, for `summary.json`.

    Args:
        rows: list of dicts; those of runs that an earlier version began may lack the figures.

    Returns: dict with `limited_by` (`"input"` if the steps waited for it for a tenth of their time or more, else
        `"compute"`), `input_wait_share`, `step_milliseconds` (median over the epochs) and the largest memories; what
        was not measured is out.
    """
    found = {}
    timed = [row for row in rows if isinstance(row.get("input_wait_share"), float)]
    if timed:
        share = statistics.fmean(row["input_wait_share"] for row in timed)  # epochs have as many steps
        found["limited_by"] = "input" if share >= INPUT_LIMIT else "compute"
        found["input_wait_share"] = share
    for name, reduce in (
        ("step_milliseconds", statistics.median),
        ("peak_memory_mib", max),
        ("device_memory_mib", max),
    ):
        values = [row[name] for row in rows if isinstance(row.get(name), float)]
        if values:
            found[name] = reduce(values)
    return found


def describe_limit(summary):
    """One line of `find_limit`'s figures; empty if no time was measured, as of runs of earlier versions."""
    if "step_milliseconds" not in summary:
        return ""
    if "limited_by" in summary:
        share = f"{summary['input_wait_share']:.1%} of the steps' time waited for input"
        words = [f"limited by {summary['limited_by']}: {share}"]
    else:
        where = f" on {summary['replicas']} replicas" if "replicas" in summary else ""
        words = [f"waiting for input is not measured{where}"]
    words.append(f"median step {summary['step_milliseconds']:.1f} ms")
    if "median_images_per_second" in summary:
        words.append(f"{summary['median_images_per_second']:,.0f} images/s")
    for name, label in (("peak_memory_mib", "memory"), ("device_memory_mib", "device memory")):
        if name in summary:
            words.append(f"{label} {summary[name] / 1024:.2f} GiB")
    return ", ".join(words)
