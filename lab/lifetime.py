"""How long a helper process of the engine lives: until it is told to end, or the engine is gone."""

import os
import signal
import threading
from typing import Final

_PARENT_CHECK_SECONDS: Final = 0.5


class Lifetime:
    """Make it before the engine learns the port; SIGINT and SIGTERM count from then on."""

    def __init__(self) -> None:
        self._parent = os.getppid()
        self._told = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self._told.set())

    def wait(self) -> None:
        """Returns at a signal, or when the parent is gone: an engine that was killed leaves none.

        The engine starts its helpers itself, so the parent is the engine.
        """
        while not self._told.wait(_PARENT_CHECK_SECONDS) and os.getppid() == self._parent:
            pass
