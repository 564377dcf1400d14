"""Clusters, vaults and resource groups that exist already, on the local cloud."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from lab.azure import ids, kinds, seed
from tests.engine import stacks
from tests.engine.workspace import Workspace
from tests.material import Authority

GROUP, CLUSTER, VAULT = "platform", "shared", "shared-kv"
VERSION = version("pulumi-azure-native").replace(".", "_")
ADD_ON = "azureKeyvaultSecretsProvider"

FOREIGN: Mapping[str, Any] = {
    "kubernetesVersion": "1.33",
    "tags": {"team": "platform"},
    "agentPoolProfiles": [
        {"name": "system", "mode": "System", "count": 5, "vmSize": "Standard_D8s_v5"},
        {"name": "gpu", "mode": "User", "count": 2, "vmSize": "Standard_NC6s_v3"},
    ],
    "apiServerAccessProfile": {"authorizedIPRanges": ["203.0.113.0/24"]},
    "autoScalerProfile": {"scanInterval": "20s"},
    "addonProfiles": {"azurepolicy": {"enabled": True, "config": {"version": "v2"}}},
}
"""A cluster that others made: with properties and an add-on that this program knows nothing of."""


@pytest.fixture
def stack(authorities: dict[str, Authority], tmp_path: Path) -> Workspace:
    """A stack without any `up` on a cloud with resource group, cluster and vault."""
    made = Workspace(tmp_path / "stack")
    stacks.write_certificates(authorities, made.directory)
    seed.resource_group(made.state, GROUP)
    seed.cluster(made.state, GROUP, CLUSTER, **FOREIGN)
    seed.vault(made.state, GROUP, VAULT)
    configure(made, authorities)
    return made


def configure(stack: Workspace, authorities: Mapping[str, Authority], **changes: Any) -> None:
    """The stack's configuration: everything exists already."""
    stack.configure(
        stacks.offline(
            **{
                "cluster": {"name": CLUSTER, "resourceGroup": GROUP, "existing": True},
                "keyVault": {"name": VAULT, "resourceGroup": GROUP, "existing": True},
                **changes,
            }
        )
    )
    stacks.set_keys(stack, authorities)


def live(stack: Workspace) -> dict[str, Any]:
    """The cluster as ARM shows it."""
    with stack.cloud.glance() as azure:
        return dict(azure.get(ids.cluster(GROUP, CLUSTER)).document)


def foreign(document: Mapping[str, Any]) -> dict[str, Any]:
    """What of a cluster is none of this program's business."""
    others = {
        name: profile
        for name, profile in (document.get("addonProfiles") or {}).items()
        if name != ADD_ON
    }
    left = {
        name: value
        for name, value in document.items()
        if name not in ("addonProfiles", "serviceMeshProfile", "eTag", "systemData")
    }
    return {**left, "addonProfiles": others}


def test_a_cluster_is_adopted_then_gets_its_add_on_then_its_mesh(stack: Workspace) -> None:
    """One `pulumi up` for each, and none of them replaces it or changes what is not ours."""
    before = foreign(live(stack))
    seen = []
    for _ in range(3):
        ended = stack.done()
        assert "replace" not in ended.output
        found = live(stack)
        profile = (found.get("addonProfiles") or {}).get(ADD_ON) or {}
        mesh = (found.get("serviceMeshProfile") or {}).get("mode")
        seen.append((profile.get("enabled", False), mesh))
        assert foreign(found) == before
    assert seen == [(False, None), (True, None), (True, "Istio")]
    assert stack.outputs()["mesh"] == "enabled"


@pytest.fixture
def adopted(stack: Workspace) -> Workspace:
    """The stack after its three `pulumi up`s."""
    for _ in range(3):
        stack.done()
    return stack


def test_another_up_changes_nothing(adopted: Workspace) -> None:
    """The import is over, and what is ignored shows no difference."""
    assert adopted.preview("--expect-no-changes").code == 0


def test_a_foreign_change_is_not_set_back(adopted: Workspace) -> None:
    """An update that would do so is refused, in a preview too, until the stack has read it."""
    pools = [{**pool} for pool in FOREIGN["agentPoolProfiles"]]
    pools[0]["count"] = 9
    profile = live(adopted)["serviceMeshProfile"]
    seed.cluster(adopted.state, GROUP, CLUSTER, **{**FOREIGN, "agentPoolProfiles": pools})
    adopted.change(cluster={**stacks.CLUSTER, "name": CLUSTER, "resourceGroup": GROUP,
                            "existing": True, "rotationPollInterval": "3s"})  # fmt: skip
    refused = adopted.preview()
    assert refused.code != 0
    assert "cluster-changed: cluster shared was changed since" in refused.output
    assert "agentPoolProfiles[system].count: 5 -> 9" in refused.output
    adopted.done("--refresh")
    after = live(adopted)
    assert after["agentPoolProfiles"][0]["count"] == 9
    assert after["serviceMeshProfile"] == profile
    assert after["addonProfiles"][ADD_ON]["config"]["rotationPollInterval"] == "3s"


def changed_by_others(stack: Workspace, change: Callable[[dict[str, Any]], None]) -> None:
    """Changes the only cluster past the program, as with the Azure CLI."""
    with stack.cloud.instrument() as azure:
        [cluster] = azure.of_kind(kinds.MANAGED_CLUSTER)
        change(cluster.document)
        azure.put(cluster.id, kinds.MANAGED_CLUSTER, cluster.document)


def poll_every(stack: Workspace, interval: str) -> None:
    """Configures another poll interval: an update of the cluster."""
    stack.run("config", "set", "--path", "aks-istio-ca:cluster.rotationPollInterval", interval)


def taken_over(stack: Workspace, line: str) -> dict[str, Any]:
    """The cluster after an update that is refused with `line`, and then done with a refresh."""
    poll_every(stack, "3s")
    for refused in (stack.preview(), stack.up()):
        assert refused.code != 0
        assert "cluster-changed: " in refused.output
        assert line in " ".join(refused.output.split())
    stack.done("--refresh")
    found = stack.only(kinds.MANAGED_CLUSTER)
    assert found["addonProfiles"][ADD_ON]["config"]["rotationPollInterval"] == "3s"
    return found


def enable_gateway(cluster: dict[str, Any]) -> None:
    """What `az aks mesh enable-ingress-gateway` does."""
    cluster["serviceMeshProfile"]["istio"]["components"] = {"ingressGateways": GATEWAYS}


GATEWAYS = [{"enabled": True, "mode": "External"}]
GATEWAY_LINE = "serviceMeshProfile.istio.components.ingressGateways: 0 -> 1 entries"


def test_a_gateway_of_somebody_else_stays_on(adopted: Workspace) -> None:
    """It is part of the mesh profile that this program sends, and none of its business."""
    changed_by_others(adopted, enable_gateway)
    after = taken_over(adopted, GATEWAY_LINE)["serviceMeshProfile"]["istio"]
    assert after["components"] == {"ingressGateways": GATEWAYS}
    assert after["certificateAuthority"]["plugin"]["keyVaultId"] == ids.vault(GROUP, VAULT)


def test_a_gateway_on_a_cluster_of_the_stack_stays_on(rotating: Workspace) -> None:
    """Whoever made the cluster, gateways are somebody else's."""
    changed_by_others(rotating, enable_gateway)
    after = taken_over(rotating, GATEWAY_LINE)["serviceMeshProfile"]["istio"]
    assert after["components"] == {"ingressGateways": GATEWAYS}


def test_a_tag_of_somebody_else_stays(adopted: Workspace) -> None:
    """Also what was added since is not set back."""
    changed_by_others(adopted, lambda cluster: cluster["tags"].update(cost="4711"))
    after = taken_over(adopted, "tags.cost: nothing -> 4711")
    assert after["tags"] == {"team": "platform", "cost": "4711"}


def test_a_scaled_pool_of_a_cluster_of_the_stack_stays_scaled(rotating: Workspace) -> None:
    """`nodePool` counts when the cluster is made; `az aks nodepool scale` does afterwards."""
    changed_by_others(rotating, lambda cluster: cluster["agentPoolProfiles"][0].update(count=7))
    after = taken_over(rotating, "agentPoolProfiles[system].count: 3 -> 7")
    assert after["agentPoolProfiles"][0]["count"] == 7


def test_another_node_pool_changes_nothing_of_a_cluster_that_is_made(rotating: Workspace) -> None:
    """AKS changes pools by requests of their own only, so the setting is used once."""
    rotating.run(
        "config", "set", "--path", "aks-istio-ca:cluster.nodePool.vmSize", "Standard_D8_v5"
    )
    assert rotating.preview("--expect-no-changes").code == 0


def test_a_group_that_the_stack_made_cannot_be_given_away_by_mistake(rotating: Workspace) -> None:
    """To name it in `existingResourceGroups` takes it out of the program: the engine would delete
    it, and ARM everything in it."""
    rotating.change(existingResourceGroups=["mesh-group"])
    with rotating.writes() as writes:
        for refused in (rotating.preview(), rotating.up()):
            assert refused.code != 0
            assert 'ResourceGroup::group-mesh-group" cannot be deleted' in refused.output
    assert writes == []


def test_a_group_that_the_stack_made_can_be_handed_over(rotating: Workspace) -> None:
    """As docs/troubleshooting.md says: once nothing in the state depends on it, it can be
    forgotten, and nothing is left to delete."""
    urn = rotating.resources()["azure-native:resources:ResourceGroup::group-mesh-group"]["urn"]
    rotating.change(existingResourceGroups=["mesh-group"])
    with rotating.writes() as writes:
        rotating.done("--exclude", urn)
        rotating.run("state", "delete", "--force", "--yes", urn)
        assert rotating.pulumi("up", "--yes", "--expect-no-changes").code == 0
    assert writes == []
    assert urn not in {each["urn"] for each in rotating.resources().values()}


def test_destroy_leaves_a_group_whose_vault_a_mesh_reads(
    stack: Workspace, authorities: dict[str, Authority]
) -> None:
    """The stack made vault and group, the adopted cluster stays: ARM would delete both with the
    group."""
    own = {"name": "own-kv", "resourceGroup": "own", "existing": None}
    configure(stack, authorities, keyVault=own)
    for _ in range(3):
        stack.done()
    secrets = stack.secrets()
    stack.run("state", "unprotect", "--all", "--yes")
    stack.run("destroy", "--yes", "--skip-preview")
    assert stack.secrets() == secrets != set()
    with stack.cloud.glance() as azure:
        assert azure.find(ids.resource_group("own")) is not None
        assert azure.find(ids.vault("own", "own-kv")) is not None


def test_an_access_policy_of_somebody_else_is_refused_in_the_preview(stack: Workspace) -> None:
    """azure-native makes no policy over another one, and would say so only after the secrets are
    written. The remedy leads on."""
    add_ons = {ADD_ON: {"enabled": True}}
    seed.cluster(stack.state, GROUP, CLUSTER, **{**FOREIGN, "addonProfiles": add_ons})
    identity = live(stack)["addonProfiles"][ADD_ON]["identity"]["objectId"]
    seed.access_policy(stack.state, GROUP, VAULT, principal=identity, secrets=["get", "list"])
    refused = stack.preview()
    assert refused.code != 0
    said = " ".join(refused.output.split())
    assert f"access-exists: vault {VAULT} already has an access policy" in said
    assert f"az keyvault delete-policy --name {VAULT} --object-id {identity}" in said
    forget_policies(stack)
    for _ in range(3):
        stack.done()
    assert stack.outputs()["mesh"] == "enabled"


def forget_policies(stack: Workspace) -> None:
    """What `az keyvault delete-policy` does, for every access policy of the vault."""
    with stack.cloud.instrument() as azure:
        vault = azure.get(ids.vault(GROUP, VAULT))
        vault.document["properties"]["accessPolicies"] = []
        azure.put(vault.id, kinds.VAULT, vault.document)


def test_destroy_leaves_what_was_there(adopted: Workspace) -> None:
    """Cluster, vault, and what the mesh that stays reads in it."""
    before, secrets = live(adopted), adopted.secrets()
    refused = adopted.pulumi("destroy", "--yes", "--skip-preview")
    assert refused.code != 0
    assert "pulumi state unprotect" in refused.output
    adopted.run("state", "unprotect", "--all", "--yes")
    adopted.run("destroy", "--yes", "--skip-preview")
    assert (live(adopted), adopted.secrets()) == (before, secrets)


def test_a_mesh_that_is_turned_off_is_turned_off_by_name(adopted: Workspace) -> None:
    """`mode: Disabled` is sent; leaving the profile out would leave the mesh on."""
    adopted.change(cluster={**stacks.CLUSTER, "name": CLUSTER, "resourceGroup": GROUP,
                            "existing": True, "mesh": False})  # fmt: skip
    adopted.done()
    assert live(adopted)["serviceMeshProfile"]["mode"] == "Disabled"


def test_the_vault_and_the_resource_group_stay_unmanaged(adopted: Workspace) -> None:
    """They are used, and nothing of them is in the state that a `destroy` could reach."""
    managed = {name.partition("::")[0] for name in adopted.resources()}
    assert "azure-native:keyvault:Vault" not in managed
    assert "azure-native:resources:ResourceGroup" not in managed
    assert "azure-native:keyvault:Secret" in managed


def plugin(vault: str) -> dict[str, Any]:
    """A service mesh profile that reads its CA from a vault."""
    return {
        "mode": "Istio",
        "istio": {
            "revisions": ["asm-1-29"],
            "certificateAuthority": {
                "plugin": {
                    "keyVaultId": ids.vault(GROUP, vault),
                    "rootCertObjectName": "root-cert",
                    "certObjectName": "ca-cert",
                    "keyObjectName": "ca-key",
                    "certChainObjectName": "cert-chain",
                }
            },
        },
    }


@pytest.mark.parametrize(
    ("profile", "line"),
    [
        (
            {"mode": "Istio", "istio": {"revisions": ["asm-1-29"]}},
            "mesh-self-signed: the mesh of cluster shared is on and signs with a CA of istiod's "
            "own, which AKS does not replace by a plug-in CA. Disable the mesh first (`az aks mesh "
            "disable -g platform -n shared`)",
        ),
        (plugin("other-kv"), "mesh-other-vault: the mesh of cluster shared is on and reads its CA"),
        (plugin(VAULT), "mesh-not-ours: the mesh of cluster shared is on and reads secrets"),
    ],
    ids=["self-signed", "another vault", "this vault"],
)
def test_a_mesh_of_somebody_else_is_refused(
    stack: Workspace, profile: dict[str, Any], line: str
) -> None:
    """With the article's remedy, in the preview, before anything registers."""
    seed.cluster(stack.state, GROUP, CLUSTER, **{**FOREIGN, "serviceMeshProfile": profile})
    refused = stack.preview()
    assert refused.code != 0
    assert refused.errors[0].startswith(line)
    with stack.writes() as writes:
        stack.up()
    assert writes == []


def test_a_mesh_of_somebody_else_is_left_alone_where_none_is_wanted(
    stack: Workspace, authorities: dict[str, Authority]
) -> None:
    """`mesh: false` turns off only what this stack has turned on."""
    profile = {"mode": "Istio", "istio": {"revisions": ["asm-1-29"]}}
    seed.cluster(stack.state, GROUP, CLUSTER, **{**FOREIGN, "serviceMeshProfile": profile})
    configure(
        stack,
        authorities,
        cluster={"name": CLUSTER, "resourceGroup": GROUP, "existing": True, "mesh": False},
    )
    for _ in range(3):
        stack.done()
    assert live(stack)["serviceMeshProfile"]["mode"] == "Istio"


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"cluster": {"name": "sharde", "resourceGroup": GROUP, "existing": True}},
            "cluster-missing: there is no cluster sharde in resource group platform.",
        ),
        (
            {"keyVault": {"name": "other", "resourceGroup": GROUP, "existing": True}},
            "vault-missing: there is no vault other in resource group platform.",
        ),
        (
            {
                "keyVault": {
                    "name": VAULT,
                    "resourceGroup": GROUP,
                    "existing": True,
                    "accessModel": "rbac",
                }
            },
            "vault-access-model: vault shared-kv decides by accessPolicy, the configuration says "
            "rbac.",
        ),
    ],
    ids=["no cluster", "no vault", "another access model"],
)
def test_what_does_not_fit_is_refused_before_anything_registers(
    stack: Workspace, authorities: dict[str, Authority], changes: dict[str, Any], line: str
) -> None:
    """One line for it."""
    configure(stack, authorities, **changes)
    refused = stack.preview()
    assert refused.code != 0
    assert refused.errors[0].startswith(line)


@pytest.fixture
def beside(authorities: dict[str, Authority], tmp_path: Path) -> Workspace:
    """A stack that has made a cluster in an existing group, with an existing vault."""
    made = Workspace(tmp_path / "stack")
    stacks.write_certificates(authorities, made.directory)
    seed.resource_group(made.state, GROUP)
    seed.vault(made.state, GROUP, VAULT)
    configure(
        made,
        authorities,
        cluster={"name": "new", "resourceGroup": GROUP},
        existingResourceGroups=[GROUP],
    )
    for _ in range(2):
        made.done()
    return made


def test_a_new_cluster_may_be_made_in_an_existing_group(beside: Workspace) -> None:
    """And it may use an existing vault."""
    assert beside.outputs()["mesh"] == "enabled"
    assert not any("ResourceGroup" in name for name in beside.resources())


def test_destroy_leaves_the_secrets_in_a_vault_that_was_there(beside: Workspace) -> None:
    """To delete one takes a right in the vault that whoever deploys does not have."""
    secrets = beside.secrets()
    beside.run("state", "unprotect", "--all", "--yes")
    beside.run("destroy", "--yes", "--skip-preview")
    assert beside.resources() == {}
    assert beside.secrets() == secrets != set()


def test_what_exists_is_asked_of_the_provider_that_makes_the_rest(stack: Workspace) -> None:
    """A stack has one Azure provider: an unversioned request would start another."""
    stack.done()
    providers = [
        each["urn"].rpartition("::")[2]
        for each in stack.exported()["deployment"]["resources"]
        if each["type"] == "pulumi:providers:azure-native"
    ]
    assert providers == [f"default_{VERSION}"]
