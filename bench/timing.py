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
    """A figure against its base, both in seconds, and how many times the base it may be."""

    name: str
    figure: float
    base: float
    at_most: float

    @property
    def kept(self) -> bool:
        """Whether the figure is within its bound."""
        return self.figure <= self.at_most * self.base

    def __str__(self) -> str:
        measured = f"{self.figure * 1000:.0f} ms / {self.base * 1000:.0f} ms"
        return _line(
            self.name, measured, f"{self.figure / self.base:.2f}x", f"{self.at_most}x", self
        )


@dataclass(frozen=True)
class Limit:
    """A figure in seconds that stands by itself, and what it may be at most."""

    name: str
    figure: float
    at_most: float

    @property
    def kept(self) -> bool:
        """Whether the figure is within its bound."""
        return self.figure <= self.at_most

    def __str__(self) -> str:
        shown = f"{self.figure * 1000:.1f} ms"
        return _line(self.name, "", shown, f"{self.at_most * 1000:.0f} ms", self)


Result = Ratio | Limit


def _line(name: str, measured: str, value: str, bound: str, result: Result) -> str:
    verdict = "ok" if result.kept else "OVER"
    return f"{name:<42} {measured:>20} {value:>9}  at most {bound:<7} {verdict}"


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
