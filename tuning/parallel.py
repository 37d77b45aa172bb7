"""Several processes on one search, over KerasTuner's protocol: a chief with the oracle, workers that train."""

import _thread
import contextlib
import json
import logging
import os
import pathlib
import socket
import subprocess
import sys
import threading
import time

import grpc
import keras_tuner

from dirac_keras.distribution import split_cpu
from tuning.budget import CostMeter
from tuning.oracles import OBJECTIVE, SETTINGS
from tuning.settings import Settings
from tuning.trials import Data, TimeIsUp
from tuning.tuner import TrialTuner

logger = logging.getLogger("dirac_keras")
REACH_SECONDS = 30  # a worker's patience with a chief that does not answer
BEAT_SECONDS = 3  # between a worker's signs of life
# Silence of a worker on another machine until its trial goes to the next.
LEASE_SECONDS = float(os.environ.get("DIRAC_KERAS_LEASE_SECONDS", "60"))
STOP_SECONDS = 20  # from the end of the time until the workers are stopped
MAX_RESTARTS = 5  # of local workers, in all
PARENT = "DIRAC_KERAS_ENDS_WITH_PARENT"


def parse_address(address):
    """`HOST:PORT` as `(host, port)`. Raises: ValueError: if it is none."""
    host, _, port = (address or "").rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"An address is HOST:PORT, as in 10.0.0.1:8000. Received {address!r}.")
    return host, int(port)


def reach(address, seconds=REACH_SECONDS):
    """Wait until a chief answers. Raises: ValueError: if it does not."""
    channel = grpc.insecure_channel(address)
    try:
        grpc.channel_ready_future(channel).result(timeout=seconds)
    except grpc.FutureTimeoutError:
        raise ValueError(
            f"No chief answers at {address}, tried for {seconds} s. Start it first (dirac-keras tune --chief "
            f"{address} ...), or look whether it has ended."
        ) from None
    finally:
        channel.close()


def run_worker(address, workdir, name=None, deadline=None, download=False, data_dir=None):
    """Take trials from the chief at `address` until it has no more.

    Args:
        address: `HOST:PORT`.
        workdir: folder of the trials' runs: the chief's, where it can be seen from here, so that a trial that
            another worker began is gone on with.
        name: text, of this worker; None makes one.
        deadline: `time.monotonic()`, or None.
        download: whether to fetch data that is absent; data_dir: the folder of tensorflow-datasets on this machine.

    Raises: ValueError: if no chief answers.
    """
    parse_address(address)
    if os.environ.pop(PARENT, None):
        threading.Thread(target=_end_with_parent, daemon=True).start()
    reach(address)
    name = name or f"{socket.gethostname().replace('chief', 'host')}-{os.getpid()}"
    with _role(address, name):
        folder = pathlib.Path(workdir)
        oracle = keras_tuner.Oracle(objective=keras_tuner.Objective(OBJECTIVE, "max"))
        tuner = TrialTuner(
            oracle,
            None,
            Data(download=download),
            None,
            folder / "trials",
            folder / "keras_tuner" / name,
            deadline,
            before_trial=lambda: reach(address),
            during_trial=lambda trial_id: _signs_of_life(tuner, address, trial_id),
        )
        tuner.settings = _settings_of(tuner.oracle.get_space(), data_dir)
        if tuner.settings.logical_devices:
            split_cpu(tuner.settings.logical_devices)
        # Beside other workers a latency is theirs too; the chief measures them when all are done.
        tuner.meter = CostMeter(tuner.data.of(_any_config(tuner.settings)).spec, with_latency=False)
        with contextlib.suppress(TimeIsUp):
            tuner.search()


def run_chief(tuner, workdir, address, num_workers=0, time_limit=None):
    """Give out trials until there are no more.

    Args:
        tuner: `TrialTuner` with a `KeptOracle`, begun.
        workdir: `pathlib.Path`.
        address: `HOST:PORT` to listen at; None takes a free port of this machine.
        num_workers: int, workers to start here. One that dies is started again, five times in all.
        time_limit: seconds until the end, or None.

    Raises: RuntimeError: if the port cannot be had, or no worker is left.
    """
    address = address or f"127.0.0.1:{_free_port()}"
    parse_address(address)
    oracle = tuner.oracle
    workers = _LocalWorkers(address, workdir, num_workers, time_limit)
    with _role(address, "chief"):
        server = _Server(tuner)
        server.start()
        try:
            while not (oracle.is_over() and not workers.alive()):
                server.check()
                workers.watch(oracle)
                if oracle.deadline is not None and time.monotonic() > oracle.deadline + STOP_SECONDS:
                    break
                time.sleep(0.1)
        finally:
            workers.stop()


class _Server(threading.Thread):
    """KerasTuner's service of the oracle; its own loop would wait 20 seconds for the last worker."""

    def __init__(self, tuner):
        super().__init__(daemon=True)
        self.tuner, self.error = tuner, None

    def run(self):
        try:
            self.tuner.search()
        except Exception as error:
            self.error = error

    def check(self):
        if self.error is not None:
            raise RuntimeError(f"The chief cannot serve: {' '.join(str(self.error).split())}") from self.error


class _LocalWorkers:
    def __init__(self, address, workdir, count, time_limit):
        self.address, self.workdir = address, workdir
        self.deadline = None if time_limit is None else time.monotonic() + time_limit
        self.threads = max(1, (os.cpu_count() or 1) // max(1, count))
        self.restarts = 0
        self.processes = {}
        for index in range(count):
            self._start(f"worker{index}")

    def _start(self, name):
        folder = self.workdir / "workers"
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "dirac_keras.cli", "tune", "--join", self.address]
        command += ["--workdir", str(self.workdir), "--name", name]
        if self.deadline is not None:
            command += ["--time", f"{max(1, self.deadline - time.monotonic()):.0f}s"]
        threads = str(self.threads)
        shares = {"TF_NUM_INTRAOP_THREADS": threads, "TF_NUM_INTEROP_THREADS": threads, "OMP_NUM_THREADS": threads}
        environment = {n: v for n, v in os.environ.items() if not n.startswith("KERASTUNER_")} | shares | {PARENT: "1"}
        with open(folder / f"{name}.log", "ab") as log:
            self.processes[name] = subprocess.Popen(
                command, env=environment, stdin=subprocess.PIPE, stdout=log, stderr=log
            )

    def alive(self):
        return [name for name, process in self.processes.items() if process.poll() is None]

    def watch(self, oracle):
        """Start a worker that died again, under another name, so that its trial counts it."""
        for name, process in list(self.processes.items()):
            if not process.poll():  # runs, or has ended well
                continue
            del self.processes[name]
            oracle.give_up(name)
            log = self.workdir / "workers" / f"{name}.log"
            logger.warning("%s ended with status %d, see %s", name, process.returncode, log)
            if self.restarts >= MAX_RESTARTS:
                if not self.alive():
                    raise RuntimeError(
                        f"No worker is left: {MAX_RESTARTS + 1} have died, the last with status {process.returncode}. "
                        f"{last_line(log)} See {log}."
                    )
                continue
            self.restarts += 1
            self._start(f"{name.split('.')[0]}.{self.restarts}")

    def stop(self):
        for process in self.processes.values():
            if process.poll() is None:
                process.terminate()  # it finishes its step and saves it
        for process in self.processes.values():
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def last_line(path):
    """The last line of a log; an empty text if there is none."""
    try:
        lines = [line.strip() for line in path.read_text(errors="replace").splitlines() if line.strip()]
    except OSError:
        return ""
    return lines[-1] if lines else ""


@contextlib.contextmanager
def _role(address, name):
    """What KerasTuner reads of the environment."""
    host, port = parse_address(address)
    values = {"KERASTUNER_TUNER_ID": name, "KERASTUNER_ORACLE_IP": host, "KERASTUNER_ORACLE_PORT": str(port)}
    before = {key: os.environ.get(key) for key in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value


@contextlib.contextmanager
def _signs_of_life(tuner, address, trial_id):
    """While a trial runs, ask the chief for it now and then; if the chief is gone, end as a signal would."""
    stop = threading.Event()

    def beat():
        while not stop.wait(BEAT_SECONDS):
            try:
                reach(address)
                tuner.oracle.get_trial(trial_id)
            except (ValueError, grpc.RpcError) as error:
                if not stop.is_set():
                    logger.error("%s", error if isinstance(error, ValueError) else f"The chief at {address} is gone.")
                    _thread.interrupt_main()
                return

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _end_with_parent():
    """A chief that was killed cannot stop its workers; they would hold its trials' folders."""
    os.read(sys.stdin.fileno(), 1)  # returns when the pipe closes; `sys.stdin.read` would hold a lock at the exit
    os._exit(1)


def _settings_of(space, data_dir):
    text = next(entry.value for entry in space.space if entry.name == SETTINGS)
    settings = Settings.from_dict(json.loads(text))
    if data_dir is not None:
        settings.space.fixed["data_dir"] = data_dir
    return settings


def _any_config(settings):
    return settings.space.config(
        settings.space.smallest(settings.space.families[0]), settings.max_epochs, settings.seed
    )


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
