"""What the kubelet runs in a pod: a program with a readiness probe and a log."""

from pathlib import Path
from typing import Protocol


class Container(Protocol):
    """One container's program, as the kubelet handles it."""

    name: str
    log: Path

    def start(self) -> None:
        """Start it, or start it again after it has ended."""

    def ready(self) -> bool:
        """Probe its readiness once; never raises."""

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""

    def stop(self) -> None:
        """End it gracefully, then by force."""

    def kill(self) -> None:
        """End it at once, as a crash would."""
