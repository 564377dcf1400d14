"""Clusters, vaults and resource groups that exist already, on the local cloud."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from lab.azure import ids, seed
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


def test_a_new_cluster_may_be_made_in_an_existing_group(
    authorities: dict[str, Authority], tmp_path: Path
) -> None:
    """And it may use an existing vault."""
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
    assert made.outputs()["mesh"] == "enabled"
    assert not any("ResourceGroup" in name for name in made.resources())


def test_what_exists_is_asked_of_the_provider_that_makes_the_rest(stack: Workspace) -> None:
    """A stack has one Azure provider: an unversioned request would start another."""
    stack.done()
    providers = [
        each["urn"].rpartition("::")[2]
        for each in stack.exported()["deployment"]["resources"]
        if each["type"] == "pulumi:providers:azure-native"
    ]
    assert providers == [f"default_{VERSION}"]
