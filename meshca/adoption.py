"""Clusters and vaults that exist already: what is told of them, and when they can be used.

A cluster is adopted: its add-on and its mesh become this stack's, and nothing else of it does. A
vault is only used. Both are read as ARM shows them (`getManagedCluster`, `getVault`), in the
names of the API.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from meshca.ledger import Ledger
from meshca.mesh import is_vault
from meshca.refusals import Refusal, Refused
from meshca.settings import AccessModel, Cluster, KeyVault, Settings

ADD_ON = "azureKeyvaultSecretsProvider"


def is_add_on(name: str) -> bool:
    """Whether this names the CSI secrets-provider add-on; AKS does not keep the case of a name."""
    return name.casefold() == ADD_ON.casefold()


Raw = Mapping[str, Any]
"""A resource as ARM shows it."""


@dataclass(frozen=True, slots=True)
class AddOn:
    """An add-on as it is turned on or off; what AKS says about its identity left out."""

    enabled: bool
    config: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LiveMesh:
    """A mesh that is on: the vault's ARM id and the objects' names, or a CA of istiod's own."""

    vault: str | None
    objects: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class LiveCluster:
    """A cluster as it is now."""

    id: str
    add_ons: Mapping[str, AddOn]
    identity: str | None
    """Object id of the CSI add-on's identity; None while the add-on is off."""
    mesh: LiveMesh | None
    raw: Raw = field(repr=False, default_factory=dict)

    def other_add_ons(self) -> dict[str, AddOn]:
        """Those that are not this program's: to be carried along, or a PUT would turn them off."""
        return {name: add_on for name, add_on in self.add_ons.items() if not is_add_on(name)}


def live_cluster(raw: Raw) -> LiveCluster:
    """A cluster out of what getManagedCluster answers."""
    profiles: Mapping[str, Raw] = raw.get("addonProfiles") or {}
    ours = next((profile for name, profile in profiles.items() if is_add_on(name)), {})
    return LiveCluster(
        id=str(raw["id"]),
        add_ons={
            name: AddOn(bool(profile["enabled"]), dict(profile.get("config") or {}))
            for name, profile in profiles.items()
        },
        identity=(ours.get("identity") or {}).get("objectId") if ours.get("enabled") else None,
        mesh=_mesh(raw.get("serviceMeshProfile") or {}),
        raw=raw,
    )


def _mesh(profile: Raw) -> LiveMesh | None:
    if profile.get("mode") != "Istio":
        return None
    istio = profile.get("istio") or {}
    plugin = (istio.get("certificateAuthority") or {}).get("plugin") or {}
    names = ("rootCertObjectName", "certObjectName", "keyObjectName", "certChainObjectName")
    return LiveMesh(
        plugin.get("keyVaultId"), frozenset(plugin[name] for name in names if plugin.get(name))
    )


def is_first_pass(settings: Settings, ledger: Ledger | None) -> bool:
    """Whether this `up` only adopts the cluster: the import must differ in nothing from it."""
    return settings.cluster.existing and ledger is None


def mesh_refusals(
    settings: Settings, ledger: Ledger | None, live: LiveCluster
) -> Iterator[Refusal]:
    """Why the mesh of an adopted cluster cannot become this stack's.

    The kind of the CA is chosen when the mesh is enabled: AKS changes neither a self-signed CA to
    a plug-in one nor a plug-in's vault in place (AKS, "Plug in CA certificates for Istio").
    """
    if live.mesh is None or not settings.cluster.mesh or (ledger is not None and ledger.mesh):
        return
    cluster = settings.cluster
    disable = (
        f"Disable the mesh first (`az aks mesh disable -g {cluster.resource_group} -n "
        f"{cluster.name}`), which deletes Istio's custom resources and whatever is in "
        "aks-istio-system and aks-istio-ingress, and run `pulumi up` again."
    )
    if live.mesh.vault is None:
        yield Refusal(
            "mesh-self-signed",
            f"the mesh of cluster {cluster.name} is on and signs with a CA of istiod's own, which "
            "AKS does not replace by a plug-in CA",
            disable,
        )
    elif not is_vault(live.mesh.vault, settings.key_vault):
        yield Refusal(
            "mesh-other-vault",
            f"the mesh of cluster {cluster.name} is on and reads its CA from {live.mesh.vault}, "
            f"the configuration names vault {settings.key_vault.name} in resource group "
            f"{settings.key_vault.resource_group}",
            f"Name that vault in `keyVault`. Otherwise: {disable}",
        )
    else:
        yield Refusal(
            "mesh-not-ours",
            f"the mesh of cluster {cluster.name} is on and reads secrets of this vault that this "
            "stack did not write",
            "Import the state of the stack that wrote them (`pulumi stack import`). Otherwise: "
            f"{disable}",
        )


def vault_refusals(wanted: KeyVault, raw: Raw, *, tenant: str) -> Iterator[Refusal]:
    """Why an existing vault cannot be used."""
    properties: Raw = raw.get("properties") or {}
    rbac = bool(properties.get("enableRbacAuthorization"))
    live = AccessModel.RBAC if rbac else AccessModel.ACCESS_POLICY
    if live is not wanted.access_model:
        yield Refusal(
            "vault-access-model",
            f"vault {wanted.name} decides by {live}, the configuration says {wanted.access_model}",
            f"Set `keyVault.accessModel` to {live}: changing it would take access away from "
            "everybody else who uses the vault.",
        )
    if str(properties.get("tenantId", tenant)).lower() != tenant.lower():
        yield Refusal(
            "vault-tenant",
            f"vault {wanted.name} is in tenant {properties['tenantId']}, the cluster in {tenant}",
            "Use a vault in the cluster's tenant: AKS reads the CA from no other.",
        )


def access_refusals(vault: KeyVault, principal: str, raw: Raw) -> Iterator[Refusal]:
    """Why an access policy cannot be made: the vault has one for the identity.

    azure-native makes none over it, and would say so only after the secrets are written.
    """
    policies: Sequence[Raw] = (raw.get("properties") or {}).get("accessPolicies") or ()
    if any(str(each.get("objectId")).lower() == principal.lower() for each in policies):
        yield Refusal(
            "access-exists",
            f"vault {vault.name} already has an access policy for the add-on's identity "
            f"{principal} that this stack does not know of",
            "Whatever else mounts secrets of this vault through the cluster's add-on needs it: "
            "leave it alone and give the mesh a vault of its own. Otherwise list what the others "
            f"need in `keyVault.secretPermissions`, run `az keyvault delete-policy --name "
            f"{vault.name} --object-id {principal}`, and `pulumi up` at once.",
        )


def missing(kind: str, wanted: Cluster | KeyVault) -> Refused:
    """What is to exist already and does not."""
    reason = f"there is no {kind} {wanted.name} in resource group {wanted.resource_group}"
    if isinstance(wanted, Cluster):
        mitigation = "Correct `cluster`, or take `existing` out of it to have one made."
        return Refused([Refusal("cluster-missing", reason, mitigation)])
    mitigation = "Correct `keyVault`, or take `existing` out of it to have one made."
    return Refused([Refusal("vault-missing", reason, mitigation)])


OURS = ("addonProfiles", "serviceMeshProfile")
"""The properties of a cluster that this program decides."""

GATEWAYS = ("serviceMeshProfile", "istio", "components")
"""What of the mesh profile is somebody else's (`az aks mesh enable-ingress-gateway`)."""

_NOT_COMPARED = frozenset(
    {
        # Inputs of the provider that ARM does not show.
        "resourceGroupName", "resourceName", "azureApiVersion",
        # What AKS itself changes, without anybody's request.
        "currentKubernetesVersion", "currentOrchestratorVersion", "eTag", "effectiveOutboundIPs",
        "nodeImageVersion", "powerState", "provisioningState", "status", "systemData",
    }
)  # fmt: skip


def outdated(known: Raw, wanted: Raw, live: Raw) -> list[str]:
    """What an update that sends `wanted` would set back, as `path: known -> live`.

    An update sends the whole cluster, with foreign properties as the state holds them: what
    somebody else has changed, added or taken away since `known` was read would be undone. So would
    an ingress gateway that the request does not name.
    """
    lines = [
        line
        for name in dict.fromkeys((*known, *live))
        # A state keeps the id apart from the properties.
        if name not in (*OURS, "id") and not name.startswith("__")
        for line in _differences(name, known.get(name), live.get(name))
    ]
    if _at(wanted, "serviceMeshProfile", "mode") == _at(live, "serviceMeshProfile", "mode"):
        lines += _differences(".".join(GATEWAYS), _at(wanted, *GATEWAYS), _at(live, *GATEWAYS))
    return lines


def _at(raw: Any, *path: str) -> Any:
    for name in path:
        raw = raw.get(name) if isinstance(raw, Mapping) else None
    return raw


def _differences(path: str, known: Any, live: Any) -> Iterator[str]:
    if path.rpartition(".")[2] in _NOT_COMPARED or (_is_nothing(known) and _is_nothing(live)):
        return
    if isinstance(known or live, Mapping) and isinstance(live or known, Mapping):
        known, live = known or {}, live or {}
        for name in dict.fromkeys((*known, *live)):
            yield from _differences(f"{path}.{name}", known.get(name), live.get(name))
    elif isinstance(known or live, list | tuple) and isinstance(live or known, list | tuple):
        yield from _list_differences(path, known or [], live or [])
    elif not _same(path, known, live):
        yield f"{path}: {_shown(known)} -> {_shown(live)}"


def _list_differences(path: str, known: Sequence[Any], live: Sequence[Any]) -> Iterator[str]:
    if len(known) != len(live):
        yield f"{path}: {len(known)} -> {len(live)} entries"
        return
    by_name = {each["name"]: each for each in live if isinstance(each, Mapping) and "name" in each}
    for index, inner in enumerate(known):
        name = inner.get("name") if isinstance(inner, Mapping) else None
        other = live[index] if name is None else by_name.get(name)
        if other is None and name is not None:
            yield f"{path}: {name} -> gone"
        else:
            yield from _differences(f"{path}[{name or index}]", inner, other)


def _is_nothing(value: Any) -> bool:
    """ARM shows what is not set as it likes: left out, null, empty or false."""
    return not value


def _shown(value: Any) -> Any:
    """Pulumi hands every number over as a float."""
    if _is_nothing(value) and not isinstance(value, bool | int | float):
        return "nothing"
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _same(path: str, known: Any, live: Any) -> bool:
    if path == "location":
        return str(known).replace(" ", "").lower() == str(live).replace(" ", "").lower()
    return bool(known == live)


def outdated_refusal(cluster: str, changes: Sequence[str]) -> Refusal:
    """Why a cluster may not be updated now."""
    shown = "; ".join(changes[:5]) + (f"; and {len(changes) - 5} more" if len(changes) > 5 else "")
    return Refusal(
        "cluster-changed",
        f"cluster {cluster} was changed since this stack last read it, and this update would set "
        f"that back ({shown})",
        "Run `pulumi refresh`, which takes the changes over, then `pulumi up` again; or both in "
        "one with `pulumi up --refresh`.",
    )
