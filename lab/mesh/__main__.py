"""The local cluster from the command line: `python -m lab.mesh up | down | status`.

`up` starts it in the background from what the local cloud says and returns when every pod serves;
what cannot start yet (no mesh profile, no access to the vault) is shown, not waited for. `down`
leaves no process and no port behind, also after a crash.
"""

import argparse
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab import layout
from lab.azure import data_plane
from lab.mesh import processes
from lab.mesh.cluster_status import describe
from lab.mesh.errors import MeshError
from lab.mesh.mesh import Mesh
from lab.programs import BuildError, ensure, envoy

_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_LEFTOVER_SECONDS = 2.0
_STATUS_SECONDS = 1.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when it did what it says, 1 with one line of why not."""
    options = _options(arguments)
    state = Path(options.state).resolve()
    try:
        match options.command:
            case "up":
                return _up(state, options)
            case "run":
                return _run(state, options)
            case "down":
                return _down(state)
            case _:
                return _status(state, as_json=options.json)
    except (MeshError, BuildError) as error:
        print(f"lab.mesh: {error}", file=sys.stderr)
        return 1


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m lab.mesh", description=__doc__)
    parser.add_argument(
        "--state",
        default=os.environ.get("LAB_STATE", layout.STATE),
        help="the lab's state directory (default: $LAB_STATE, else .lab/state)",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (("up", "start in the background"), ("run", "run in the foreground")):
        command = commands.add_parser(name, help=text)
        command.add_argument("--cluster", help="its name, when the local cloud has several")
        command.add_argument("--pods", type=int, default=4, help="workload pods (default: 4)")
        command.add_argument("--istiods", type=int, default=2, help="replicas (default: 2)")
        command.add_argument(
            "--leaf-ttl", type=float, default=60.0, help="seconds a leaf lives (default: 60)"
        )
        command.add_argument("--rate", type=float, default=20.0, help="requests per second")
    commands.add_parser("down", help="stop everything")
    status = commands.add_parser("status", help="show pods, istiod's certificates, traffic")
    status.add_argument("--json", action="store_true")
    return parser.parse_args(arguments)


def _up(state: Path, options: argparse.Namespace) -> int:
    supervisor = _supervisor(state)
    if processes.living(supervisor):
        print("the local cluster runs already")
        return _status(state, as_json=False)
    if not data_plane.mesh(state):
        raise MeshError(f"there is no managed cluster in the local cloud at {state}: run `make up`")
    # Here and not in the background, so that a build that takes minutes is seen.
    ensure()
    envoy()
    _status_file(state).unlink(missing_ok=True)
    chosen = ["--cluster", options.cluster] if options.cluster else []
    process = processes.Process(
        "mesh",
        [
            sys.executable,
            "-m",
            "lab.mesh",
            "--state",
            str(state),
            "run",
            *chosen,
            f"--pods={options.pods}",
            f"--istiods={options.istiods}",
            f"--leaf-ttl={options.leaf_ttl}",
            f"--rate={options.rate}",
        ],
        run=supervisor,
        log=supervisor / "mesh.log",
        directory=layout.ROOT,
    )
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.exit_code is not None:
            _down(state)
            raise MeshError(f"the local cluster did not start:\n{process.tail()}")
        status = _read_status(state)
        if status and (status["ready"] or _cannot_get_ready(status)):
            break
        time.sleep(0.1)
    return _status(state, as_json=False)


def _run(state: Path, options: argparse.Namespace) -> int:
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    with Mesh(
        state,
        cluster=options.cluster,
        pods=options.pods,
        istiods=options.istiods,
        leaf_ttl=options.leaf_ttl,
        rate=options.rate,
        # Pods of a cluster that runs for hours drift apart by themselves.
        spread=0.5,
    ) as mesh:
        while not stopped.wait(_STATUS_SECONDS):
            if mesh.error is not None:
                raise mesh.error
            _write_status(state, {**mesh.status(), "ready": mesh.is_ready})
    return 0


def _down(state: Path) -> int:
    ended = processes.sweep(_supervisor(state), _STOP_SECONDS)
    # After a crash of the supervisor its programs are still there.
    ended += processes.sweep(state / "run", _LEFTOVER_SECONDS)
    _status_file(state).unlink(missing_ok=True)
    print("the local cluster is down" if ended else "the local cluster was not running")
    return 0


def _status(state: Path, *, as_json: bool) -> int:
    status = _read_status(state)
    if status is None or not processes.living(_supervisor(state)):
        print("lab.mesh: the local cluster is not running: `make mesh`", file=sys.stderr)
        return 1
    print(json.dumps(status, indent=2) if as_json else describe(status))
    return 0


def _cannot_get_ready(status: dict[str, Any]) -> bool:
    """Nothing to wait for: no mesh yet, or an istiod whose volume cannot be mounted."""
    stalled = any(each["reason"] == "FailedMount" for each in status["events"])
    return stalled or not status["mesh"]


def _supervisor(state: Path) -> Path:
    """Where the background process leaves its pid: apart, for it sweeps the other folder."""
    return state / "run" / "supervisor"


def _status_file(state: Path) -> Path:
    return _supervisor(state) / "status.json"


def _write_status(state: Path, status: dict[str, Any]) -> None:
    path = _status_file(state)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(status), encoding="utf-8")
    fresh.replace(path)


def _read_status(state: Path) -> dict[str, Any] | None:
    try:
        content: dict[str, Any] = json.loads(_status_file(state).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return content


if __name__ == "__main__":
    raise SystemExit(main())
