"""What the real mesh costs: its start, its handshakes, and a root rotation with restarts."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from lightkube.resources.apps_v1 import Deployment

from bench.timing import Limit, Ratio, Result
from lab.mesh.mesh import Mesh
from lab.mesh.workloads import NAMESPACE
from tests.engine.workspace import Workspace
from tests.mesh import engine_stage

POLL: Final = 40.0
"""Seconds: a third of AKS's default, so that the program's own time weighs more than there.

A poll is what no rotation gets around. What the program waits beyond it, the slack included, counts
against it.
"""

PODS: Final = 4
ISTIODS: Final = 2
RATE: Final = 100.0
"""Requests per second while the rotation is measured."""

TOO_MANY: Final = 5000.0
"""Requests per second that no two cores serve, so that what is counted is what they can."""

COUNTED_SECONDS: Final = 10.0

RESTARTING: Final = ("distribute a1 b1", "switch a1 b1", "retire a1 b1")
"""Each changes the trust or the signer; the finish, `steady b1`, changes neither."""


def rotation(_: Path) -> Iterator[Result]:
    """Start of the cluster, handshakes per second, and a rotation over what it cannot avoid.

    Leaves live for a day as far as the stack knows: nothing is legal because time has passed.
    """
    settings = {
        "leafTtl": "24h",
        "cluster": {"rotationPollInterval": f"{POLL:.0f}s"},
        "workloads": [
            {"namespace": NAMESPACE, "kind": "Deployment", "name": f"app-{number}"}
            for number in range(PODS)
        ],
    }
    with engine_stage.converged(**settings) as (stack, _authorities):
        began = time.perf_counter()
        with _mesh(stack, TOO_MANY) as mesh:
            mesh.wait_until_ready()
            started = time.perf_counter() - began
            with mesh.phase("counting") as counted:
                mesh.let_pass(COUNTED_SECONDS)
        yield Limit(f"start of a cluster of {ISTIODS} istiods and {PODS} pods", started, 30.0)
        rate = counted.succeeded / counted.seconds
        # A figure without a bound: what the tests count with is far below it.
        print(f"{'handshakes per second, counted':<42} {'':>20} {rate:>9.0f}", flush=True)
        with _mesh(stack, RATE) as mesh:
            mesh.wait_until_ready()
            rollout = _seconds(lambda: _roll_out(mesh))
            with mesh.phase("rotation") as counted:
                began = time.perf_counter()
                for stance in (*RESTARTING, "steady b1"):
                    stack.want(stance)
                    stack.done()
                whole = time.perf_counter() - began
        assert counted.failed == 0, str(counted)
        floor = len(RESTARTING) * (POLL + rollout)
        yield Ratio("root rotation with restarts / polls, rollouts", whole, floor, 1.5)


def _mesh(stack: Workspace, rate: float) -> Mesh:
    return Mesh(stack.state, pods=PODS, istiods=ISTIODS, spread=0.0, rate=rate)


def _roll_out(mesh: Mesh) -> None:
    """Restart every workload with one patch each, as `kubectl rollout restart` does."""
    gone = {each.name for each in mesh.proxies}
    stamp = {"spec": {"template": {"metadata": {"annotations": {"restarted": "now"}}}}}
    for number in range(PODS):
        mesh.client.patch(Deployment, f"app-{number}", stamp, namespace=NAMESPACE)
    mesh.wait_for(
        lambda: mesh.is_ready and gone.isdisjoint(each.name for each in mesh.proxies),
        "the rollout of all workloads",
    )


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
