"""Programs started and stopped by process id, so that nothing is ever left running.

Each program leads a session of its own and leaves a pid file. It carries the folder of those pid
files in its environment: whoever sweeps up after a crash kills only processes with that mark, so
a process id that the system has meanwhile given to somebody else is safe.
"""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

MARK = "LAB_RUN_DIRECTORY"
"""The environment variable that tells which lab a process belongs to."""

_POLL = 0.02


class Process:
    """One running program. `name` names its pid file and, unless told otherwise, its log."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        run: Path,
        log: Path,
        directory: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self._pid_file = run / f"{name}.pid"
        run.mkdir(parents=True, exist_ok=True)
        log.parent.mkdir(parents=True, exist_ok=True)
        base = {key: os.environ[key] for key in ("PATH", "HOME", "LANG", "TZ") if key in os.environ}
        with log.open("ab") as output:
            self._child = subprocess.Popen(
                list(command),
                cwd=directory,
                env={**base, **(environment or {}), MARK: str(run)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._pid_file.write_text(f"{self._child.pid}\n", encoding="ascii")

    @property
    def pid(self) -> int:
        """The process id, which is also its session and process group."""
        return self._child.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative for a signal, as in `subprocess`."""
        return self._child.poll()

    def stop(self, grace: float = 5.0) -> None:
        """Ask it to end, then, `grace` seconds later, end it and whatever it has started."""
        if self._child.poll() is None:
            self._child.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(grace)
        self.kill()

    def kill(self) -> None:
        """End it and whatever it has started, at once."""
        _kill_session(self._child.pid, signal.SIGKILL)
        self._child.wait()
        self._pid_file.unlink(missing_ok=True)

    def tail(self, lines: int = 12) -> str:
        """The last lines of its log, for an error message."""
        return tail(self.log, lines)


def tail(log: Path, lines: int = 12) -> str:
    """The last `lines` lines of a log file; empty when there is none."""
    if not log.is_file():
        return ""
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


def living(run: Path) -> dict[str, list[int]]:
    """Process ids that the pid files in `run` still account for, by program name."""
    found: dict[str, list[int]] = {}
    for pid_file in sorted(run.glob("*.pid")):
        members = _members(_read(pid_file), run)
        if members:
            found[pid_file.stem] = members
    return found


def sweep(run: Path, grace: float = 5.0) -> list[str]:
    """End every process that the pid files in `run` account for; the names of those that lived."""
    names = list(living(run))
    sessions = [_read(pid_file) for pid_file in sorted(run.glob("*.pid"))]
    for signum in (signal.SIGTERM, signal.SIGKILL):
        pids = [pid for session in sessions for pid in _members(session, run)]
        for pid in pids:
            _signal(pid, signum)
        deadline = time.monotonic() + grace
        while any(map(_is_alive, pids)) and time.monotonic() < deadline:
            time.sleep(_POLL)
    for pid_file in run.glob("*.pid"):
        pid_file.unlink(missing_ok=True)
    return names


def _read(pid_file: Path) -> int:
    try:
        return int(pid_file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return -1


def _members(session: int, run: Path) -> list[int]:
    """The processes of a session that carry the mark of `run`."""
    mark = f"{MARK}={run}".encode()
    return [pid for pid in _session(session) if mark in _environment(pid)]


def _session(session: int) -> list[int]:
    entries = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in entries if _stat(pid)[3] == str(session) and _is_alive(pid)]


def _is_alive(pid: int) -> bool:
    """Tell whether a process still holds anything: a zombie does while a thread of it dies."""
    if _stat(pid)[0] not in "ZX":
        return True
    try:
        return len(list(Path(f"/proc/{pid}/task").iterdir())) > 1
    except OSError:
        return False


def _stat(pid: int) -> list[str]:
    """State, parent, process group, session; state X when there is no such process."""
    try:
        # The command may hold blanks and parentheses: fields start after the last ")".
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:4]
    except OSError:
        return ["X", "0", "0", "0"]


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def _kill_session(session: int, signum: signal.Signals) -> None:
    for pid in _session(session):
        _signal(pid, signum)


def _signal(pid: int, signum: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signum)
