"""Stopping when asked: a signal becomes a wish that the training loop grants between two steps."""

from __future__ import annotations

import signal
import threading
import time


class StopSignals:
    """While active, SIGINT and SIGTERM only set `reason`; the previous handlers come back afterwards.

    A second Ctrl-C, a second or more after the first signal, is a KeyboardInterrupt.
    """

    def __init__(self) -> None:
        self.reason = ""
        self._since = 0.0
        self._previous: dict[int, object] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():  # Python allows handlers nowhere else.
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous.items():
            # None: a handler that was not installed from Python cannot be put back from Python.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _receive(self, number: int, frame: object) -> None:
        # One Ctrl-C may arrive twice, from the terminal and from a wrapper that passes it on.
        if self.reason and number == signal.SIGINT and time.monotonic() - self._since > 1:
            raise KeyboardInterrupt
        if not self.reason:
            self.reason, self._since = signal.Signals(number).name, time.monotonic()
