"""Cluster: the managed cluster's request in each state of the mesh."""

from typing import Any

import pulumi
import pytest

from components.cluster import Cluster
from meshca.mesh import Mesh
from tests.components.cloud import ADD_ON, ADD_ON_IDENTITY, CLUSTER, Cloud, vault_id
from tests.components.recorder import Request, Run
from tests.components.stacks import GENERATED, changed, component

THE_VAULT = vault_id("group", "mesh-vault")


def deploy(mesh: Mesh, cloud: Cloud | None = None, *, ours: bool = False, **cluster: Any) -> Run:
    """A Cluster alone; `ours`: with a mesh that is live."""

    def build(settings: Any, _files: Any) -> None:
        made = Cluster(
            "cluster",
            settings.cluster,
            mesh,
            resource_group="group",
            vault_id=THE_VAULT,
            ours=ours,
        )
        pulumi.export("id", made.id)
        pulumi.export("identity", made.add_on_identity)

    return component(build, changed(GENERATED, cluster=cluster), cloud=cloud)


def request(mesh: Mesh, **cluster: Any) -> Request:
    """The request for the managed cluster."""
    return deploy(mesh, **cluster).one(CLUSTER, "cluster")


UNDECIDED = [Mesh.PENDING, Mesh.BOOTSTRAP]


@pytest.mark.parametrize("mesh", UNDECIDED)
def test_a_pending_cluster_is_asked_for_in_full(mesh: Mesh) -> None:
    """Until access is granted there is no mesh profile at all: ARM accepts one whose vault it
    cannot read, and istiod then hangs. The add-on is on, with rotation, from the start."""
    pool = {"name": "nodes", "count": 5, "vmSize": "Standard_D8s_v5"}
    found = request(mesh, nodePool=pool, kubernetesVersion="1.33", rotationPollInterval="20s")
    assert found.inputs == {
        "resourceName": "mesh",
        "resourceGroupName": "group",
        "dnsPrefix": "mesh",
        "kubernetesVersion": "1.33",
        "identity": {"type": "SystemAssigned"},
        "agentPoolProfiles": [
            {
                "name": "nodes",
                "mode": "System",
                "count": 5,
                "vmSize": "Standard_D8s_v5",
                "osType": "Linux",
            }
        ],
        "addonProfiles": {
            ADD_ON: {
                "enabled": True,
                "config": {"enableSecretRotation": "true", "rotationPollInterval": "20s"},
            }
        },
    }


def test_an_enabled_mesh_has_all_five_fields_and_its_revisions() -> None:
    """The plug-in CA is complete (ARM's own schema would let a part of it pass) and the revisions
    are explicit."""
    assert request(Mesh.ENABLED).inputs["serviceMeshProfile"] == {
        "mode": "Istio",
        "istio": {
            "revisions": ["asm-1-28", "asm-1-29"],
            "certificateAuthority": {
                "plugin": {
                    "keyVaultId": THE_VAULT,
                    "rootCertObjectName": "root-cert",
                    "certObjectName": "ca-cert",
                    "keyObjectName": "ca-key",
                    "certChainObjectName": "cert-chain",
                }
            },
        },
    }


def test_a_mesh_that_is_off_says_so() -> None:
    """Leaving the profile out is not known to turn a mesh off: `Disabled` is sent."""
    assert request(Mesh.DISABLED).inputs["serviceMeshProfile"] == {"mode": "Disabled"}


def test_the_mesh_is_added_to_the_same_request() -> None:
    """Enabling the mesh changes nothing of the cluster but its mesh profile."""
    pending, enabled = request(Mesh.PENDING), request(Mesh.ENABLED)
    assert {**pending.inputs, "serviceMeshProfile": enabled.inputs["serviceMeshProfile"]} == (
        enabled.inputs
    )
    assert pending.urn == enabled.urn


def test_aks_chooses_the_kubernetes_version_unless_told() -> None:
    """Without `kubernetesVersion` nothing is sent, not an empty text."""
    assert "kubernetesVersion" not in request(Mesh.PENDING).inputs


@pytest.mark.parametrize("mesh", UNDECIDED)
def test_a_profile_in_the_state_outlives_a_lost_ledger(mesh: Mesh) -> None:
    """While the mesh is pending, a profile that the state knows stays: without its ledger a live
    mesh is pending, and must not be turned off."""
    assert "serviceMeshProfile" in request(mesh).options["ignoreChanges"]


@pytest.mark.parametrize(
    ("mesh", "ours", "gateways"),
    [
        (Mesh.ENABLED, True, ["serviceMeshProfile.istio.components"]),
        (Mesh.ENABLED, False, []),
        (Mesh.DISABLED, True, []),
    ],
    ids=["live", "to come", "off"],
)
def test_a_decided_mesh_is_written(mesh: Mesh, ours: bool, gateways: list[str]) -> None:
    """On or off, the profile counts, but for gateways, which are somebody else's as node pools are
    once the cluster is made. The cluster is protected, and no update of it goes unjudged."""
    assert deploy(mesh, ours=ours).one(CLUSTER, "cluster").options == {
        "protect": True,
        "ignoreChanges": ["agentPoolProfiles", *gateways],
        "hooks": {"beforeUpdate": ["cluster-unchanged"]},
    }


def test_the_add_ons_identity_is_read_from_the_cluster() -> None:
    """`add_on_identity` is what AKS shows for the add-on."""
    assert deploy(Mesh.PENDING).outputs["identity"] == ADD_ON_IDENTITY


def test_a_cluster_without_the_identity_says_what_to_do() -> None:
    """A state from before the add-on shows no identity: one line says which, and how to mend it."""
    with pytest.raises(pulumi.RunError) as refused:
        deploy(Mesh.PENDING, Cloud(identity=None))
    assert str(refused.value) == (
        "the cluster shows no identity for its azureKeyvaultSecretsProvider add-on: the state is "
        "older than the add-on. Run `pulumi refresh`, then `pulumi up` again."
    )


def knows_the_identity(settings: Any, _files: Any) -> None:
    """A Cluster whose identity is asked for."""
    made = Cluster(
        "cluster", settings.cluster, Mesh.PENDING, resource_group="group", vault_id=THE_VAULT
    )
    pulumi.export("known", pulumi.Output.from_input(made.add_on_identity.is_known()))


def test_a_cluster_to_come_has_an_unknown_identity() -> None:
    """In the preview of a first `up` the identity is unknown, and nothing is refused."""
    run = component(knows_the_identity, cloud=Cloud(exists=False), preview=True)
    assert run.outputs["known"] is False


def test_a_cluster_that_was_left_out_has_an_unknown_identity() -> None:
    """An `up` with `--target` that does not make the cluster yet is not told to refresh."""
    run = component(knows_the_identity, left_out=("cluster",))
    assert run.outputs["known"] is False


def test_an_identity_that_nobody_asks_for_cannot_fail() -> None:
    """Where the live cluster told the identity, the state may be older than the add-on."""

    def build(settings: Any, _files: Any) -> None:
        Cluster(
            "cluster", settings.cluster, Mesh.PENDING, resource_group="group", vault_id=THE_VAULT
        )

    component(build, cloud=Cloud(identity=None))
