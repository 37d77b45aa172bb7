"""The chief: serves an oracle to workers over KerasTuner's protocol, and starts those of this machine."""

import logging
import os
import socket
import subprocess
import sys
import threading
import time

from dirac_keras.errors import RunError
from tuning.fleet.protocol import parse_address, role

logger = logging.getLogger("dirac_keras")
STOP_SECONDS = 20  # from the end of the time until the workers are stopped
MAX_RESTARTS = 5  # of local workers, in all


def run_chief(tuner, workdir, address, num_workers=0, time_limit=None):
    """Give out trials until there are no more.

    Args:
        tuner: `TrialTuner` with a `KeptOracle`, begun.
        workdir: `pathlib.Path`.
        address: `HOST:PORT` to listen at; None takes a free port of this machine.
        num_workers: int, workers to start here. One that dies is started again, five times in all.
        time_limit: seconds until the end, or None.

    Raises: RunError: if the port cannot be had, or no worker is left.
    """
    address = address or f"127.0.0.1:{_free_port()}"
    _check_port(address)
    oracle = tuner.oracle
    workers = _LocalWorkers(address, workdir, num_workers, time_limit)
    with role(address, "chief"):
        server = _Server(tuner)
        server.start()
        logger.warning("trials are given out at %s; %d workers start here, with logs in %s", address, num_workers,
                       workdir / "workers")  # fmt: skip
        try:
            while not (oracle.is_over() and not workers.alive()):
                server.check()
                _check_oracle(oracle, workers)
                workers.watch(oracle)
                if oracle.deadline is not None and time.monotonic() > oracle.deadline + STOP_SECONDS:
                    break
                time.sleep(0.1)
        finally:
            workers.stop()


def _check_port(address):
    """Raise RunError if the address cannot be listened at: gRPC would share the port with another chief."""
    host, port = parse_address(address, "chief")
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
        for family, kind, protocol, _, where in found[:1]:
            with socket.socket(family, kind, protocol) as probe:
                if os.name != "nt":  # connections of a chief before may linger
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(where)
                probe.listen()
    except OSError as error:
        raise RunError(
            f"The chief cannot listen at {address}: {error.strerror or error}. Give `chief` an address of this machine "
            "and a free port."
        ) from error


def _check_oracle(oracle, workers):
    """Raise what a worker's call has raised here, or why a worker of this machine cannot train."""
    if oracle.error is not None:
        raise oracle.error
    for name, reason in list(oracle.released.items()):
        if name in workers.started:
            raise RunError(
                f"{name} cannot train its trial, and that is not the trial's fault: {reason.rstrip('.')}. The trial is "
                "open again: once that is mended, start the same search again to resume it."
            )
        if name not in workers.reported:
            workers.reported.add(name)
            logger.warning("%s cannot train its trial, which is open again: %s", name, reason)


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
            raise RunError(f"The chief cannot serve: {' '.join(str(self.error).split())}") from self.error


class _LocalWorkers:
    def __init__(self, address, workdir, count, time_limit):
        self.address, self.workdir = address, workdir
        self.deadline = None if time_limit is None else time.monotonic() + time_limit
        self.threads = max(1, (os.cpu_count() or 1) // max(1, count))
        self.restarts = 0
        self.processes = {}
        self.started, self.reported = set(), set()
        for index in range(count):
            self._start(f"worker{index}")

    def _start(self, name):
        self.started.add(name)
        folder = self.workdir / "workers"
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "dirac_keras.cli", "tune", "--join", self.address, "--end-with-parent"]
        command += ["--workdir", str(self.workdir), "--name", name]
        if self.deadline is not None:
            command += ["--time", f"{max(1, self.deadline - time.monotonic()):.0f}s"]
        threads = str(self.threads)
        shares = {"TF_NUM_INTRAOP_THREADS": threads, "TF_NUM_INTEROP_THREADS": threads, "OMP_NUM_THREADS": threads}
        environment = {n: v for n, v in os.environ.items() if not n.startswith("KERASTUNER_")} | shares
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
                    raise RunError(
                        f"No worker is left: {MAX_RESTARTS + 1} have died, the last with status {process.returncode}. "
                        f"{_last_line(log)} See {log}."
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


def _last_line(path):
    """The last line of a log; an empty text if there is none."""
    try:
        lines = [line.strip() for line in path.read_text(errors="replace").splitlines() if line.strip()]
    except OSError:
        return ""
    return lines[-1] if lines else ""


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
