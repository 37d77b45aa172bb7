"""SIGTERM and SIGINT: the step is finished, the state saved, and the process ends with a code of its own."""

import contextlib
import logging
import signal
import threading

logger = logging.getLogger("dirac_keras")

SIGNALS = (signal.SIGTERM, signal.SIGINT)


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
    """

    def __init__(self):
        self.received = None
        self._is_deferred = False
        self._before = {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._receive) for number in SIGNALS}
        return self

    def __exit__(self, *exception):
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
        is_again = self.received == number == signal.SIGINT
        self.received = number
        if is_again:
            raise KeyboardInterrupt
        if not self._is_deferred:
            self.stop()
