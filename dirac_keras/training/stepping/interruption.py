"""SIGTERM and SIGINT: the step is finished, the state saved, and the process ends with a code of its own."""

import contextlib
import logging
import os
import signal
import threading
import time

logger = logging.getLogger("dirac_keras")

SIGNALS = (signal.SIGTERM, signal.SIGINT)
_JUST = 1.0  # seconds by which Python's handler may come before the watch has read of the signal


class TrainingInterrupted(SystemExit):
    """A signal ended the training; the process exits with 128 + its number: 143 for SIGTERM, 130 for SIGINT.

    Attributes:
        code: int, the exit status.
        message: str, the line that was logged.
    """

    def __init__(self, message, code):
        super().__init__(code)
        self.message = message

    def __str__(self):
        return self.message


class Interruption:
    """Takes the signals while it is entered, in the main thread; elsewhere they stay as they are.

    A signal ends the training at once (`TrainingInterrupted`), but within `deferred()`, where `received` says so and
    who can save the state calls `stop`. A second SIGINT there is a KeyboardInterrupt: who presses twice will not wait.

    Args:
        patience: seconds that a signal waits for Python's turn, as the process may wait for another worker and not
            come back to it; then the process ends where it is. None: as long as it takes.
    """

    def __init__(self, patience=None):
        self.received = None
        self.patience = patience
        self._watch = None
        self._is_deferred = False
        self._before = {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._receive) for number in SIGNALS}
            if self.patience is not None:
                self._watch = _Watch(self.patience)
        return self

    def __exit__(self, *exception):
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before = {}

    @contextlib.contextmanager
    def deferred(self):
        """Within, a signal is noted; one that was not acted on ends the training afterwards."""
        self._is_deferred = True
        try:
            yield self
        finally:
            self._is_deferred = False
        if self.received is not None:
            self.stop()

    def stop(self, where=None):
        """Log one line and raise `TrainingInterrupted`.

        Args:
            where: str, the step whose state is saved; None if there is nothing that was not saved before.
        """
        number = self.received or signal.SIGTERM  # which another worker has received
        name = signal.Signals(number).name
        message = (
            f"interrupted by {name} after {where}, which is saved: train again to resume from there"
            if where
            else f"interrupted by {name}: train again to resume from the last checkpoint"
        )
        logger.warning("%s", message)
        raise TrainingInterrupted(message, 128 + number)

    def _receive(self, number, frame):
        if self._watch is not None:
            self._watch.last_handled = time.monotonic()
        is_again = self.received == number == signal.SIGINT
        self.received = number
        if is_again:
            raise KeyboardInterrupt
        if not self._is_deferred:
            self.stop()


class _Watch:
    """Ends the process for a signal that Python's handler does not get to: the system writes its number to a pipe.

    Args:
        patience: seconds.
    """

    def __init__(self, patience):
        self.patience = patience
        self.last_handled = -_JUST
        self._ends = os.pipe()
        for end in self._ends:
            os.set_blocking(end, end == self._ends[0])
        self._before = signal.set_wakeup_fd(self._ends[1], warn_on_full_buffer=False)
        threading.Thread(target=self._wait, daemon=True).start()

    def close(self):
        signal.set_wakeup_fd(self._before)
        os.close(self._ends[1])  # which ends the thread

    def _wait(self):
        reader = self._ends[0]
        with os.fdopen(reader, "rb", buffering=0) as pipe:
            while number := pipe.read(1):
                came = time.monotonic()
                while self.last_handled < came - _JUST and time.monotonic() < came + self.patience:
                    time.sleep(_JUST / 10)
                if number[0] in SIGNALS and self.last_handled < came - _JUST:
                    name = signal.Signals(number[0]).name
                    os.write(2, f"Error: ended by {name} while it waited for other workers.\n".encode())
                    os._exit(128 + number[0])
