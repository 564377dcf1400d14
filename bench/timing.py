"""Timing of commands and functions, and ratios between them."""

import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROUNDS = 7


@dataclass(frozen=True)
class Ratio:
    """A figure against its base, both in seconds, and what it may be at most."""

    name: str
    figure: float
    base: float
    at_most: float

    @property
    def value(self) -> float:
        """How many times the base."""
        return self.figure / self.base

    def __str__(self) -> str:
        verdict = "ok" if self.value <= self.at_most else "OVER"
        return (
            f"{self.name:<44} {self.figure * 1000:8.0f} ms  {self.base * 1000:8.0f} ms  "
            f"{self.value:5.2f}x  (at most {self.at_most}x)  {verdict}"
        )


def command(arguments: Sequence[str], *, cwd: Path | None = None) -> Callable[[], object]:
    """A command to be timed; it must succeed."""

    def run() -> object:
        return subprocess.run(arguments, cwd=cwd, check=True, capture_output=True)

    return run


def alternating(*candidates: Callable[[], object], rounds: int = ROUNDS) -> list[float]:
    """Median seconds of each candidate, run in turn so that all see the same machine."""
    times: list[list[float]] = [[] for _ in candidates]
    for candidate in candidates:
        candidate()
    for _ in range(rounds):
        for candidate, taken in zip(candidates, times, strict=True):
            start = time.perf_counter()
            candidate()
            taken.append(time.perf_counter() - start)
    return [statistics.median(taken) for taken in times]
