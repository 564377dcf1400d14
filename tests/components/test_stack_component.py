"""What the program learns of its own stack, of its peers and of the live cluster."""

from collections.abc import Awaitable, Callable
from typing import Any

import pulumi
import pytest
from pulumi.runtime import rpc

from components import stack as learned
from meshca import settings
from meshca.ledger import Ledger
from meshca.ledger_reading import parse
from tests.components.cloud import ADD_ON, ADD_ON_IDENTITY, LIVE_CLUSTER, Cloud, live_cluster
from tests.components.recorder import Run, deploy
from tests.components.stacks import GENERATED, NAME, Stack, changed, handed_over, stance

PEER = "organization/aks-istio-ca/west"


@pytest.fixture
def ledger(first_up: Run) -> dict[str, Any]:
    """The ledger of a first `up`, as Pulumi keeps it."""
    return {key: value for key, value in first_up.outputs["rotation"].items() if value is not None}


def ask(question: Callable[[], Awaitable[Any]], cloud: Cloud, *, preview: bool = False) -> Any:
    """What a question answers inside a program."""
    answers = []

    async def main() -> None:
        answers.append(await question())

    run = deploy(lambda: pulumi.run(main), cloud, preview=preview)
    if run.error is not None:
        raise run.error
    return answers[0]


def test_a_new_stack_has_no_ledger() -> None:
    """Before the first completed `up` there is none."""
    assert ask(learned.own_ledger, Cloud()) is None


def test_the_ledger_is_read_from_the_stack_itself(ledger: dict[str, Any]) -> None:
    """The stack's own output is read by its full name, numbers and all."""
    cloud = Cloud(stacks={NAME: {"rotation": ledger}})
    found = ask(learned.own_ledger, cloud)
    assert isinstance(found, Ledger)
    assert (found.serial, found.stance) == (1, "steady a1")


def test_a_secret_ledger_is_read_too(ledger: dict[str, Any]) -> None:
    """An output that became secret is not mistaken for a missing one: that would be a stack that
    may start anywhere."""
    cloud = Cloud(stacks={NAME: {"rotation": ledger}}, secret_outputs=frozenset({"rotation"}))
    found = ask(learned.own_ledger, cloud)
    assert found.stance == "steady a1"


def test_another_output_that_is_not_known_does_not_hide_the_ledger(ledger: dict[str, Any]) -> None:
    """`--target` leaves unknown outputs in the state; in a preview the SDK then calls all of them
    unknown."""
    unknown = {"rotation": ledger, "certificates": rpc.UNKNOWN}
    found = ask(learned.own_ledger, Cloud(stacks={NAME: unknown}), preview=True)
    assert found.stance == "steady a1"


def test_every_peer_is_read_once_and_this_stack_is_not(ledger: dict[str, Any]) -> None:
    """A list that all stacks share names each stack: this one is passed over, a peer that is named
    twice counts once. The engine would refuse to read one stack under one name twice."""
    cloud = Cloud(stacks={PEER: {"rotation": ledger}, NAME: {"rotation": ledger}})
    held = ask(lambda: learned.peer_ledgers([PEER, NAME, PEER]), cloud)
    assert [entry.peer for entry in held] == [PEER]


def wanted() -> settings.Settings:
    """The settings of GENERATED."""
    return settings.load(handed_over(GENERATED))


def test_the_live_cluster_is_asked_who_its_add_on_is(ledger: dict[str, Any]) -> None:
    """With a ledger there is a cluster, and it is asked itself, by its name and group."""
    cloud = Cloud(live=live_cluster("live"))
    found = parse(ledger, where="the test")
    assert ask(lambda: learned.live_add_on_identity(wanted(), found), cloud) == "live"
    [(token, given)] = cloud.invoked
    assert token == LIVE_CLUSTER
    assert given == {"resourceGroupName": "mesh-group", "resourceName": "mesh"}


def test_before_the_first_ledger_no_cluster_is_asked() -> None:
    """There is no cluster yet: nothing is asked, and nothing can fail."""
    cloud = Cloud()
    assert ask(lambda: learned.live_add_on_identity(wanted(), None), cloud) is None
    assert cloud.invoked == []


def test_a_cluster_that_is_gone_is_no_error(ledger: dict[str, Any]) -> None:
    """Somebody deleted the cluster: the program goes on, to its end, and makes it anew."""
    found = parse(ledger, where="the test")
    cloud = Cloud(live=None)
    assert ask(lambda: learned.live_add_on_identity(wanted(), found), cloud) is None


def test_a_live_cluster_without_the_add_on_has_no_identity(ledger: dict[str, Any]) -> None:
    """Somebody turned the add-on off: its identity is that of the add-on to come."""
    found = parse(ledger, where="the test")
    off: list[dict[str, Any]] = [
        {},
        {"addonProfiles": {}},
        {"addonProfiles": {ADD_ON: {"enabled": False}}},
    ]
    for live in off:
        assert ask(lambda: learned.live_add_on_identity(wanted(), found), Cloud(live=live)) is None


def test_a_cluster_that_cannot_be_read_is_named(ledger: dict[str, Any]) -> None:
    """Whatever else Azure answers ends the program with one line that says which cluster it was."""
    found = parse(ledger, where="the test")
    cloud = Cloud(live=None, live_error='Status=403 Code="AuthorizationFailed"')
    with pytest.raises(pulumi.RunError) as refused:
        ask(lambda: learned.live_add_on_identity(wanted(), found), cloud)
    said = str(refused.value)
    assert said.startswith("cluster mesh in resource group mesh-group cannot be read: ")
    assert 'Status=403 Code="AuthorizationFailed"' in said
    assert "\n" not in said


def test_access_is_granted_to_the_live_identity(converged: Stack) -> None:
    """In the preview of a change to the cluster its outputs are unknown; access is granted to the
    identity of the live cluster and does not show as replaced."""
    converged.cloud.hides["cluster"] = "addonProfiles"
    run = converged.preview(changed(GENERATED, cluster={"kubernetesVersion": "1.35"}))
    policy = run.one("azure-native:keyvault:AccessPolicy", "access").inputs["policy"]
    assert policy["objectId"] == ADD_ON_IDENTITY


def test_access_falls_back_to_the_cluster_to_come(converged: Stack) -> None:
    """Where there is no live cluster, access waits for the one that this `up` makes."""
    converged.cloud.live = None
    converged.cloud.identity = "new"
    run = converged.up(GENERATED)
    access = run.one("azure-native:keyvault:AccessPolicy", "access")
    assert access.inputs["policy"]["objectId"] == "new"
    assert access.depends_on(run.one("azure-native:containerservice:ManagedCluster", "cluster"))


def test_a_move_is_announced(converged: Stack) -> None:
    """The console says what an `up` does to the CA and what comes next, in previews too."""
    config = changed(GENERATED, issuers={"a1": {"root": "a"}, "a2": {"root": "a"}})
    said, coming = converged.preview(stance(config, "distribute a1 a2")).said
    assert said.startswith("info: CA: `steady a1` -> `distribute a1 a2`\n")
    assert coming.startswith("info: Next: `switch a1 a2`, ")


def test_an_override_is_announced_as_a_warning(converged: Stack) -> None:
    """A move that only the override admits is loud: a warning with its reason and what it lifts."""
    config = changed(
        GENERATED,
        issuers={"a1": {"root": "a"}, "a2": {"root": "a"}},
        override={"move": "steady a1 -> steady a2", "reason": "the key of a1 was stolen"},
    )
    [said] = converged.preview(stance(config, "steady a2")).said
    assert said.startswith("warning: CA: `steady a1` -> `steady a2`\n")
    assert "the key of a1 was stolen" in said
    assert "chain-too-early" in said


def test_a_pending_mesh_is_announced(first_up: Run) -> None:
    """The first `up` says that a second one enables the mesh."""
    assert "info: Mesh pending: run `pulumi up` again to enable it." in first_up.said


def test_turning_the_mesh_off_is_announced_as_a_warning(converged: Stack) -> None:
    """Once, by the `up` that does it: what AKS deletes with the mesh is not to be had back."""
    converged.up(GENERATED)
    off = changed(GENERATED, cluster={"mesh": False})
    told = [
        [line for line in run.said if line.startswith("warning: ")]
        for run in (converged.preview(off), converged.up(off), converged.up(off))
    ]
    cost = (
        "warning: Mesh disabled: AKS deletes Istio's custom resources, and whatever is in "
        "aks-istio-system and aks-istio-ingress."
    )
    assert told == [[cost], [cost], []]


def test_nobody_logged_in_is_told_in_one_line() -> None:
    """The provider's own words, and what to do, without a traceback."""
    run = Stack(cloud=Cloud(login_error="no credentials")).attempt(GENERATED)
    assert isinstance(run.error, pulumi.RunError)
    said = str(run.error)
    assert said.startswith("Azure does not say who is logged in: ")
    assert said.endswith(
        "no credentials. Run `az login`, or set the ARM_* variables that name another identity."
    )
    assert "\n" not in said
