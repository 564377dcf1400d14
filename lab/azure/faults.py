"""Faults on demand, set from outside the program: `python -m lab.azure.faults --help`.

A fault waits for an operation (`secrets/write`, `secrets/get`, `managedClusters/write`, ...) on a
resource whose id matches a glob, and strikes at the `first`-th such call counted from when it was
set, `times` times (None: for ever). Operations:

    resourceGroups  vaults  accessPolicies  roleAssignments  managedClusters  eventSubscriptions
                                                   /read /write /delete
    secrets/read, secrets/write                        through ARM, by azure-native
    secrets/get, secrets/delete, secrets/recover       on the vault's data plane
    managedClusters/listClusterUserCredential

What a fault can do: wait (`latency`), answer an error before or after the write took place
(`error`, `throttle`), let access granted by the call count late (`delay_access`), hold the call
until released (`pause`), end the plug-in or signal another process (`kill`).
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from lab.azure.errors import AzureError
from lab.azure.store import Store

_POLL_SECONDS: Final = 0.02
_PAUSE_SECONDS: Final = 300.0
"""A pause that nobody releases ends by itself, so that no engine hangs for ever."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What a fault does when it strikes. `after`: once the request's effects are committed."""

    after: bool = False
    sleep_seconds: float = 0.0
    status: int = 0
    code: str = ""
    message: str = ""
    pause: bool = False
    signal_number: int = 0
    process: int = 0
    """The process to signal; 0 is the one that makes the request."""
    delays_access: bool = False
    access_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault as it was set, and how many calls have matched it so far."""

    number: int
    operation: str
    resource: str
    first: int
    times: int | None
    effect: Effect
    calls: int
    released: bool


def latency(
    state: Path, operation: str, seconds: float, *, resource: str = "*", times: int | None = None
) -> int:
    """Let every call take `seconds` longer. Returns the fault's number."""
    return _add(state, operation, resource, 1, times, Effect(sleep_seconds=seconds))


def error(
    state: Path,
    operation: str,
    code: str,
    message: str,
    *,
    status: int = 500,
    after: bool = False,
    resource: str = "*",
    first: int = 1,
    times: int | None = 1,
) -> int:
    """Answer with an error at the `first`-th call; `after`: the write takes place all the same."""
    effect = Effect(after=after, status=status, code=code, message=message)
    return _add(state, operation, resource, first, times, effect)


def throttle(
    state: Path,
    operation: str = "secrets/get",
    *,
    status: int = 429,
    resource: str = "*",
    first: int = 1,
    times: int | None = None,
) -> int:
    """Answer 429 (throttled) or 503 (unavailable), as Key Vault does beyond its limits."""
    codes = {
        429: ("Throttled", "Request was not processed because too many requests were received."),
        503: ("ServiceUnavailable", "The service is temporarily unavailable. Retry later."),
    }
    if status not in codes:
        raise ValueError(f"throttle: status {status} is neither 429 nor 503")
    code, message = codes[status]
    return error(
        state, operation, code, message, status=status, resource=resource, first=first, times=times
    )


def delay_access(
    state: Path, seconds: float | None, *, resource: str = "*", times: int | None = None
) -> list[int]:
    """Let access granted from now on count only after `seconds` (None: until `release`)."""
    effect = Effect(delays_access=True, access_seconds=seconds)
    return [
        _add(state, operation, resource, 1, times, effect)
        for operation in ("accessPolicies/write", "roleAssignments/write")
    ]


def pause(
    state: Path,
    operation: str,
    *,
    after: bool = True,
    resource: str = "*",
    first: int = 1,
    times: int | None = 1,
) -> int:
    """Hold the `first`-th call, after its write by default, until `release` (or 300 seconds)."""
    return _add(state, operation, resource, first, times, Effect(after=after, pause=True))


def kill(
    state: Path,
    operation: str,
    *,
    process: int = 0,
    signal_number: int = signal.SIGKILL,
    after: bool = True,
    resource: str = "*",
    first: int = 1,
) -> int:
    """Signal a process at the `first`-th call, after its write by default; 0: the caller itself."""
    effect = Effect(after=after, signal_number=signal_number, process=process)
    return _add(state, operation, resource, first, 1, effect)


def release(state: Path, number: int | None = None) -> None:
    """Let paused calls go on and late access count: those of one fault, or (None) all."""
    with Store(state).connect() as database:
        database.execute(
            "UPDATE faults SET released = 1 WHERE ?1 IS NULL OR number = ?1", (number,)
        )
        if number is None or any(
            f.number == number and f.effect.delays_access for f in all_(state)
        ):
            database.execute("DELETE FROM late_grants")


def clear(state: Path) -> None:
    """Release everything and forget all faults."""
    release(state)
    with Store(state).connect() as database:
        database.execute("DELETE FROM faults")


def all_(state: Path) -> list[Fault]:
    """Return the faults that are set, with their call counts."""
    with Store(state).connect() as database:
        return _read(database)


def wait_until_struck(state: Path, number: int, timeout: float = 60.0) -> bool:
    """Wait until a fault has struck for the first time; False when it has not within `timeout`."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if any(f.number == number and f.calls >= f.first for f in all_(state)):
            return True
        time.sleep(_POLL_SECONDS)
    return False


def due(store: Store, operation: str, resource_id: str) -> list[Fault]:
    """Count this call against the faults it matches and return those that it meets."""
    with store.connect() as database:
        if not _read(database):
            return []
    met = []
    with store.write() as database:
        for fault in _read(database):
            if not (
                fnmatch.fnmatchcase(operation, fault.operation)
                and fnmatch.fnmatchcase(resource_id.lower(), fault.resource.lower())
            ):
                continue
            call = fault.calls + 1
            database.execute("UPDATE faults SET calls = ? WHERE number = ?", (call, fault.number))
            if fault.first <= call and (fault.times is None or call < fault.first + fault.times):
                met.append(fault)
    return met


def strike(store: Store, due_faults: Sequence[Fault], *, after: bool) -> None:
    """Do what the faults say; raises AzureError for one that answers with an error."""
    for fault in due_faults:
        effect = fault.effect
        if effect.after != after:
            continue
        if effect.sleep_seconds:
            time.sleep(effect.sleep_seconds)
        if effect.pause:
            _wait_for_release(store, fault.number)
        if effect.signal_number:
            os.kill(effect.process or os.getpid(), effect.signal_number)
        if effect.code:
            raise AzureError(effect.status, effect.code, effect.message, after_effect=after)


def _wait_for_release(store: Store, number: int) -> None:
    deadline = time.monotonic() + _PAUSE_SECONDS
    while time.monotonic() < deadline:
        with store.connect() as database:
            row = database.execute(
                "SELECT released FROM faults WHERE number = ?", (number,)
            ).fetchone()
        if row is None or row[0]:
            return
        time.sleep(_POLL_SECONDS)


def _read(database: sqlite3.Connection) -> list[Fault]:
    rows = database.execute("SELECT * FROM faults ORDER BY number").fetchall()
    return [
        Fault(
            number,
            operation,
            resource,
            first,
            times,
            Effect(**json.loads(effect)),
            calls,
            bool(released),
        )
        for number, operation, resource, first, times, effect, calls, released in rows
    ]


def _add(
    state: Path, operation: str, resource: str, first: int, times: int | None, effect: Effect
) -> int:
    if first < 1 or (times is not None and times < 1):
        raise ValueError("a fault's first call and its number of calls start at 1")
    with Store(state).connect() as database:
        cursor = database.execute(
            "INSERT INTO faults (operation, resource, first, times, effect) VALUES (?, ?, ?, ?, ?)",
            (operation, resource, first, times, json.dumps(asdict(effect))),
        )
        return int(cursor.lastrowid or 0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Set, list, release or clear faults from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m lab.azure.faults",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--state",
        type=Path,
        default=os.environ.get("LAB_STATE"),
        help="the lab's state directory (default: $LAB_STATE)",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="show the faults that are set")
    commands.add_parser("clear", help="release everything and forget all faults")
    released = commands.add_parser("release", help="let paused calls go on")
    released.add_argument("number", type=int, nargs="?")
    late = commands.add_parser("delay-access", help="let access granted from now on count late")
    late.add_argument("seconds", type=float, nargs="?", help="default: until released")
    for name, text in (
        ("latency", "let calls take longer"),
        ("error", "answer with an error"),
        ("throttle", "answer 429 or 503"),
        ("pause", "hold a call until released"),
        ("kill", "signal a process at a call"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("operation")
        command.add_argument("--resource", default="*", help="glob over the resource's id")
        command.add_argument("--first", type=int, default=1, help="strike at this call")
        if name != "kill":
            command.add_argument("--times", type=int, default=None)
        if name == "latency":
            command.add_argument("--seconds", type=float, required=True)
        if name in ("error", "throttle"):
            command.add_argument("--status", type=int, default=500 if name == "error" else 429)
        if name == "error":
            command.add_argument("--code", default="InternalServerError")
            command.add_argument("--message", default="A fault that the lab was asked for.")
            command.add_argument("--after", action="store_true", help="the write takes place")
        if name in ("pause", "kill"):
            command.add_argument("--before", action="store_true", help="before the write")
        if name == "kill":
            command.add_argument("--process", type=int, default=0, help="default: the plug-in")
            command.add_argument("--signal", type=int, default=int(signal.SIGKILL))
    options = parser.parse_args(arguments)
    if options.state is None:
        parser.error("no state directory: set LAB_STATE or give --state")
    return _run(options)


def _run(options: argparse.Namespace) -> int:
    state: Path = options.state
    match options.command:
        case "list":
            for fault in all_(state):
                print(
                    f"{fault.number}: {fault.operation} {fault.resource} calls={fault.calls}"
                    f" first={fault.first} times={fault.times} {fault.effect}"
                )
        case "clear":
            clear(state)
        case "release":
            release(state, options.number)
        case "delay-access":
            print(*delay_access(state, options.seconds))
        case "latency":
            print(
                latency(
                    state,
                    options.operation,
                    options.seconds,
                    resource=options.resource,
                    times=options.times,
                )
            )
        case "error":
            print(
                error(
                    state,
                    options.operation,
                    options.code,
                    options.message,
                    status=options.status,
                    after=options.after,
                    resource=options.resource,
                    first=options.first,
                    times=options.times or 1,
                )
            )
        case "throttle":
            print(
                throttle(
                    state,
                    options.operation,
                    status=options.status,
                    resource=options.resource,
                    first=options.first,
                    times=options.times,
                )
            )
        case "pause":
            print(
                pause(
                    state,
                    options.operation,
                    after=not options.before,
                    resource=options.resource,
                    first=options.first,
                    times=options.times or 1,
                )
            )
        case "kill":
            print(
                kill(
                    state,
                    options.operation,
                    process=options.process,
                    signal_number=options.signal,
                    after=not options.before,
                    resource=options.resource,
                    first=options.first,
                )
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
