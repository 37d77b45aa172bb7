"""A limit on the time that trainings may take: at its end the current one is interrupted as SIGTERM interrupts it."""

import os
import re
import signal
import threading

from dirac_keras.errors import UserError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhd])")


def parse_duration(text):
    """Seconds of `"90s"`, `"12m"`, `"1h30m"` or `"2d"`. Raises: UserError: for any other text, and for none."""
    parts = _DURATION.findall(text)
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != text or not 0 < seconds <= threading.TIMEOUT_MAX:
        raise UserError(f"`budget` must be a time such as 90s, 12m, 1h30m or 2d. Received budget={text!r}.")
    return seconds


class Budget:
    """So many seconds from where it is entered, in the main thread, for a `with` statement.

    At their end the process gets SIGTERM: a training finishes its step, saves its state and raises
    `TrainingInterrupted`. Where no training runs, the signal of a budget does nothing but set `is_spent`.

    Args:
        seconds: number; None: without end, which changes nothing.
    """

    def __init__(self, seconds=None):
        self.seconds = seconds
        self.is_spent = False
        self._before = None
        self._timer = None
        self._is_expected = False  # our signal

    def __enter__(self):
        if self.seconds is not None:
            if threading.current_thread() is not threading.main_thread():
                raise UserError(
                    "`budget` ends trainings by a signal, which only the main thread of a process receives."
                )
            self._before = signal.signal(signal.SIGTERM, self._receive)
            self._timer = threading.Timer(self.seconds, self.end)
            self._timer.daemon = True
            self._timer.start()
        return self

    def __exit__(self, *exception):
        if self._timer is not None:
            self._timer.cancel()
            self._timer.join()  # its signal comes before the former handler is back, or not at all
            signal.signal(signal.SIGTERM, signal.SIG_DFL if self._before is None else self._before)
            self._timer = None

    def end(self):
        """End it now; any thread may."""
        self.is_spent = self._is_expected = True
        # To the main thread itself: one to the process may reach another thread when the former handler is back.
        signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)

    def _receive(self, number, frame):
        if self._is_expected:  # who trains next looks at `is_spent`
            self._is_expected = False
            return
        if callable(self._before):
            self._before(number, frame)
        elif self._before != signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
