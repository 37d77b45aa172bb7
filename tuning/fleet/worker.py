"""A worker: takes trials from a chief elsewhere, over KerasTuner's protocol."""

import _thread
import contextlib
import logging
import os
import pathlib
import socket
import sys
import threading

import grpc
import keras_tuner

from dirac_keras.distribution import split_cpu
from dirac_keras.errors import RunError
from tuning.budget import CostMeter
from tuning.fleet.protocol import BEAT_SECONDS, parse_address, reach, role
from tuning.oracles import OBJECTIVE, SETTINGS
from tuning.settings import Settings
from tuning.trials import Data, TimeIsUp
from tuning.tuner import TrialTuner

logger = logging.getLogger("dirac_keras")


def run_worker(address, workdir, name=None, deadline=None, download=False, data_dir=None, end_with_parent=False):
    """Take trials from the chief at `address` until it has no more.

    Args:
        address: `HOST:PORT`.
        workdir: folder of the trials' runs: the chief's, where it can be seen from here, so that a trial that
            another worker began is resumed.
        name: text, of this worker; None makes one.
        deadline: `time.monotonic()`, or None.
        download: whether to fetch data that is absent; data_dir: the folder of tensorflow-datasets on this machine.
        end_with_parent: whether this process ends as soon as its standard input, a pipe of the process that started
            it, is closed.

    Raises: UserError: if no chief answers.
    """
    parse_address(address)
    if end_with_parent:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    reach(address)
    name = name or f"{socket.gethostname().replace('chief', 'host')}-{os.getpid()}"
    with role(address, name), _explaining_losses(address):
        folder = pathlib.Path(workdir)
        oracle = keras_tuner.Oracle(objective=keras_tuner.Objective(OBJECTIVE, "max"))
        tuner = TrialTuner(
            oracle,
            None,
            Data(download=download),
            None,
            folder / "trials",
            deadline,
            check_chief=lambda: reach(address),
            during_trial=lambda trial_id: _signs_of_life(tuner, address, trial_id),
        )
        tuner.settings = _settings_of(address, tuner.oracle.get_space(), data_dir)
        if tuner.settings.logical_devices:
            split_cpu(tuner.settings.logical_devices)
        # Beside other workers a latency is theirs too; the chief measures them when all are done.
        spec = tuner.data.of(_any_config(tuner.settings)).spec
        tuner.meter = CostMeter(spec, with_latency=False, max_gigabytes=tuner.settings.max_gigabytes)
        with contextlib.suppress(TimeIsUp):
            tuner.search()


@contextlib.contextmanager
def _explaining_losses(address):
    """Say in one line that a call to the chief has failed."""
    try:
        yield
    except grpc.RpcError as error:
        raise RunError(
            f"The chief at {address} has failed or is gone: {error.code().name}. Its own messages say why; start it "
            "again, then this worker."
        ) from error


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
        thread.join(1)  # not for longer: it may wait for a chief that is frozen, and a signal would wait with it


def _end_with_parent():
    """A chief that was killed cannot stop its workers; they would hold its trials' folders."""
    os.read(sys.stdin.fileno(), 1)  # returns when the pipe closes; `sys.stdin.read` would hold a lock at the exit
    os._exit(1)


def _settings_of(address, space, data_dir):
    text = next((entry.value for entry in space.space if entry.name == SETTINGS), "")
    settings = Settings.from_text(text, f"what the chief at {address} sends")
    if data_dir is not None:
        settings.space.fixed["data_dir"] = data_dir
    return settings


def _any_config(settings):
    return settings.space.config(
        settings.space.smallest(settings.space.families[0]), settings.max_epochs, settings.seed
    )
