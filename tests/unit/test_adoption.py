"""What ARM tells of a cluster or a vault that exists already, and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshca import adoption
from meshca.adoption import AddOn, LiveMesh, live_cluster
from meshca.ledger import Ledger
from meshca.rotation import Intermediate, Pace, Phase, posture
from meshca.settings import Settings, load

VAULT = "/subscriptions/1/resourceGroups/g/providers/Microsoft.KeyVault/vaults/kv-1"
PLUGIN = {
    "keyVaultId": VAULT,
    "rootCertObjectName": "root-cert",
    "certObjectName": "ca-cert",
    "keyObjectName": "ca-key",
    "certChainObjectName": "cert-chain",
}
RAW: dict[str, Any] = {"id": "/subscriptions/1/resourceGroups/g/x/managedClusters/c"}
POLICY = {"enabled": True, "config": {"version": "v2"}, "identity": {"objectId": "p"}}
CSI = {"enabled": True, "config": {"enableSecretRotation": "false"}, "identity": {"objectId": "i"}}
LEDGER = Ledger(
    1,
    "steady a1",
    posture(Phase.STEADY, Intermediate("a1", "a")),
    datetime(2027, 3, 1, tzinfo=UTC),
    Pace(timedelta(hours=24), timedelta(minutes=2), timedelta(minutes=5)),
)


def settings(mesh: bool = True, existing: bool = True) -> Settings:
    """Settings of an existing cluster `c` and vault `kv-1` in group `g`."""
    return load(
        {
            "aks-istio-ca:rotationPhase": "steady",
            "aks-istio-ca:activeIssuer": "a1",
            "aks-istio-ca:roots": {"a": {"generated": {}}},
            "aks-istio-ca:issuers": {"a1": {"root": "a"}},
            "aks-istio-ca:cluster": {
                "name": "c",
                "resourceGroup": "g",
                "revisions": ["asm-1-30"],
                "existing": existing,
                "mesh": mesh,
            },
            "aks-istio-ca:keyVault": {"name": "kv-1", "accessModel": "rbac", "existing": True},
        }
    )


def mesh(**istio: Any) -> dict[str, Any]:
    """A cluster whose mesh is on."""
    return {**RAW, "serviceMeshProfile": {"mode": "Istio", "istio": istio}}


def plugged(**changes: str) -> dict[str, Any]:
    """A cluster whose mesh has a plug-in CA."""
    return mesh(certificateAuthority={"plugin": {**PLUGIN, **changes}})


def test_other_add_ons_are_carried_along() -> None:
    """As inputs: without what AKS says about their identities."""
    live = live_cluster({**RAW, "addonProfiles": {"azurepolicy": POLICY, adoption.ADD_ON: CSI}})
    assert live.other_add_ons() == {"azurepolicy": AddOn(True, {"version": "v2"})}


@pytest.mark.parametrize(
    ("profiles", "identity"),
    [
        ({}, None),
        ({adoption.ADD_ON: CSI}, "i"),
        ({adoption.ADD_ON: {**CSI, "enabled": False}}, None),
        ({adoption.ADD_ON: {"enabled": True}}, None),
    ],
    ids=["no add-on", "on", "off", "no identity yet"],
)
def test_the_identity_is_that_of_the_add_on_while_it_is_on(
    profiles: dict[str, Any], identity: str | None
) -> None:
    """Turning it off takes the identity away."""
    assert live_cluster({**RAW, "addonProfiles": profiles}).identity == identity


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (RAW, None),
        ({**RAW, "serviceMeshProfile": {"mode": "Disabled"}}, None),
        (mesh(), LiveMesh(None)),
        (mesh(certificateAuthority={}), LiveMesh(None)),
        (
            plugged(),
            LiveMesh(VAULT, frozenset({"root-cert", "ca-cert", "ca-key", "cert-chain"})),
        ),
    ],
    ids=["never", "disabled", "self-signed", "empty authority", "plug-in"],
)
def test_the_mesh_is_read_off_its_profile(raw: dict[str, Any], found: LiveMesh | None) -> None:
    """On or not, and with whose CA."""
    assert live_cluster(raw).mesh == found


@pytest.mark.parametrize(
    ("raw", "ledger", "wanted", "id_"),
    [
        (RAW, None, True, None),
        (mesh(), None, True, "mesh-self-signed"),
        (mesh(), LEDGER, True, "mesh-self-signed"),
        (mesh(), None, False, None),
        (plugged(keyVaultId=VAULT.replace("/kv-1", "/other")), None, True, "mesh-other-vault"),
        (plugged(), None, True, "mesh-not-ours"),
        (plugged(keyVaultId=VAULT.upper()), None, True, "mesh-not-ours"),
        (plugged(), replace(LEDGER, mesh=True), True, None),
    ],
    ids=[
        "no mesh",
        "self-signed",
        "self-signed in between",
        "none wanted",
        "another vault",
        "this vault",
        "this vault in capitals",
        "ours",
    ],
)
def test_a_mesh_of_somebody_else_is_refused(
    raw: dict[str, Any], ledger: Ledger | None, wanted: bool, id_: str | None
) -> None:
    """Until this stack has turned it on itself."""
    refusals = list(adoption.mesh_refusals(settings(mesh=wanted), ledger, live_cluster(raw)))
    assert [refusal.id for refusal in refusals] == ([] if id_ is None else [id_])
    assert all("az aks mesh disable -g g -n c" in refusal.mitigation for refusal in refusals)


@pytest.mark.parametrize(
    ("existing", "ledger", "first"),
    [(True, None, True), (True, LEDGER, False), (False, None, False)],
)
def test_the_first_up_only_adopts(existing: bool, ledger: Ledger | None, first: bool) -> None:
    """Until a ledger shows that it has."""
    assert adoption.is_first_pass(settings(existing=existing), ledger) is first


@pytest.mark.parametrize(
    ("properties", "ids"),
    [
        ({"enableRbacAuthorization": True, "tenantId": "T1"}, []),
        ({"enableRbacAuthorization": True}, []),
        ({"enableRbacAuthorization": False}, ["vault-access-model"]),
        ({}, ["vault-access-model"]),
        ({"enableRbacAuthorization": True, "tenantId": "t2"}, ["vault-tenant"]),
    ],
    ids=["fits", "tenant unsaid", "access policies", "access unsaid", "another tenant"],
)
def test_a_vault_has_to_fit(properties: dict[str, Any], ids: list[str]) -> None:
    """Its access model is everybody's, its tenant the cluster's."""
    raw = {"id": VAULT, "properties": properties}
    refusals = adoption.vault_refusals(settings().key_vault, raw, tenant="t1")
    assert [refusal.id for refusal in refusals] == ids


@pytest.mark.parametrize(
    ("policies", "ids"),
    [
        (None, []),
        ([], []),
        ([{"objectId": "others"}], []),
        ([{"objectId": "others"}, {"objectId": "Identity"}], ["access-exists"]),
    ],
    ids=["unsaid", "none", "of others", "of the add-on"],
)
def test_an_access_policy_for_the_add_on_is_in_the_way(
    policies: list[dict[str, str]] | None, ids: list[str]
) -> None:
    """ARM tells object ids in any case, and has one policy for each."""
    raw = {"id": VAULT, "properties": {"accessPolicies": policies}}
    refusals = adoption.access_refusals(settings().key_vault, "identity", raw)
    assert [refusal.id for refusal in refusals] == ids


@pytest.mark.parametrize("name", [adoption.ADD_ON, adoption.ADD_ON.lower()])
def test_the_add_on_is_known_by_its_name_in_any_case(name: str) -> None:
    """AKS does not keep the case in which an add-on was turned on."""
    live = live_cluster({**RAW, "addonProfiles": {name: CSI}})
    assert (live.identity, live.other_add_ons()) == ("i", {})


KNOWN: dict[str, Any] = {
    "resourceName": "c",
    "location": "westeurope",
    "kubernetesVersion": "1.33",
    "tags": {"team": "a"},
    "agentPoolProfiles": [{"name": "system", "count": 3.0}, {"name": "gpu", "count": 2.0}],
    "addonProfiles": {"azurepolicy": {"enabled": True}},
    "serviceMeshProfile": {"mode": "Istio"},
    "apiServerAccessProfile": {"enablePrivateCluster": False},
    "nodeImageVersion": "1",
    "azureApiVersion": "2025-09-01",
}
WANTED: dict[str, Any] = {"serviceMeshProfile": {"mode": "Istio"}}
"""What an update would send of the mesh."""
LIVE: dict[str, Any] = {
    "id": "/subscriptions/1",
    "location": "West Europe",
    "kubernetesVersion": "1.33",
    "tags": {"team": "a"},
    "agentPoolProfiles": [
        {"name": "gpu", "count": 2, "powerState": {"code": "Running"}, "enableAutoScaling": False},
        {"name": "system", "count": 3, "nodeImageVersion": "2"},
    ],
    "serviceMeshProfile": {"mode": "Istio"},
    "systemData": {"lastModifiedBy": "somebody"},
    "nodeImageVersion": "2",
}


def outdated(**changes: Any) -> list[str]:
    """What of a changed live cluster an update would set back."""
    return adoption.outdated(KNOWN, WANTED, {**LIVE, **changes})


def pools(system: Mapping[str, Any], *others: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Node pools: `system` with changes, and others."""
    return [{"name": "system", "count": 3, **system}, *({**other} for other in others)]


GPU = {"name": "gpu", "count": 2}


def test_what_is_as_known_is_not_outdated() -> None:
    """In whatever order ARM shows it, whoever decides about our two parts, and whatever AKS itself
    has changed."""
    assert outdated() == []


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        ({"kubernetesVersion": "1.34"}, ["kubernetesVersion: 1.33 -> 1.34"]),
        ({"tags": {"team": "b"}}, ["tags.team: a -> b"]),
        ({"tags": {"team": "a", "more": "b"}}, ["tags.more: nothing -> b"]),
        ({"tags": None}, ["tags.team: a -> nothing"]),
        (
            {"agentPoolProfiles": pools({"count": 5}, GPU)},
            ["agentPoolProfiles[system].count: 3 -> 5"],
        ),
        (
            {"agentPoolProfiles": pools({"enableAutoScaling": True}, GPU)},
            ["agentPoolProfiles[system].enableAutoScaling: nothing -> True"],
        ),
        ({"agentPoolProfiles": pools({})}, ["agentPoolProfiles: 2 -> 1 entries"]),
        (
            {"agentPoolProfiles": pools({}, {"name": "new", "count": 2})},
            ["agentPoolProfiles: gpu -> gone"],
        ),
        (
            {"apiServerAccessProfile": {"authorizedIPRanges": ["203.0.113.0/24"]}},
            ["apiServerAccessProfile.authorizedIPRanges: 0 -> 1 entries"],
        ),
        (
            {"apiServerAccessProfile": {"enablePrivateCluster": True}},
            ["apiServerAccessProfile.enablePrivateCluster: False -> True"],
        ),
        (
            {"loadBalancerProfile": {"outboundIPs": {"publicIPs": [{"id": "ip"}]}}},
            ["loadBalancerProfile.outboundIPs.publicIPs: 0 -> 1 entries"],
        ),
    ],
    ids=[
        "version",
        "tag",
        "tag added",
        "tags removed",
        "pool size",
        "autoscaling on",
        "pool gone",
        "pool exchanged",
        "ranges added",
        "private",
        "profile added",
    ],
)
def test_what_somebody_else_has_changed_is_named(changes: dict[str, Any], lines: list[str]) -> None:
    """By its path, with what the stack knows and what is there: changed, added or taken away."""
    assert outdated(**changes) == lines


@pytest.mark.parametrize("nothing", [None, "", False, [], {}, {"a": {"b": []}}])
def test_nothing_is_shown_in_many_ways(nothing: object) -> None:
    """What ARM leaves out, or shows as empty or false, is not set in any of them."""
    assert outdated(autoScalerProfile=nothing) == []


GATEWAYS = [{"enabled": True, "mode": "External"}]


def istio(*gateways: dict[str, Any], mode: str = "Istio") -> dict[str, Any]:
    """A mesh profile with these ingress gateways."""
    return {"mode": mode, "istio": {"components": {"ingressGateways": [*gateways]}}}


def test_a_gateway_that_the_request_does_not_name_is_named() -> None:
    """The update would turn it off."""
    path = "serviceMeshProfile.istio.components.ingressGateways"
    assert outdated(serviceMeshProfile=istio(*GATEWAYS)) == [f"{path}: 0 -> 1 entries"]


def test_a_gateway_that_the_request_names_stays_on() -> None:
    """The state knows of it, so the request does."""
    live = {**LIVE, "serviceMeshProfile": istio(*GATEWAYS)}
    assert adoption.outdated(KNOWN, {"serviceMeshProfile": istio(*GATEWAYS)}, live) == []


def test_turning_the_mesh_off_is_no_accident_to_its_gateways() -> None:
    """They go with it, as it is told."""
    live = {**LIVE, "serviceMeshProfile": istio(*GATEWAYS)}
    assert adoption.outdated(KNOWN, {"serviceMeshProfile": {"mode": "Disabled"}}, live) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.text(min_size=1, max_size=5), JSON))
def test_nothing_is_outdated_against_itself(known: dict[str, Any]) -> None:
    """Of whatever a cluster is made."""
    assert adoption.outdated(known, known, known) == []


def test_a_long_list_of_changes_is_cut() -> None:
    """The first of them say enough."""
    refusal = adoption.outdated_refusal("c", [f"tags.{number}: a -> b" for number in range(9)])
    assert "; and 4 more" in refusal.reason
    assert "pulumi refresh" in refusal.mitigation
