"""AKS: the add-on, the mesh profile, adoption, credentials."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from lab.azure import data_plane, ids, seed
from lab.provider.values import UNKNOWN
from tests.lab import azure_inputs as inputs
from tests.lab.driver import Driver, State, refused

PLUG_IN = inputs.plugin()


@pytest.fixture
def azure(azure: Driver) -> Driver:
    """Return azure-native over a cloud with group `rg`."""
    azure.create(inputs.GROUP, inputs.group())
    return azure


def _create(azure: Driver, **others: Any) -> State:
    return azure.create(inputs.CLUSTER, inputs.cluster(**others))


def _addon(state: State) -> dict[str, Any]:
    profile: dict[str, Any] = state.outputs["addonProfiles"][inputs.ADDON]
    return profile


def test_without_the_addon_there_is_no_identity(azure: Driver, state: Path) -> None:
    """The outputs of a plain cluster have no addonProfiles; the mesh is off."""
    assert "addonProfiles" not in _create(azure).outputs
    cluster = data_plane.mesh(state)[0]
    assert (cluster.addon, cluster.identity, cluster.mesh, cluster.plugin) == (
        False,
        None,
        False,
        None,
    )


def test_the_addon_brings_an_identity_of_its_own(azure: Driver, state: Path) -> None:
    """UAMI azurekeyvaultsecretsprovider-CLUSTER in the node resource group."""
    cluster = azure.update(_create(azure), inputs.cluster(addonProfiles=inputs.addon()))
    identity = _addon(cluster)["identity"]
    assert identity["resourceId"].endswith(
        "/resourceGroups/MC_rg_aks_westeurope/providers/Microsoft.ManagedIdentity"
        "/userAssignedIdentities/azurekeyvaultsecretsprovider-aks"
    )
    assert data_plane.mesh(state)[0].identity == identity["objectId"]


def test_rotation_is_off_unless_asked_for(azure: Driver, state: Path) -> None:
    """The add-on's defaults are "false" and "2m"."""
    cluster = _create(azure, addonProfiles=inputs.addon())
    assert _addon(cluster)["config"] == {
        "enableSecretRotation": "false",
        "rotationPollInterval": "2m",
    }
    assert not data_plane.mesh(state)[0].rotation
    profiles = inputs.addon(enableSecretRotation="true", rotationPollInterval="1m30s")
    azure.update(cluster, inputs.cluster(addonProfiles=profiles))
    seen = data_plane.mesh(state)[0]
    assert (seen.rotation, seen.poll_seconds) == (True, 90.0)


def test_an_addon_left_out_stays_on(azure: Driver) -> None:
    """Leaving it out of addonProfiles does not disable it (azurerm PR 18068)."""
    cluster = _create(azure, addonProfiles=inputs.addon())
    after = azure.update(cluster, inputs.cluster())
    assert _addon(after) == _addon(cluster)


def test_disabling_the_addon_ends_its_identity(azure: Driver, state: Path) -> None:
    """enabled=false nulls the identity; enabling again makes another one."""
    cluster = _create(azure, addonProfiles=inputs.addon())
    off = azure.update(cluster, inputs.cluster(addonProfiles=inputs.addon(enabled=False)))
    assert "identity" not in _addon(off)
    assert data_plane.mesh(state)[0].identity is None
    on = azure.update(off, inputs.cluster(addonProfiles=inputs.addon()))
    assert _addon(on)["identity"]["objectId"] != _addon(cluster)["identity"]["objectId"]


@pytest.mark.parametrize(
    ("profiles", "text"),
    [
        (inputs.addon(enableSecretRotation="yes"), 'expected \\"true\\" or \\"false\\"'),
        (inputs.addon(rotationPollInterval="often"), "expected a duration such as 2m"),
        (inputs.addon(rotationPollInterval="0s"), "expected a duration such as 2m"),
        (inputs.addon(syncSecret="true"), "the lab does not model the config key 'syncSecret'"),
        ({"gitops": {"enabled": True}}, "the lab does not model the add-on 'gitops'"),
    ],
)
def test_addons_that_are_not_understood_are_refused(
    profiles: dict[str, Any], text: str, azure: Driver
) -> None:
    """Values, config keys and add-ons."""
    with refused() as refusals:
        _create(azure, addonProfiles=profiles)
    assert text.replace("\\", "") in refusals[0].message


@pytest.mark.parametrize("rotation", ["true", "false"])
def test_a_mesh_is_accepted_without_a_look_at_the_vault(
    rotation: str, azure: Driver, state: Path
) -> None:
    """Vault missing, no access, rotation off: ARM answers Succeeded all the same (2.1)."""
    plugin = inputs.plugin(ids.vault("foo", "foo"))
    cluster = _create(
        azure,
        addonProfiles=inputs.addon(enableSecretRotation=rotation),
        serviceMeshProfile=inputs.mesh(plugin=plugin),
    )
    assert cluster.outputs["provisioningState"] == "Succeeded"
    seen = data_plane.mesh(state)[0]
    assert seen.mesh
    assert seen.revisions == ("asm-1-29",)
    assert seen.plugin == data_plane.PlugIn(
        plugin["keyVaultId"], "root-cert", "cert-chain", "ca-cert", "ca-key"
    )
    assert seen.plugin.vault == "foo"


def test_an_incomplete_plug_in_is_accepted(azure: Driver, state: Path) -> None:
    """All five fields are optional in ARM's schema."""
    _create(azure, serviceMeshProfile=inputs.mesh(plugin={"certObjectName": "ca-cert"}))
    plugin = data_plane.mesh(state)[0].plugin
    assert plugin == data_plane.PlugIn(None, None, None, "ca-cert", None)
    assert plugin.vault is None


def test_a_mesh_left_out_stays(azure: Driver) -> None:
    """serviceMeshProfile has partial semantics, revisions and CA included."""
    mesh = inputs.mesh("asm-1-28", plugin=PLUG_IN)
    cluster = _create(azure, serviceMeshProfile=mesh)
    assert azure.update(cluster, inputs.cluster()).outputs["serviceMeshProfile"] == mesh
    bare = inputs.cluster(serviceMeshProfile={"mode": "Istio"})
    assert azure.update(cluster, bare).outputs["serviceMeshProfile"] == mesh


def test_a_mesh_without_revisions_gets_the_default(azure: Driver) -> None:
    """n-1 of the supported ones."""
    cluster = _create(azure, serviceMeshProfile={"mode": "Istio"})
    assert cluster.outputs["serviceMeshProfile"]["istio"]["revisions"] == ["asm-1-29"]


@pytest.mark.parametrize(
    ("revisions", "kubernetes", "text"),
    [
        (["asm-1-20"], "1.34", "Istio revision 'asm-1-20' is not supported"),
        (["asm-1-28", "asm-1-29", "asm-1-30"], "1.34", "holds one revision, or two consecutive"),
        (["asm-1-28", "asm-1-28"], "1.34", "holds one revision, or two consecutive"),
        (["asm-1-28"], "1.36", "does not run on Kubernetes 1.36 (1.30 to 1.35)"),
        (["asm-1-30"], "1.31.4", "does not run on Kubernetes 1.31.4 (1.32 to 1.36)"),
    ],
)
def test_revisions_that_cannot_be_are_refused(
    revisions: list[str], kubernetes: str, text: str, azure: Driver
) -> None:
    """Known ones, one or two consecutive, that run on the cluster's Kubernetes."""
    with refused() as refusals:
        _create(azure, kubernetesVersion=kubernetes, serviceMeshProfile=inputs.mesh(*revisions))
    assert text in refusals[0].message


def test_a_revision_changes_by_way_of_both(azure: Driver) -> None:
    """A canary upgrade has both revisions in between; a jump is not modelled."""
    cluster = _create(azure, serviceMeshProfile=inputs.mesh("asm-1-28"))
    with refused() as refusals:
        azure.update(cluster, inputs.cluster(serviceMeshProfile=inputs.mesh("asm-1-29")))
    assert "without both in between (a canary upgrade)" in refusals[0].message
    for revisions in (("asm-1-28", "asm-1-29"), ("asm-1-29",)):
        cluster = azure.update(cluster, inputs.cluster(serviceMeshProfile=inputs.mesh(*revisions)))
    assert cluster.outputs["serviceMeshProfile"]["istio"]["revisions"] == ["asm-1-29"]


def test_a_self_signed_mesh_does_not_take_a_plug_in_ca_while_live(azure: Driver) -> None:
    """AKS supports it only by way of a disabled mesh."""
    cluster = _create(azure, serviceMeshProfile=inputs.mesh())
    plugged = inputs.cluster(serviceMeshProfile=inputs.mesh(plugin=PLUG_IN))
    with refused() as refusals:
        azure.update(cluster, plugged)
    assert "Disable the mesh first" in refusals[0].message
    cluster = azure.update(cluster, inputs.cluster(serviceMeshProfile={"mode": "Disabled"}))
    cluster = azure.update(cluster, plugged)
    assert cluster.outputs["serviceMeshProfile"]["istio"]["certificateAuthority"] == {
        "plugin": PLUG_IN
    }


def test_a_live_plug_in_ca_does_not_change(azure: Driver) -> None:
    """Whether AKS takes other object names in place is not known, so the lab refuses."""
    cluster = _create(azure, serviceMeshProfile=inputs.mesh(plugin=PLUG_IN))
    other = {**PLUG_IN, "certObjectName": "ca-cert-2"}
    with refused() as refusals:
        azure.update(cluster, inputs.cluster(serviceMeshProfile=inputs.mesh(plugin=other)))
    assert "a change of certObjectName on a live mesh" in refusals[0].message
    self_signed = {"mode": "Istio", "istio": {"certificateAuthority": {}}}
    with refused() as refusals:
        azure.update(cluster, inputs.cluster(serviceMeshProfile=self_signed))
    assert "a change of keyVaultId, certObjectName," in refusals[0].message


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"agentPoolProfiles": []}, "at least one agent pool with mode 'System'"),
        (
            {"agentPoolProfiles": [{"name": "System1", "mode": "System"}]},
            "agent pool name 'System1' is invalid",
        ),
        (
            {"agentPoolProfiles": [{"name": "a", "mode": "system-pool"}]},
            "The value of parameter 'agentPoolProfiles[0].mode' is invalid",
        ),
        ({"kubernetesVersion": "1.12"}, 'Code="K8sVersionNotSupported"'),
        ({"identity": {"type": "UserAssigned"}}, "clusters with identity type 'UserAssigned'"),
        ({"identity": {}}, "needs an identity"),
        ({"serviceMeshProfile": {"mode": "On"}}, "'serviceMeshProfile.mode' is invalid: 'On'"),
    ],
)
def test_clusters_that_aks_does_not_take_are_refused(
    change: dict[str, Any], text: str, azure: Driver
) -> None:
    """Pools, names, enums, versions, identities."""
    with refused() as refusals:
        _create(azure, **change)
    assert text in refusals[0].message


SYSTEM = inputs.cluster()["agentPoolProfiles"][0]


@pytest.mark.parametrize(
    ("pools", "text"),
    [
        ([SYSTEM, {**SYSTEM, "name": "more"}], "A new agent pool was introduced. Adding agent"),
        ([{**SYSTEM, "vmSize": "Standard_D8s_v5"}], "Changing property 'properties.vmSize' is not"),
        ([{**SYSTEM, "name": "other"}], "when a PUT leaves out the pool 'system'"),
    ],
    ids=["a new pool", "another size", "a pool left out"],
)
def test_a_put_of_a_cluster_leaves_its_pools_as_they_are(
    pools: list[dict[str, Any]], text: str, azure: Driver
) -> None:
    """AKS adds and replaces pools by requests of their own."""
    cluster = _create(azure)
    with refused() as refusals:
        azure.update(cluster, inputs.cluster(agentPoolProfiles=pools))
    assert text in refusals[0].message


def test_a_put_of_a_cluster_resizes_its_pools(azure: Driver) -> None:
    """The count is what it may change."""
    after = azure.update(_create(azure), inputs.cluster(agentPoolProfiles=[{**SYSTEM, "count": 2}]))
    assert after.outputs["agentPoolProfiles"][0]["count"] == 2


def test_a_put_that_leaves_out_a_live_gateway_is_refused(azure: Driver) -> None:
    """Whether it would be turned off is not known."""
    mesh = inputs.mesh()
    gateways = {"ingressGateways": [{"enabled": True, "mode": "External"}]}
    with_gateway = {**mesh, "istio": {**mesh["istio"], "components": gateways}}
    cluster = _create(azure, serviceMeshProfile=with_gateway)
    azure.update(cluster, inputs.cluster(serviceMeshProfile=with_gateway))
    with refused() as refusals:
        azure.update(cluster, inputs.cluster(serviceMeshProfile=mesh))
    assert "when a PUT of a live mesh leaves out its gateway 'External'" in refusals[0].message


def test_an_update_in_preview_makes_the_identity_unknown(azure: Driver) -> None:
    """As with the real provider: every output that is no input may change, but name and place."""
    cluster = _create(azure, addonProfiles=inputs.addon())
    news = inputs.cluster(addonProfiles=inputs.addon(), tags={"a": "b"})
    outputs = azure.update(cluster, news, preview=True).outputs
    assert outputs["addonProfiles"][inputs.ADDON]["identity"] is UNKNOWN
    assert outputs["fqdn"] is UNKNOWN
    assert (outputs["name"], outputs["location"]) == ("aks", "westeurope")


def test_a_foreign_cluster_is_adopted_with_all_it_has(azure: Driver, state: Path) -> None:
    """Import, then add-on, then mesh: in place, and what the lab does not model is kept."""
    proxy = {"httpProxy": "http://proxy:3128"}
    other = {"azurepolicy": {"enabled": True}}
    resource_id = seed.cluster(
        state, "rg", "old", httpProxyConfig=proxy, addonProfiles=other, tags={"team": "x"}
    )
    live = azure.import_(inputs.CLUSTER, resource_id)
    assert live is not None
    assert not azure.diff(live, live.inputs).diffs
    assert "identity" not in live.inputs["addonProfiles"]["azurepolicy"]
    with_addon = {**live.inputs, "addonProfiles": {**other, **inputs.addon()}}
    assert not azure.diff(live, with_addon).replaces
    live = azure.update(live, with_addon)
    live = azure.update(live, {**with_addon, "serviceMeshProfile": inputs.mesh(plugin=PLUG_IN)})
    assert live.outputs["httpProxyConfig"] == proxy
    assert set(live.outputs["addonProfiles"]) == {"azurepolicy", inputs.ADDON}
    assert data_plane.mesh(state)[0].mesh


def test_a_put_that_would_drop_what_is_not_modelled_is_refused(azure: Driver, state: Path) -> None:
    """What AKS does then is not known to the lab."""
    resource_id = seed.cluster(state, "rg", "aks", httpProxyConfig={"httpProxy": "http://p"})
    live = azure.import_(inputs.CLUSTER, resource_id)
    assert live is not None
    with refused() as refusals:
        azure.update(live, inputs.cluster())
    assert "when a PUT leaves out 'httpProxyConfig'" in refusals[0].message


def test_get_managed_cluster_shows_the_cluster_with_its_id(azure: Driver) -> None:
    """The invoke for adoption; a missing cluster is ResourceNotFound."""
    _create(azure)
    get = "azure-native:containerservice:getManagedCluster"
    found = azure.invoke(get, resourceGroupName="rg", resourceName="aks")
    assert (found["id"], found["name"]) == (ids.cluster("rg", "aks"), "aks")
    with refused() as refusals:
        azure.invoke(get, resourceGroupName="rg", resourceName="none")
    assert 'Code="ResourceNotFound"' in refusals[0].message


def test_credentials_are_the_labs_own_kubeconfig(azure: Driver, state: Path) -> None:
    """Base64 under clusterUser; an error that names the file while the lab's cluster is down."""
    _create(azure)
    token = "azure-native:containerservice:listManagedClusterUserCredentials"
    with refused() as refusals:
        azure.invoke(token, resourceGroupName="rg", resourceName="aks")
    assert str(state / "kubeconfig") in refusals[0].message
    (state / "kubeconfig").write_text("kind: Config\n")
    answer = azure.invoke(token, resourceGroupName="rg", resourceName="aks")
    assert answer["kubeconfigs"][0]["name"] == "clusterUser"
    assert base64.b64decode(answer["kubeconfigs"][0]["value"]) == b"kind: Config\n"
    with refused() as refusals:
        azure.invoke(token, resourceGroupName="rg", resourceName="none")
    assert 'Code="ResourceNotFound"' in refusals[0].message


def test_the_client_config_is_the_caller(azure: Driver) -> None:
    """Who runs Pulumi, and where."""
    config = azure.invoke("azure-native:authorization:getClientConfig")
    assert config["objectId"] == inputs.CALLER
    assert set(config) == {"clientId", "objectId", "subscriptionId", "tenantId"}
