"""What the kubelet runs in a pod: a program with a readiness probe and a log."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab.mesh.processes import Process


class Container(ABC):
    """One container's program, as the kubelet handles it."""

    def __init__(
        self,
        container: str,
        pod: str,
        address: str,
        *,
        directory: Path,
        run: Path,
        environment: Mapping[str, str],
    ) -> None:
        """Prepare the program of `container` in the pod called `pod`, at the pod's address.

        It works in `directory` and logs there; its pid file goes to `run`. `environment` is what
        the pod's template asks for.
        """
        self.name = pod
        self.log = directory / f"{container}.log"
        self._address = address
        self._directory = directory
        self._run = run
        self._environment = environment
        self._process: Process | None = None

    @abstractmethod
    def start(self) -> None:
        """Start it, or start it again after it has ended."""

    @abstractmethod
    def ready(self) -> bool:
        """Probe its readiness once; never raises."""

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.exit_code if self._process else None

    def stop(self) -> None:
        """End it gracefully, as a pod deletion does, then by force."""
        if self._process:
            self._process.stop()

    def kill(self) -> None:
        """End it and whatever it has started at once, as a crash would."""
        if self._process:
            self._process.kill()

    def _start(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start a command with all of `environment`, which also holds the template's."""
        self._process = Process(
            self.name,
            command,
            run=self._run,
            log=self.log,
            directory=self._directory,
            environment=environment,
        )
