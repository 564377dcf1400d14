"""`pulumi up` with workloads to restart: the real engine, a real API server, scripted istiods."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import Pod

from lab import layout
from meshca.restarts import ANNOTATION, FIELD_MANAGER
from tests.cluster import stack
from tests.cluster.plane import Plane, managers, pods, workload
from tests.cluster.stack import Meshed
from tests.engine.workspace import Workspace

pytestmark = pytest.mark.cluster

CREDENTIALS = "managedClusters/listClusterUserCredential"
DISTRIBUTE, SWITCH, RETIRE = "distribute a1 b1", "switch a1 b1", "retire a1 b1"


def annotation(meshed: Meshed) -> str | None:
    """Return what the workload `web` was last restarted for."""
    live = meshed.plane.client.get(Deployment, "web", namespace=meshed.namespace)
    assert live.spec is not None
    assert live.spec.template.metadata is not None
    return (live.spec.template.metadata.annotations or {}).get(ANNOTATION)


def test_a_root_rotation_restarts_once_for_each_change(meshed: Meshed) -> None:
    """Distribute, switch and retire each are one rollout and make the next move legal at once."""
    rollouts = [meshed.rollouts()]
    for stance in (DISTRIBUTE, SWITCH, RETIRE, "steady b1"):
        meshed.want(stance, workloads=[meshed.web()])
        meshed.done()
        rollouts.append(meshed.rollouts())
    assert rollouts == [1, 2, 3, 4, 4]


def test_a_move_of_the_chain_alone_restarts_nothing(meshed: Meshed) -> None:
    """An intermediate rotation restarts only for its switch: trust and signer are what count."""
    meshed.want("distribute a1 a2", workloads=[meshed.web()])
    meshed.done()
    assert (meshed.rollouts(), meshed.stack.ledger()["restarts"]) == (1, None)


def test_a_preview_shows_the_restart_without_asking_the_cluster(meshed: Meshed) -> None:
    """Where CI cannot reach the cluster, nor AKS hands out access, the pull request shows it."""
    (meshed.stack.state / "kubeconfig").write_text(
        meshed.plane.kubeconfig.replace(":6443", ":6444")
    )
    meshed.want(DISTRIBUTE, workloads=[meshed.web()])
    preview = meshed.stack.preview()
    assert preview.code == 0, preview.output
    assert f"DeploymentPatch restart-deployment-{meshed.namespace}-web create" in preview.output
    assert meshed.stack.cloud.requests(CREDENTIALS, outcome=None) == []


@pytest.fixture
def lagging(meshed: Meshed) -> Meshed:
    """A mesh with a pod that belongs to no workload, after the move to `distribute`."""
    meshed.plane.apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "alone", "namespace": meshed.namespace},
            "spec": {"containers": [{"name": "istio-proxy", "image": "x"}]},
        }
    )
    meshed.want(DISTRIBUTE, workloads=[meshed.web()])
    meshed.done()
    return meshed


def test_an_older_pod_is_named_and_the_next_move_waits(lagging: Meshed) -> None:
    """It may hold the old trust for as long as leaves live."""
    ledger = lagging.stack.ledger()
    lagging.want(SWITCH)
    refused = lagging.stack.preview()
    assert ledger["restarts"]["laggards"] == [f"{lagging.namespace}/alone"]
    assert ledger["propagation"] == "waiting"
    assert refused.code != 0
    assert refused.errors[0].startswith("signs-too-early: ")


def test_once_the_older_pod_is_gone_another_up_makes_the_next_move_legal(lagging: Meshed) -> None:
    """It asks again, and restarts nothing a second time."""
    stack.gone(lagging.plane, Pod, "alone", lagging.namespace)
    lagging.done()
    ledger = lagging.stack.ledger()
    assert (ledger["restarts"]["laggards"], ledger["propagation"]) == ([], "restarts")
    assert lagging.rollouts() == 2
    lagging.want(SWITCH)
    assert lagging.stack.preview().code == 0


def test_a_workload_added_for_an_older_pod_restarts_in_the_next_up(meshed: Meshed) -> None:
    """Whoever reads of the laggards adds their workload and runs `up` again."""
    other = {"namespace": meshed.namespace, "kind": "Deployment", "name": "other"}
    meshed.plane.apply(workload("Deployment", meshed.namespace, "other", meshed=True))
    meshed.rollouts("other")
    meshed.want(DISTRIBUTE, workloads=[meshed.web()])
    meshed.done()
    assert len(meshed.stack.ledger()["restarts"]["laggards"]) == 1
    meshed.stack.change(workloads=[meshed.web(), other])
    meshed.done()
    assert (meshed.rollouts(), meshed.rollouts("other")) == (2, 2)
    assert meshed.stack.ledger()["propagation"] == "restarts"


def test_when_istiod_does_not_follow_nothing_restarts(meshed: Meshed) -> None:
    """After the timeout the `up` fails with what it expected and saw; the ledger stays."""
    before = meshed.stack.ledger()
    meshed.want(DISTRIBUTE, workloads=[meshed.web()], restartTimeout="3s")
    failed = meshed.stack.up()
    assert failed.code != 0
    assert "CA: waiting for istiod (" in failed.output
    assert "not-shown: the secrets are written, but 3s later istiod does not show" in failed.output
    assert f"{meshed.istiods.pods[0]} has not said yet what it serves" in failed.output
    assert meshed.stack.ledger() == before
    assert meshed.rollouts() == 1


def test_an_up_that_failed_is_finished_by_the_next(meshed: Meshed) -> None:
    """With one restart in all, and the next move legal at once."""
    meshed.want(DISTRIBUTE, workloads=[meshed.web()], restartTimeout="3s")
    assert meshed.stack.up().code != 0
    meshed.stack.change(restartTimeout="30s")
    meshed.done()
    assert (meshed.rollouts(), meshed.stack.ledger()["propagation"]) == (2, "restarts")


def test_a_workload_that_never_gets_ready_fails_the_up(meshed: Meshed) -> None:
    """By its own timeout, with what its rollout lacks; the ledger stays as it was."""
    before = meshed.stack.ledger()
    meshed.plane.hold(meshed.namespace)
    meshed.want(DISTRIBUTE, workloads=[meshed.web()], restartTimeout="5s")
    failed = meshed.up()
    assert failed.code != 0
    assert f"'{meshed.namespace}/web' failed to fully initialize" in failed.output
    assert meshed.stack.ledger() == before


def test_a_workload_that_gets_ready_late_is_not_restarted_twice(meshed: Meshed) -> None:
    """The next `up` goes on from the moment of the first, so its pod is no laggard either."""
    meshed.plane.hold(meshed.namespace)
    meshed.want(DISTRIBUTE, workloads=[meshed.web()], restartTimeout="5s")
    assert meshed.up().code != 0
    meshed.plane.let_go(meshed.namespace)
    meshed.done()
    made = meshed.stack.ledger()["restarts"]
    assert (meshed.rollouts(), made["laggards"]) == (2, [])


def test_restarts_of_an_interrupted_up_are_said_not_to_count(meshed: Meshed) -> None:
    """What the console says of them agrees with the ledger: this move waits out the leaves."""
    meshed.plane.hold(meshed.namespace)
    meshed.want(DISTRIBUTE, workloads=[meshed.web()], restartTimeout="5s")
    assert meshed.up().code != 0
    meshed.plane.let_go(meshed.namespace)
    said = meshed.done().output
    assert meshed.stack.ledger()["propagation"] == "waiting"
    assert "by a `pulumi up` that was interrupted" in said
    assert "no meshed pod is older" not in said


@pytest.mark.parametrize(
    ("workload", "line"),
    [
        (
            {"kind": "Deployment", "name": "wbe"},
            "workload-missing: Deployment {ns}/wbe does not exist. Correct it in `workloads`, or "
            "take it out.",
        ),
        (
            {"kind": "StatefulSet", "name": "web"},
            "workload-missing: StatefulSet {ns}/web does not exist. Correct it in `workloads`, or "
            "take it out.",
        ),
    ],
    ids=["misspelt", "another kind"],
)
def test_a_workload_that_does_not_exist_is_refused_before_any_secret_is_written(
    meshed: Meshed, workload: dict[str, Any], line: str
) -> None:
    """By its name, not as the API server would put it afterwards."""
    meshed.want(DISTRIBUTE, workloads=[{"namespace": meshed.namespace, **workload}])
    with meshed.stack.writes() as writes:
        refused = meshed.stack.up()
    assert refused.errors == [line.format(ns=meshed.namespace)]
    assert writes == []


def as_user(meshed: Meshed, name: str) -> None:
    """Let the stack restart workloads as another user of the cluster."""
    meshed.stack.set_secret("cluster.kubeconfig", meshed.plane.user(name))


def test_a_namespace_that_is_forbidden_is_refused_before_any_secret_is_written(
    meshed: Meshed,
) -> None:
    """Whoever may look but not patch there is told what is lacking."""
    meshed.plane.allow("looker", None, ["get", "list"], ["pods", "pods/log", "configmaps"])
    meshed.want(DISTRIBUTE, workloads=[meshed.web()])
    as_user(meshed, "looker")
    with meshed.stack.writes() as writes:
        refused = meshed.stack.up()
    assert refused.errors[0].startswith(
        f"workload-forbidden: Deployment {meshed.namespace}/web may not be restarted"
    )
    assert writes == []


def test_whoever_may_not_look_is_refused_before_any_secret_is_written(meshed: Meshed) -> None:
    """Without seeing pods and trust there would be no evidence."""
    meshed.want(DISTRIBUTE, workloads=[meshed.web()])
    as_user(meshed, "blind")
    with meshed.stack.writes() as writes:
        refused = meshed.stack.up()
    assert refused.errors[0].startswith("cluster-forbidden: ")
    assert writes == []


def test_a_cluster_that_is_away_is_refused_before_any_secret_is_written(meshed: Meshed) -> None:
    """With the way out: wait instead."""
    (meshed.stack.state / "kubeconfig").write_text(
        meshed.plane.kubeconfig.replace(":6443", ":6444")
    )
    meshed.want(DISTRIBUTE, workloads=[meshed.web()])
    with meshed.stack.writes() as writes:
        refused = meshed.stack.up()
    assert refused.errors[0].startswith("cluster-unreachable: ")
    assert "set `workloads: []` to wait instead" in refused.errors[0]
    assert writes == []


def test_an_api_server_that_goes_away_meanwhile_is_waited_for(meshed: Meshed) -> None:
    """While istiod is watched; then the restart takes place as if nothing had been."""
    meshed.want(DISTRIBUTE, workloads=[meshed.web()])
    with meshed.stack.writes() as writes, meshed.stack.up_in_background() as running:
        seen = len(meshed.stack.cloud.requests(outcome=None))
        deadline = time.monotonic() + 30.0
        while not any(
            request.operation == "secrets/write" and request.id.endswith("/cert-chain")
            for request in meshed.stack.cloud.requests(outcome=None)[seen:]
        ):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        meshed.plane.restart_api(2.0)
        with meshed.istiods.following(meshed.stack.state):
            assert running.wait(60) == 0
    assert "secrets/cert-chain" in writes
    assert meshed.stack.ledger()["propagation"] == "restarts"
    assert meshed.rollouts() == 2


def test_without_workloads_nothing_of_it_is_there(meshed: Meshed) -> None:
    """No provider, no patch, no evidence: the window passes by waiting."""
    meshed.want(DISTRIBUTE, workloads=[])
    meshed.stack.done()
    ledger = meshed.stack.ledger()
    assert (ledger["restarts"], ledger["propagation"]) == (None, "waiting")
    assert not any("kubernetes" in name for name in meshed.stack.resources())


@pytest.fixture(scope="module")
def moved(
    plane: Plane, steady: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Meshed, str]]:
    """A mesh after one `up` to `distribute`, and what that said; nobody may change it."""
    copy = steady.copy(tmp_path_factory.mktemp("moved") / "stack")
    namespace = plane.namespace()
    with stack.meshed(copy, plane, namespace) as made:
        for kind in ("StatefulSet", "DaemonSet"):
            plane.apply(workload(kind, namespace, kind.lower(), labels={"t": "x"}, meshed=True))
        selected = {"namespace": namespace, "selector": {"t": "x"}}
        made.want(DISTRIBUTE, workloads=[made.web(), selected])
        yield made, made.done().output
    plane.empty(namespace)


@pytest.fixture(scope="module")
def after(moved: tuple[Meshed, str]) -> Meshed:
    """The mesh of `moved`."""
    return moved[0]


def test_every_pod_was_restarted_for_it(after: Meshed) -> None:
    """By name and by selector, of every kind."""
    found = {
        (pod.metadata.annotations or {}).get(ANNOTATION)
        for pod in pods(after.plane, after.namespace)
        if pod.metadata
    }
    assert found == {annotation(after)}


def test_the_ledger_tells_what_was_restarted(after: Meshed) -> None:
    """With the digest that the pods carry."""
    ledger = after.stack.ledger()
    made, here = ledger["restarts"], after.namespace
    assert (ledger["propagation"], made["laggards"]) == ("restarts", [])
    assert made["digest"] == annotation(after)
    assert made["workloads"] == [
        f"DaemonSet {here}/daemonset",
        f"StatefulSet {here}/statefulset",
        f"Deployment {here}/web",
    ]


def test_the_console_tells_the_progress(moved: tuple[Meshed, str]) -> None:
    """When istiod shows the change, and what came of the restarts."""
    _, said = moved
    assert "CA: every istiod shows `distribute a1 b1`; 3 workloads restart." in said
    assert "CA: 3 workloads restarted; no meshed pod is older than " in said


def test_the_next_move_is_legal_at_once(after: Meshed, tmp_path: Path) -> None:
    """Although leaves live for 24 hours."""
    copy = after.stack.copy(tmp_path / "stack")
    copy.want(SWITCH)
    assert copy.preview().code == 0


def test_an_up_without_a_change_changes_nothing(after: Meshed) -> None:
    """It needs no istiod either: nothing is waited for."""
    again = after.stack.done()
    assert after.rollouts() == 2
    assert "unchanged" in again.output
    assert "updated" not in again.output
    assert "created" not in again.output


def test_a_preview_without_a_change_shows_none(after: Meshed) -> None:
    """Although selectors are not asked for again."""
    preview = after.stack.preview("--expect-no-changes")
    assert preview.code == 0, preview.output


def test_only_an_up_is_handed_the_kubeconfig(after: Meshed, tmp_path: Path) -> None:
    """Whoever may only look needs no right to it, whether restarts are recorded or to come."""
    copy = after.stack.copy(tmp_path / "stack")
    asked = copy.cloud.requests(CREDENTIALS, outcome=None)
    copy.preview()
    copy.want(SWITCH)
    preview = copy.preview()
    assert preview.code == 0, preview.output
    assert asked == copy.cloud.requests(CREDENTIALS, outcome=None) != []


def test_drift_asks_the_cluster_nothing(after: Meshed) -> None:
    """The nightly job needs no kubeconfig, and no way to the cluster: the restarts are left out."""
    ended = subprocess.run(
        [layout.ROOT / ".github" / "scripts" / "drift", after.stack.stack],
        cwd=after.stack.directory,
        env=after.stack.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "DeploymentPatch" not in ended.stdout


def test_whoever_owns_the_workload_goes_on_owning_it(after: Meshed) -> None:
    """Another apply of its own manifest neither conflicts nor restarts it."""
    after.plane.apply(workload("Deployment", after.namespace, "web", meshed=True))
    assert after.rollouts() == 2


def test_no_field_manager_is_left_behind(after: Meshed) -> None:
    """The annotation stays, without an owner."""
    live = after.plane.client.get(Deployment, "web", namespace=after.namespace)
    assert FIELD_MANAGER not in managers(live)


def test_destroy_restarts_nothing(after: Meshed, tmp_path: Path) -> None:
    """And leaves no field manager behind either."""
    copy = after.stack.copy(tmp_path / "stack")
    state = copy.exported()
    for resource in state["deployment"]["resources"]:
        resource.pop("protect", None)
    copy.run("stack", "import", given=json.dumps(state))
    copy.run("destroy", "--yes", "--skip-preview")
    live = after.plane.client.get(Deployment, "web", namespace=after.namespace)
    assert FIELD_MANAGER not in managers(live)
    assert (after.rollouts(), annotation(after) is None) == (2, False)


def test_a_workload_added_later_is_left_alone(after: Meshed, tmp_path: Path) -> None:
    """What is long in force needs no restart; the next change gets one."""
    other = {"namespace": after.namespace, "kind": "Deployment", "name": "other"}
    after.plane.apply(workload("Deployment", after.namespace, "other"))
    copy = after.stack.copy(tmp_path / "stack")
    copy.change(workloads=[after.web(), other])
    copy.done()
    assert after.rollouts("other") == 1


def test_the_kubeconfig_is_nowhere_in_plain_text(moved: tuple[Meshed, str]) -> None:
    """Neither in the state, nor in outputs, nor on the console."""
    meshed, said = moved
    key = json.loads(meshed.plane.kubeconfig)["users"][0]["user"]["client-key-data"]
    state = json.dumps(meshed.stack.exported())
    assert "restarts-kubernetes" in state
    for place in (said, state, json.dumps(meshed.stack.outputs())):
        assert key not in place
        assert "client-key-data" not in place
