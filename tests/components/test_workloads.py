"""What the restarts ask of the engine and of the cluster; the cluster is scripted."""

from __future__ import annotations

import base64
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pulumi
import pytest
from pulumi.runtime import mocks

from components import workloads
from components.refusing import refusing
from lab import layout
from meshca import restarts
from meshca.cluster_connection import ForbiddenError, UnreachableError
from meshca.cluster_facts import MeshedPod
from meshca.evidence import Expected, Named, Replica, Seen
from meshca.istiod_log import Served
from meshca.ledger import Attempt, Ledger, Restarts
from meshca.plan import Plan
from meshca.refusals import Refusal, iso
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
MESH = {
    "name": "mesh",
    "resourceGroup": "group",
    "revisions": ["asm-1-30"],
    "kubeconfig": KUBECONFIG,
}

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
                key: value for key, value in {**MESH, **cluster}.items() if value is not None
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
        outlives=timedelta(hours=24),
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

    monkeypatch.setattr(workloads, "Connection", connect)
    # One object stands for the connection and for what is built on it.
    for name in ("ClusterView", "ClusterWorkloads"):
        monkeypatch.setattr(workloads, name, lambda connection: connection)
    monkeypatch.setattr(workloads, "LOOK_EVERY", timedelta(0))
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    # Ten minutes at each look: more than the poll and its slack, and than the timeout.
    later = iter(NOW + timedelta(minutes=10 * number) for number in range(1000))
    monkeypatch.setattr(workloads, "clock", lambda: next(later))
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


def run(
    settings: Settings,
    *,
    wanted: Posture = DISTRIBUTE,
    ledger: Ledger | None = LEDGER,
    preview: bool = False,
    stash: Any = None,
    whole: bool = True,
    recorded: Attempt | None = None,
    written: datetime = NOW,
    cloud: Cloud | None = None,
) -> Run:
    """What the program does once the secrets are written; `made` is an output."""
    secret = SimpleNamespace(tags={"sha256": "1", "written": iso(written)})
    issued = SimpleNamespace(shown=lambda: EXPECTED)
    admitted = plan(wanted)
    output = pulumi.Output.from_input

    async def program() -> pulumi.Inputs:
        with refusing():
            prepared = await workloads.prepare(settings, admitted, ledger)
        if prepared is None:
            return {"made": "nothing to restart for"}
        bundle: Any = SimpleNamespace(
            issued=output(issued),
            described=output({"root-cert": secret}),
            written=output({"root-cert": {**secret.tags, **({} if whole else {"sha256": "2"})}}),
        )
        attempt: Any = SimpleNamespace(recorded=output(recorded or admitted.attempt))
        access: Any = SimpleNamespace(principal=output("principal"))
        cluster: Any = SimpleNamespace(id=output("/cluster"))
        component = workloads.Restarts(
            "restarts",
            settings,
            prepared,
            admitted,
            ledger,
            bundle=bundle,
            attempt=attempt,
            access=access,
            cluster=cluster,
        )
        return {"made": component.made.apply(lambda made: made.as_json() if made else "none")}

    return deploy(lambda: pulumi.run(program), cloud or Cloud(), preview=preview, stash=stash)


def up(settings: Settings, **how: Any) -> Run:
    """The same as an `up` that succeeds."""
    done = run(settings, **how)
    if done.error is not None:
        raise done.error
    return done


def annotation(done: Run, type_: str, name: str) -> Any:
    """The annotation that a patch carries."""
    spec = done.one(type_, name).inputs["spec"]
    return spec["template"]["metadata"]["annotations"][ANNOTATION]


MADE = Restarts(DIGEST, NOW - timedelta(hours=1), ("Deployment shop/web",))
SETTLED = replace(LEDGER, posture=DISTRIBUTE, restarts=MADE)
"""A ledger after the restarts: nothing else is in use."""


# What is asked of the engine


def test_a_patch_restarts_by_one_annotation(view: View) -> None:
    """Nothing else of the workload is named, and the field manager is the program's own."""
    done = up(configured(WEB))
    patch = done.one(DEPLOYMENT, "restart-deployment-shop-web")
    assert patch.inputs == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "web",
            "namespace": "shop",
            "annotations": {"pulumi.com/patchFieldManager": FIELD_MANAGER},
        },
        "spec": {"template": {"metadata": {"annotations": {ANNOTATION: DIGEST}}}},
    }


def test_a_patch_is_retained(view: View) -> None:
    """Its deletion would take the annotation away, and restart the workload."""
    patch = up(configured(WEB)).one(DEPLOYMENT, "restart-deployment-shop-web")
    assert patch.options == {"retainOnDelete": True}


def test_a_patch_waits_as_long_as_configured(view: View) -> None:
    """For the rollout, when created and when updated."""
    patch = up(configured(WEB)).one(DEPLOYMENT, "restart-deployment-shop-web")
    timeouts = patch.wire.customTimeouts
    assert (timeouts.create, timeouts.update) == ("420s", "420s")


def test_every_kind_has_its_patch(view: View) -> None:
    """By the names of its workloads."""
    done = up(configured(WEB, DATABASE))
    assert [*done.of(DEPLOYMENT), *done.of(STATEFUL_SET)] == [
        "restart-deployment-shop-web",
        "restart-statefulset-shop-db",
    ]


def test_a_patch_follows_the_moment_at_which_istiod_showed_the_change(view: View) -> None:
    """The engine applies it only when that moment is recorded."""
    done = up(configured(WEB))
    patch = done.one(DEPLOYMENT, "restart-deployment-shop-web")
    assert patch.depends_on(done.one(STASH, f"restarts-{DIGEST}"))


def test_patches_go_through_a_provider_of_their_own(view: View) -> None:
    """With the kubeconfig as a secret; the cluster, not its credentials, identifies it."""
    done = up(configured(WEB))
    provider = done.one(PROVIDER, "restarts-kubernetes")
    patch = done.one(DEPLOYMENT, "restart-deployment-shop-web")
    kubeconfig = provider.inputs["kubeconfig"]
    assert isinstance(kubeconfig, Secret)
    assert kubeconfig.value == KUBECONFIG
    assert provider.inputs["clusterIdentifier"] == "/cluster"
    assert patch.wire.provider.startswith(provider.urn)


def test_the_moment_is_recorded_once(view: View) -> None:
    """Under the digest of what is shown; a later `up` for the same does not move it."""
    stash = up(configured(WEB)).one(STASH, f"restarts-{DIGEST}")
    assert stash.options == {"ignoreChanges": ["input"]}
    assert stash.inputs["input"] == {"shown": "2027-03-01T12:00:01Z"}


def test_a_failed_up_goes_on_from_its_own_moment(view: View) -> None:
    """What it restarted is not older than that."""
    view.pods = [[pod("restarted", -timedelta(minutes=1))]]
    view.now = NOW + timedelta(hours=1)
    done = up(configured(WEB), stash={"shown": "2027-03-01T12:00:01Z"})
    assert done.outputs["made"]["shownAt"] == "2027-03-01T12:00:01Z"
    assert done.outputs["made"]["laggards"] == []


def test_restarts_that_were_overtaken_are_a_warning(view: View) -> None:
    """The `up` that finishes an interrupted one wrote the secrets after the restarts' moment."""
    stash = {"shown": iso(NOW)}
    later = NOW + timedelta(seconds=1)
    *_, counting = up(configured(WEB), stash=stash).said
    *_, overtaken = up(configured(WEB), stash=stash, written=later).said
    assert "no meshed pod is older than" in counting
    assert "by a `pulumi up` that was interrupted" in overtaken


# Previews


def test_a_preview_asks_no_cluster(view: View) -> None:
    """Not to wait, not to look, not to find workloads; and it does not know the outcome."""
    done = up(configured(WEB, ALL_OF_EDGE), preview=True)
    assert (view.kubeconfigs, done.outputs["made"]) == ([], UNKNOWN)


def test_a_preview_of_a_restart_does_not_know_the_annotation(view: View) -> None:
    """So that the provider asks no cluster about it either."""
    done = up(configured(WEB), preview=True)
    assert annotation(done, DEPLOYMENT, "restart-deployment-shop-web") is UNKNOWN


def test_a_preview_says_that_selectors_wait_for_the_up(view: View) -> None:
    """What they mean is not known yet."""
    said = up(configured(ALL_OF_EDGE), preview=True).said
    assert said == ["info: CA: `pulumi up` asks the cluster which workloads the selectors mean."]


def test_a_preview_keeps_what_selectors_found_for_an_earlier_change(view: View) -> None:
    """It would otherwise show patches as deleted that the `up` only updates."""
    made = replace(MADE, digest="earlier", workloads=("Deployment edge/gateway",))
    done = up(configured(ALL_OF_EDGE), ledger=replace(LEDGER, restarts=made), preview=True)
    assert [*done.of(DEPLOYMENT)] == ["restart-deployment-edge-gateway"]


# Without a change


@pytest.mark.parametrize("preview", [True, False], ids=["preview", "up"])
def test_without_a_change_the_patches_stay_and_nobody_is_asked(view: View, preview: bool) -> None:
    """The annotation is known, and the restarts on record stay on record."""
    done = up(configured(WEB), ledger=SETTLED, preview=preview, stash={"shown": "x"})
    assert annotation(done, DEPLOYMENT, "restart-deployment-shop-web") == DIGEST
    assert (view.asked, done.outputs["made"]) == ([], MADE.as_json())


def test_without_a_change_a_new_workload_gets_no_patch(view: View) -> None:
    """It would restart for what is long in force."""
    done = up(configured(WEB, DATABASE), ledger=SETTLED, stash={"shown": "x"})
    assert (len(done.of(DEPLOYMENT)), len(done.of(STATEFUL_SET))) == (1, 0)


@pytest.mark.parametrize(
    "ledger",
    [None, replace(LEDGER, posture=DISTRIBUTE), replace(LEDGER, mesh=False)],
    ids=["first up", "long in force", "no mesh yet"],
)
def test_with_nothing_to_restart_for_there_is_nothing(view: View, ledger: Ledger | None) -> None:
    """No provider, no patch, no credentials asked for."""
    cloud = Cloud()
    done = up(configured(WEB, kubeconfig=None), ledger=ledger, cloud=cloud)
    assert (done.requests, cloud.invoked, view.asked) == ([], [], [])


def test_an_interrupted_up_that_is_taken_back_is_restarted_for(view: View) -> None:
    """What it had brought to proxies goes away by the same evidence."""
    interrupted = Attempt(1, "switch a1 b1", posture(Phase.SWITCH, A1, B1))
    done = up(configured(WEB), ledger=SETTLED, recorded=interrupted)
    assert "look" in view.asked
    assert done.outputs["made"]["shownAt"] == "2027-03-01T12:00:01Z"


# The `up` itself


def test_the_cluster_is_asked_in_order(view: View) -> None:
    """First whether all of it can be done, then istiod, then the pods; last the owner is freed."""
    view.found = [Target("edge", "gateway", WorkloadKind.DEPLOYMENT)]
    up(configured(WEB, ALL_OF_EDGE))
    assert view.asked == [
        "may look",
        "matching Deployment/StatefulSet/DaemonSet edge/[all]",
        "why not Deployment edge/gateway",
        "why not Deployment shop/web",
        "look",
        "pods",
        "release Deployment edge/gateway",
        "release Deployment shop/web",
    ]


def test_what_cannot_restart_is_refused_before_anything_registers(view: View) -> None:
    """Every workload at once."""
    for name in ("Deployment shop/web", "StatefulSet shop/db"):
        view.refusals[name] = Refusal("workload-missing", f"{name} does not exist", "Correct it.")
    done = run(configured(WEB, DATABASE))
    assert done.requests == []
    assert str(done.error).splitlines() == [
        "workload-missing: StatefulSet shop/db does not exist. Correct it.",
        "workload-missing: Deployment shop/web does not exist. Correct it.",
    ]


def test_a_selector_that_finds_nothing_is_told(view: View) -> None:
    """It may be misspelt; it may also be early."""
    said = up(configured(WEB, ALL_OF_EDGE)).said
    assert (
        "warning: CA: there is no Deployment/StatefulSet/DaemonSet edge/[all] to restart." in said
    )


@pytest.mark.parametrize(
    ("trouble", "line"),
    [
        ("forbidden", "cluster-forbidden: workloads are to restart, but the cluster refuses: no. "),
        ("away", "not-shown: "),
    ],
)
def test_a_cluster_that_does_not_play_along_is_told_in_a_line(
    view: View, trouble: str, line: str
) -> None:
    """With what to do instead."""
    if trouble == "forbidden":
        view.forbidden = "no"
    else:
        view.looks = [UnreachableError("gone")]
    error = str(run(configured(WEB)).error)
    assert error.startswith(line)
    assert "set `workloads: []`" in error or "`workloads: []`" in error


def test_laggards_are_the_older_pods_that_stay(view: View) -> None:
    """Those on their way out are waited for."""
    old, ending = pod("old", timedelta(hours=1)), pod("ending", timedelta(hours=1), ending=True)
    new = pod("new", -timedelta(seconds=5))
    view.pods = [[old, ending, new], [old, ending, new], [old, new]]
    done = up(configured(WEB))
    assert done.outputs["made"]["laggards"] == ["shop/old"]
    assert view.asked.count("pods") == 3


def test_a_pod_of_the_very_second_is_older(view: View) -> None:
    """Pods are stamped in whole seconds, rounded down: it may have started just before."""
    view.pods = [[pod("same", timedelta(0)), pod("next", -timedelta(seconds=1))]]
    assert up(configured(WEB)).outputs["made"]["laggards"] == ["shop/same"]


def test_what_was_written_in_part_is_not_restarted_for(view: View) -> None:
    """With `--target`: istiod would never show it."""
    done = run(configured(WEB), whole=False)
    assert "look" not in view.asked
    assert done.outputs.get("made") is UNKNOWN


# Credentials


def test_aks_hands_out_the_kubeconfig(view: View) -> None:
    """In the format of kubelogin, which is the only one that works with Entra ID."""
    cloud = Cloud("kind: Config # AKS")
    up(configured(WEB, kubeconfig=None), cloud=cloud)
    assert cloud.invoked == [
        {"resourceGroupName": "group", "resourceName": "mesh", "format": "exec"}
    ]
    assert set(view.kubeconfigs) == {"kind: Config # AKS"}


def test_a_preview_is_handed_no_kubeconfig(view: View) -> None:
    """Who may only look needs none: the provider goes on with what it has, or with an unknown."""
    cloud = Cloud()
    done = up(configured(WEB, kubeconfig=None), cloud=cloud, preview=True)
    provider = done.one(PROVIDER, "restarts-kubernetes")
    assert cloud.invoked == []
    assert provider.inputs["kubeconfig"].value is UNKNOWN
    assert provider.options["ignoreChanges"] == ["kubeconfig"]


def test_an_up_and_a_preview_with_a_kubeconfig_use_it(view: View) -> None:
    """Nothing of a kubeconfig that is known is passed over."""
    for preview in (False, True):
        provider = up(configured(WEB), preview=preview).one(PROVIDER, "restarts-kubernetes")
        assert "ignoreChanges" not in provider.options


def test_a_configured_kubeconfig_goes_first(view: View) -> None:
    """AKS is not asked at all."""
    cloud = Cloud()
    up(configured(WEB), cloud=cloud)
    assert (cloud.invoked, set(view.kubeconfigs)) == ([], {KUBECONFIG})


def test_without_credentials_the_way_out_is_told(view: View) -> None:
    """Before anything registers."""
    cloud = Cloud(ProviderError('Code="AuthorizationFailed"'))
    done = run(configured(WEB, kubeconfig=None), cloud=cloud)
    assert done.requests == []
    assert str(done.error).startswith(
        "no-credentials: AKS hands out no credentials for cluster mesh ("
    )


def test_issuers_of_one_subject_are_waited_for_instead(
    view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    """istiod's log could not show which of them signs; said as a warning."""
    monkeypatch.setattr(restarts, "told_apart", lambda settings, plan: False)
    done = up(configured(WEB))
    assert (done.requests, view.asked) == ([], [])
    assert "has the subject of a1" in done.said[0]


def test_nobody_else_pays_for_it() -> None:
    """Without workloads the program imports neither pulumi-kubernetes nor a client."""
    program = (
        "import pulumi, runpy, sys; pulumi.run = lambda main: None; "
        "runpy.run_path('__main__.py', run_name='__main__'); "
        "print([name for name in ('pulumi_kubernetes', 'lightkube') if name in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program],
        cwd=layout.ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.strip() == "[]"
