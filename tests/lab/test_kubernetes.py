"""The plug-in `kubernetes` without any API server: what it refuses, and what it still can do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from lab.kubernetes import rollouts
from lab.kubernetes.provider import Kubernetes
from lab.provider.values import UNKNOWN
from tests.lab.driver import Driver, State, driving, refused

DEPLOYMENT = "kubernetes:apps/v1:DeploymentPatch"
INPUTS: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "namespace": "shop"},
    "spec": {"template": {"metadata": {"annotations": {"a": "1"}}}},
}
STATE = State(
    DEPLOYMENT,
    "r",
    "shop/web",
    INPUTS,
    {**INPUTS, "__inputs": INPUTS, "__fieldManager": "us", "__initialApiVersion": "apps/v1"},
)
NOWHERE = """
{"clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
 "users": [{"name": "u", "user": {"token": "hush"}}],
 "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}], "current-context": "c"}
"""


@pytest.fixture
def kubernetes() -> Iterator[Driver]:
    """Return the plug-in, not configured."""
    with driving(Kubernetes()) as driver:
        yield driver


def test_it_accepts_secrets_and_previews(kubernetes: Driver) -> None:
    """As pulumi-kubernetes does, and without Handshake."""
    answer = kubernetes.configure(kubeconfig=NOWHERE)
    assert (answer.acceptSecrets, answer.supportsPreview) == (True, True)


@pytest.mark.parametrize(
    ("kubeconfig", "reason"),
    [
        ("", "no kubeconfig was given to the provider"),
        ("[", "failed to parse kubeconfig data - it is no kubeconfig"),
        ("{}", "failed to parse kubeconfig data - 'clusters'"),
        (NOWHERE, "Connection refused"),
    ],
    ids=["none", "no YAML", "empty", "nobody there"],
)
def test_without_an_api_server_nothing_can_be_created(
    kubernetes: Driver, kubeconfig: str, reason: str
) -> None:
    """A kubeconfig that is of no use fails the resource, not the configuration."""
    kubernetes.configure(kubeconfig=kubeconfig)
    with refused() as refusals:
        kubernetes.create(DEPLOYMENT, INPUTS)
    assert refusals[0].code is grpc.StatusCode.UNAVAILABLE
    assert refusals[0].message.startswith("configured Kubernetes cluster is unreachable: ")
    assert reason in refusals[0].message


def test_a_kubeconfig_is_never_shown(kubernetes: Driver) -> None:
    """Not even the part that makes it unreadable."""
    kubernetes.configure(kubeconfig="users: [{name: u, user: {token: [hush]}}]")
    with refused() as refusals:
        kubernetes.create(DEPLOYMENT, INPUTS)
    assert "hush" not in refusals[0].message


@pytest.mark.parametrize("news", [INPUTS, {**INPUTS, "spec": UNKNOWN}], ids=["known", "unknown"])
def test_a_preview_of_an_update_works_without_an_api_server(
    kubernetes: Driver, news: dict[str, Any]
) -> None:
    """It shows the inputs."""
    kubernetes.configure()
    previewed = kubernetes.update(STATE, news, preview=True)
    assert previewed.outputs["metadata"] == news["metadata"]


def test_a_patch_needs_a_name(kubernetes: Driver) -> None:
    """There is no naming by default of what exists already."""
    with refused() as refusals:
        kubernetes.check(DEPLOYMENT, {**INPUTS, "metadata": {"namespace": "shop"}})
    assert refusals[0].message == "patch resources require the `.metadata.name` field to be set"


@pytest.mark.parametrize(
    ("setting", "value"),
    [("enablePatchForce", "true"), ("enableServerSideApply", "false"), ("context", "other")],
)
def test_settings_beyond_the_model_are_refused(
    kubernetes: Driver, setting: str, value: str
) -> None:
    """By name, at Configure."""
    with refused() as refusals:
        kubernetes.configure(kubeconfig=NOWHERE, **{setting: value})
    assert f"does not model the provider setting '{setting}" in refusals[0].message


def test_other_resource_types_are_refused(kubernetes: Driver) -> None:
    """By name."""
    with refused() as refusals:
        kubernetes.check("kubernetes:core/v1:ConfigMap", INPUTS)
    assert "the resource type 'kubernetes:core/v1:ConfigMap'" in refusals[0].message


def live(kind: str, spec: dict[str, Any], **status: Any) -> dict[str, Any]:
    """Return a workload of generation 2."""
    return {"kind": kind, "metadata": {"generation": 2}, "spec": spec, "status": status}


ROLLED_OUT = [
    {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"},
    {"type": "Available", "status": "True"},
]


@pytest.mark.parametrize(
    ("workload", "missing"),
    [
        (
            live("Deployment", {"replicas": 1}, observedGeneration=1, conditions=ROLLED_OUT),
            ["the controller has not seen generation 2 yet"],
        ),
        (live("Deployment", {"replicas": 1}, observedGeneration=2, conditions=ROLLED_OUT), []),
        (
            live(
                "StatefulSet",
                {"replicas": 2},
                observedGeneration=2,
                updateRevision="b",
                currentRevision="a",
                updatedReplicas=1,
                readyReplicas=2,
            ),
            ["1 of 2 pods updated"],
        ),
        (
            live(
                "DaemonSet",
                {},
                observedGeneration=2,
                desiredNumberScheduled=3,
                updatedNumberScheduled=3,
                numberAvailable=2,
                numberReady=3,
            ),
            ["2 of 3 pods available"],
        ),
    ],
    ids=["not seen", "Deployment done", "StatefulSet half way", "DaemonSet not available"],
)
def test_a_rollout_is_done_when_its_controller_says_so(
    workload: dict[str, Any], missing: list[str]
) -> None:
    """By generation first, then by the rules of the kind."""
    assert rollouts.unfinished(workload) == missing
