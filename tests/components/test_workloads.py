"""What the restarts ask of the engine and of the cluster; the cluster is scripted."""

from __future__ import annotations

import base64
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pulumi
import pytest
from pulumi.runtime import mocks

from components import workloads
from lab import layout
from meshca import restarts
from meshca.cluster_view import ForbiddenError, MeshedPod, UnreachableError
from meshca.evidence import Expected, Named, Replica, Seen
from meshca.istiod_log import Served
from meshca.ledger import Attempt, Ledger, Restarts
from meshca.plan import Plan
from meshca.refusals import Refusal
from meshca.restarts import ANNOTATION, FIELD_MANAGER, Target
from meshca.rotation import Intermediate, Pace, Phase, Posture, posture
from meshca.settings import Settings, Workload, WorkloadKind, load
from tests.components.recorder import STASH, UNKNOWN, ProviderError, Run, Secret, deploy

NOW = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)
PACE = Pace(timedelta(hours=24), timedelta(minutes=2), timedelta(minutes=5))
A1, B1 = Intermediate("a1", "a"), Intermediate("b1", "b")
STEADY = posture(Phase.STEADY, A1)
DISTRIBUTE = posture(Phase.DISTRIBUTE, A1, B1)
LEDGER = Ledger(1, "steady a1", STEADY, NOW, PACE, mesh=True)
DIGEST = restarts.digest(DISTRIBUTE)
EXPECTED = Expected((Named("a", "aa"), Named("b", "bb")), Named("a1", "a1"), (Named("a1", "a1"),))
KUBECONFIG = "kind: Config # hush"

PROVIDER = "pulumi:providers:kubernetes"
DEPLOYMENT = "kubernetes:apps/v1:DeploymentPatch"
STATEFUL_SET = "kubernetes:apps/v1:StatefulSetPatch"
CREDENTIALS = "azure-native:containerservice:listManagedClusterUserCredentials"

WEB = {"namespace": "shop", "kind": "Deployment", "name": "web"}
DATABASE = {"namespace": "shop", "kind": "StatefulSet", "name": "db"}
ALL_OF_EDGE = {"namespace": "edge", "selector": {}}
WEB_TARGET = Target("shop", "web", WorkloadKind.DEPLOYMENT)


def configured(*wanted: dict[str, Any], **cluster: Any) -> Settings:
    """Settings with these workloads."""
    return load(
        {
            "aks-istio-ca:rotationPhase": "steady",
            "aks-istio-ca:activeIssuer": "a1",
            "aks-istio-ca:roots": {"a": {"generated": {}}},
            "aks-istio-ca:issuers": {"a1": {"root": "a"}},
            "aks-istio-ca:cluster": {
                "name": "mesh",
                "resourceGroup": "group",
                "revisions": ["asm-1-30"],
                "kubeconfig": KUBECONFIG,
                **cluster,
            },
            "aks-istio-ca:keyVault": {"name": "vault", "accessModel": "rbac"},
            "aks-istio-ca:workloads": list(wanted),
            "aks-istio-ca:restartTimeout": "7m",
        }
    )


def plan(wanted: Posture = DISTRIBUTE) -> Plan:
    """An admitted plan; its issuers can be told apart."""
    members: dict[str, Any] = {
        name: SimpleNamespace(name=name, certificate=None, root=name[:1])
        for name in ("a", "b", "a1", "b1")
    }
    return Plan(
        stance="distribute a1 b1",
        posture=wanted,
        pace=PACE,
        members=members,
        attempt=Attempt(1, "distribute a1 b1", wanted),
        moves=True,
        made_at=NOW,
        judged_at=NOW,
        override=None,
        admitted=(),
    )


@pytest.fixture(autouse=True)
def told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """The issuers of `plan` have different subjects, although no certificate is at hand."""
    monkeypatch.setattr(restarts, "told_apart", lambda settings, plan: True)


@dataclass
class View:
    """A cluster that shows what it is told to, and remembers what was asked of it."""

    looks: list[Seen | Exception] = field(default_factory=list)
    pods: list[list[MeshedPod]] = field(default_factory=lambda: [[]])
    refusals: dict[str, Refusal] = field(default_factory=dict)
    forbidden: str | None = None
    found: list[Target] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    kubeconfigs: list[str] = field(default_factory=list)
    now: datetime = NOW

    def __enter__(self) -> View:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def may_look(self) -> None:
        """Refuses what is forbidden."""
        self.asked.append("may look")
        if self.forbidden:
            raise ForbiddenError(self.forbidden)

    def look(self) -> Seen:
        """The next thing of the script; the last one for ever."""
        self.asked.append("look")
        found = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        if isinstance(found, Exception):
            raise found
        return found

    def clock(self) -> datetime:
        """The API server's time."""
        return self.now

    def meshed_pods(self) -> Iterator[MeshedPod]:
        """The next list of the script; the last one for ever."""
        self.asked.append("pods")
        yield from self.pods.pop(0) if len(self.pods) > 1 else self.pods[0]

    def matching(self, workload: Workload) -> list[Target]:
        """What the selectors find."""
        self.asked.append(f"matching {workload}")
        return self.found

    def why_not(self, target: Target) -> Refusal | None:
        """What is wrong with a workload."""
        self.asked.append(f"why not {target}")
        return self.refusals.get(str(target))

    def release(self, target: Target) -> None:
        """Remembers it."""
        self.asked.append(f"release {target}")


ALL_SHOW = Seen(
    (
        Replica(
            "istiod-0",
            (Served("CN=A1", "", "1eaf"), Served("CN=A", "CN=A1", "a1")),
        ),
    ),
    {"shop": ("aa", "bb")},
)


def pod(name: str, age: timedelta, *, ending: bool = False) -> MeshedPod:
    """A meshed pod that is older than NOW by `age`."""
    return MeshedPod("shop", name, NOW - age, ending, "ReplicaSet web-1")


@pytest.fixture
def view(monkeypatch: pytest.MonkeyPatch) -> View:
    """A cluster in which istiod shows everything and no pod is older."""
    made = View(looks=[ALL_SHOW])

    def connect(kubeconfig: str) -> View:
        made.kubeconfigs.append(kubeconfig)
        return made

    monkeypatch.setattr(workloads, "ClusterView", connect)
    monkeypatch.setattr(workloads, "LOOK_EVERY", timedelta(0))
    monkeypatch.setattr(workloads.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(workloads, "clock", lambda: NOW)
    return made


class Cloud(mocks.Mocks):
    """Applies patches as they are, and hands out a kubeconfig."""

    def __init__(self, credentials: str | Exception = KUBECONFIG) -> None:
        self.credentials = credentials
        self.invoked: list[dict[str, Any]] = []

    def call(self, args: mocks.MockCallArgs) -> Any:
        """Hands out the cluster's credentials."""
        assert args.token == CREDENTIALS
        self.invoked.append(args.args)
        if isinstance(self.credentials, Exception):
            raise self.credentials
        value = base64.b64encode(self.credentials.encode()).decode()
        return {"kubeconfigs": [{"name": "clusterUser", "value": value}]}

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        """A resource as it was asked for."""
        return f"{args.name}-id", dict(args.inputs)


@dataclass
class Outcome:
    """A run of the component, and what it made of the restarts."""

    run: Run
    made: Any = UNKNOWN

    def annotation(self, type_: str, name: str) -> Any:
        """The annotation that a patch carries."""
        spec = self.run.one(type_, name).inputs["spec"]
        return spec["template"]["metadata"]["annotations"][ANNOTATION]


def run(
    settings: Settings,
    *,
    wanted: Posture = DISTRIBUTE,
    ledger: Ledger | None = LEDGER,
    preview: bool = False,
    stash: Any = None,
    whole: bool = True,
    recorded: Attempt | None = None,
    cloud: Cloud | None = None,
) -> Outcome:
    """What the program does once the secrets are written."""
    outcome = Outcome(Run())
    secret = SimpleNamespace(tags={"sha256": "1"})
    issued = SimpleNamespace(shown=lambda: EXPECTED)

    def made(value: Any) -> None:
        outcome.made = value

    async def program() -> None:
        admitted = plan(wanted)
        prepared = await workloads.prepare(settings, admitted, ledger)
        if prepared is None:
            outcome.made = None
            return
        output = pulumi.Output.from_input
        bundle: Any = SimpleNamespace(
            issued=output(issued),
            described=output({"root-cert": secret}),
            written=output({"root-cert": secret.tags if whole else {"sha256": "2"}}),
        )
        attempt: Any = SimpleNamespace(recorded=output(recorded or admitted.attempt))
        component = workloads.Restarts(
            "restarts",
            settings,
            prepared,
            admitted,
            ledger,
            bundle=bundle,
            attempt=attempt,
            access=SimpleNamespace(principal=output("principal")),  # type: ignore[arg-type]
            cluster=SimpleNamespace(id=output("/cluster")),  # type: ignore[arg-type]
        )
        component.made.apply(made)

    def start() -> None:
        pulumi.run(program) if False else _run(program)

    outcome.run = deploy(start, cloud or Cloud(), preview=preview, stash=stash)
    return outcome


def _run(program: Callable[[], Any]) -> None:
    pulumi.Output.from_input(program())
