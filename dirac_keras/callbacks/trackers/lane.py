"""Calls that nobody waits for longer than a given time."""

import concurrent.futures
import contextlib
import io
import queue
import threading


class Lane:
    """A thread of its own that makes calls in turn. It ends with the process, whatever it waits for.

    What the calls print is dropped: standard output belongs to the command.
    """

    def __init__(self):
        self._calls = queue.SimpleQueue()
        threading.Thread(target=self._work, daemon=True).start()

    def call(self, function, seconds):
        """What `function()` returns.

        Raises: whatever it raises. TimeoutError: if it takes longer than that; it may still be done later.
        """
        answer = concurrent.futures.Future()
        self._calls.put((function, answer))
        with contextlib.redirect_stdout(io.StringIO()):
            try:
                return answer.result(timeout=seconds)
            except concurrent.futures.TimeoutError:
                if answer.done():  # the function's own
                    raise
                raise TimeoutError(f"no answer within {seconds:g} s") from None

    def _work(self):
        while True:
            function, answer = self._calls.get()
            try:
                answer.set_result(function())
            except Exception as error:
                answer.set_exception(error)
            except BaseException as error:  # a package that would end the process: that is not its matter
                answer.set_exception(RuntimeError(f"{type(error).__name__} {error}"))
