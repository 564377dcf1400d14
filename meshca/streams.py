"""Standard output and error, when they are closed, full, or of another encoding."""

import io
import os
import sys
from typing import TextIO


def settle() -> None:
    """Makes the standard streams such that nothing but what is meant for them goes there."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # Closed: the next file, be it a key, would take its place and get what is said.
            os.open(os.devnull, os.O_RDWR)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - until the end
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A subject may hold letters that the terminal's encoding has not.
            stream.reconfigure(errors="backslashreplace")


def say(line: str) -> None:
    """One line on standard error, whatever has become of that."""
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def drop_output() -> None:
    """Sends what is still to be written nowhere, so that Python does not stumble over it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2) if _is_broken(sys.stderr) else (1,):
        os.dup2(nowhere, number)


def _is_broken(stream: TextIO) -> bool:
    try:
        stream.flush()
    except OSError:
        return True
    return False
