"""An AKS cluster that exists already: its add-on and its mesh become ours, nothing else does."""

from __future__ import annotations

import inspect

import pulumi
from pulumi_azure_native import containerservice as aks

from components.cluster import ClusterComponent, add_ons, mesh_profile, others_of
from components.unchanged import unchanged
from meshca.adoption import LiveCluster
from meshca.mesh import Mesh
from meshca.settings import Cluster as Settings

MESH = "service_mesh_profile"
ADD_ONS = "addon_profiles"


class AdoptedCluster(ClusterComponent):
    """The cluster as it is found, then with the add-on, then with the mesh: an `up` for each.

    The first `up` imports it and changes nothing, as an import must. Every property but add-ons
    and mesh is ignored for good, and the cluster's other add-ons are carried along: a PUT that
    leaves one out would turn it off. `destroy` leaves the cluster as it is.
    """

    def __init__(
        self,
        name: str,
        settings: Settings,
        mesh: Mesh,
        live: LiveCluster,
        *,
        first: bool,
        ours: bool,
        vault_id: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """`first`: it is only imported yet. `ours`: this stack has turned its mesh on."""
        super().__init__("aks-istio-ca:index:Cluster", name, None, opts)
        decided = mesh is Mesh.ENABLED or (mesh is Mesh.DISABLED and ours)
        left_alone = [each for each in _inputs() if each not in (ADD_ONS, MESH)]
        if first:
            left_alone += [ADD_ONS, MESH]
        elif not decided:
            left_alone += [MESH]
        left_alone += others_of(mesh, ours=ours)
        others = {
            other: aks.ManagedClusterAddonProfileArgs(
                enabled=add_on.enabled, config=dict(add_on.config) or None
            )
            for other, add_on in live.other_add_ons().items()
        }
        self.show(
            aks.ManagedCluster(
                name,
                resource_name_=settings.name,
                resource_group_name=settings.resource_group,
                addon_profiles=None if first else {**others, **add_ons(settings)},
                service_mesh_profile=mesh_profile(mesh, settings, vault_id) if decided else None,
                opts=pulumi.ResourceOptions(
                    parent=self,
                    import_=live.id,
                    protect=True,
                    retain_on_delete=True,
                    ignore_changes=left_alone,
                    hooks=unchanged(name, settings),
                ),
            )
        )


def _inputs() -> tuple[str, ...]:
    """Every input of a cluster that the SDK knows."""
    return tuple(inspect.signature(aks.ManagedClusterArgs.__init__).parameters)[1:]
