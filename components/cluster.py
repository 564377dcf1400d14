"""The AKS cluster, its CSI secrets-provider add-on, and its service mesh profile."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi
from pulumi_azure_native import containerservice as aks

from components.unchanged import GATEWAYS, unchanged
from meshca import bundle
from meshca.adoption import ADD_ON, is_add_on
from meshca.mesh import Mesh
from meshca.settings import Cluster as ClusterSettings


class ClusterComponent(pulumi.ComponentResource):
    """A cluster, made or adopted, as the rest of the program sees it."""

    id: pulumi.Output[str]

    def show(self, cluster: aks.ManagedCluster) -> None:
        """Completes the component with the cluster that it is about."""
        self.id = cluster.id
        self._add_ons = cluster.addon_profiles
        self.register_outputs({"id": self.id})

    @property
    def add_on_identity(self) -> pulumi.Output[str]:
        """Object id of the identity that AKS made for the add-on; fails when there is none.

        Looked for only when it is asked for, and not before the cluster has an id: an `up` with
        `--target` that leaves the cluster out shows add-ons without identities.
        """
        return self.id.apply(lambda _: self._add_ons.apply(_object_id))


class Cluster(ClusterComponent):
    """The cluster, with the add-on always on and the mesh as `mesh` says."""

    def __init__(
        self,
        name: str,
        settings: ClusterSettings,
        mesh: Mesh,
        *,
        resource_group: pulumi.Input[str],
        vault_id: pulumi.Input[str],
        ours: bool = False,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """`ours`: an earlier `up` has turned its mesh on."""
        super().__init__("aks-istio-ca:index:Cluster", name, None, opts)
        undecided = mesh not in (Mesh.ENABLED, Mesh.DISABLED)
        cluster = aks.ManagedCluster(
            name,
            resource_name_=settings.name,
            resource_group_name=resource_group,
            dns_prefix=settings.dns_prefix,
            kubernetes_version=settings.kubernetes_version,
            identity=aks.ManagedClusterIdentityArgs(type=aks.ResourceIdentityType.SYSTEM_ASSIGNED),
            agent_pool_profiles=[
                aks.ManagedClusterAgentPoolProfileArgs(
                    name=settings.node_pool.name,
                    mode=aks.AgentPoolMode.SYSTEM,
                    count=settings.node_pool.count,
                    vm_size=settings.node_pool.vm_size,
                    os_type=aks.OSType.LINUX,
                )
            ],
            addon_profiles=add_ons(settings),
            service_mesh_profile=mesh_profile(mesh, settings, vault_id),
            opts=pulumi.ResourceOptions(
                parent=self,
                protect=True,
                ignore_changes=[
                    # Made with the cluster, then somebody else's: AKS adds, resizes and takes away
                    # node pools by requests of their own only.
                    "agent_pool_profiles",
                    # A lost ledger makes a live mesh pending: whether AKS turns off what a request
                    # leaves out is documented nowhere.
                    *(["service_mesh_profile"] if undecided else []),
                    *others_of(mesh, ours=ours),
                ],
                hooks=unchanged(name, settings),
            ),
        )
        self.show(cluster)


def add_ons(settings: ClusterSettings) -> dict[str, aks.ManagedClusterAddonProfileArgs]:
    """The CSI secrets-provider add-on, looking for new secrets."""
    return {
        ADD_ON: aks.ManagedClusterAddonProfileArgs(
            enabled=True,
            config={
                # Off by default; without it istiod never sees a rotation.
                "enableSecretRotation": "true",
                "rotationPollInterval": settings.rotation_poll_interval,
            },
        )
    }


def others_of(mesh: Mesh, *, ours: bool) -> list[str]:
    """What of a live mesh's profile is not this program's; before it is live there is nothing to
    ignore, and the engine would say so."""
    return [GATEWAYS] if ours and mesh is Mesh.ENABLED else []


def mesh_profile(
    mesh: Mesh, settings: ClusterSettings, vault_id: pulumi.Input[str]
) -> aks.ServiceMeshProfileArgs | None:
    """None while pending: the profile in the state, if there is one, then stays as it is."""
    if mesh is Mesh.DISABLED:
        return aks.ServiceMeshProfileArgs(mode=aks.ServiceMeshMode.DISABLED)
    if mesh is not Mesh.ENABLED:
        return None
    plugin = aks.IstioPluginCertificateAuthorityArgs(
        key_vault_id=vault_id,
        root_cert_object_name=bundle.ROOT_CERT,
        cert_object_name=bundle.CA_CERT,
        key_object_name=bundle.CA_KEY,
        cert_chain_object_name=bundle.CERT_CHAIN,
    )
    return aks.ServiceMeshProfileArgs(
        mode=aks.ServiceMeshMode.ISTIO,
        istio=aks.IstioServiceMeshArgs(
            revisions=[*settings.revisions],
            certificate_authority=aks.IstioCertificateAuthorityArgs(plugin=plugin),
        ),
    )


def _object_id(
    profiles: Mapping[str, aks.outputs.ManagedClusterAddonProfileResponse] | None,
) -> str:
    profile = next((each for name, each in (profiles or {}).items() if is_add_on(name)), None)
    if profile is None or profile.identity is None or profile.identity.object_id is None:
        raise pulumi.RunError(
            f"the cluster shows no identity for its {ADD_ON} add-on: the state is older than the "
            "add-on. Run `pulumi refresh`, then `pulumi up` again."
        )
    return str(profile.identity.object_id)
