"""What has to hold for an AKS cluster whose mesh takes its CA from Key Vault."""

from collections.abc import Iterator, Mapping

from policy.seen import UNKNOWN, Resource

CLUSTER = "azure-native:containerservice:ManagedCluster"
GROUP = "azure-native:resources:ResourceGroup"
"""ARM deletes a group with everything in it."""
ADD_ON = "azureKeyvaultSecretsProvider"
PLUGIN = ("serviceMeshProfile", "istio", "certificateAuthority", "plugin")
PLUGIN_FIELDS = (
    "keyVaultId",
    "rootCertObjectName",
    "certObjectName",
    "keyObjectName",
    "certChainObjectName",
)


def plugin_ca_complete(cluster: Resource) -> Iterator[str]:
    """A mesh has the plug-in CA from its first day on, with all five fields.

    Every field is optional in ARM's schema, and ARM accepts a part of them. A mesh without any
    signs with a CA of its own, which cannot be changed in place: the mesh has to be disabled, and
    Istio's custom resources go with it (learn.microsoft.com/azure/aks/istio-plugin-ca).
    """
    if cluster.at("serviceMeshProfile", "mode") != "Istio":
        return
    plugin = cluster.at(*PLUGIN)
    if plugin is UNKNOWN:
        return
    missing = [name for name in PLUGIN_FIELDS if not (plugin or {}).get(name)]
    if len(missing) == len(PLUGIN_FIELDS):
        yield (
            "the mesh would sign with a CA of its own, and could not take another in place: set "
            f"{'.'.join(PLUGIN)}"
        )
    elif missing:
        yield f"{'.'.join(PLUGIN)} lacks {', '.join(missing)}"


def secret_rotation_on(cluster: Resource) -> Iterator[str]:
    """The CSI secrets provider looks for changed secrets; it does not unless told to.

    Of a cluster with a plug-in CA only: nobody else may have need of it, and a cluster that is
    adopted gets the two one after the other.
    (learn.microsoft.com/azure/aks/csi-secrets-store-configuration-options)
    """
    if not cluster.at(*PLUGIN):
        return
    add_on = cluster.at("addonProfiles", ADD_ON)
    if add_on is UNKNOWN:
        return
    at = f"addonProfiles.{ADD_ON}"
    if not isinstance(add_on, Mapping) or add_on.get("enabled") not in (True, UNKNOWN):
        yield f"a mesh with a plug-in CA needs the add-on: set {at}.enabled to true"
    elif cluster.at("addonProfiles", ADD_ON, "config", "enableSecretRotation") not in (
        "true",
        UNKNOWN,
    ):
        yield f'istiod would never see a rotation: set {at}.config.enableSecretRotation to "true"'


def protected(resource: Resource) -> Iterator[str]:
    """What a mesh cannot lose is protected, so that the engine refuses to replace or delete it."""
    if not resource.protected:
        yield f"{resource.name} could be replaced or deleted: give it `protect=True`"
