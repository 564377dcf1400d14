"""AKS clusters: what the resource provider does with add-ons and with the mesh profile.

Sources: facts/azure.md 1.6, 2, 3.1, 4 and 6. What they leave open is refused as unmodelled and not
guessed. In short: a PUT replaces the cluster, but an add-on or mesh profile that it leaves out
stays as it was; an add-on's identity exists while the add-on is on; a mesh profile is stored
without a look at the vault that it names.
"""

from __future__ import annotations

import re
import uuid
from contextlib import suppress
from typing import Any, Final

from lab.azure import arm, ids, kinds
from lab.azure.account import TENANT_ID
from lab.azure.data_plane import ADDON, seconds
from lab.azure.errors import AzureError, UnmodelledError
from lab.azure.resource import AzureResource, normal_location
from lab.azure.store import Document, Stored, Transaction
from lab.provider.values import Properties

REVISIONS: Final[dict[str, tuple[int, int]]] = {
    "asm-1-28": (30, 35),
    "asm-1-29": (31, 36),
    "asm-1-30": (32, 36),
}
"""Istio revisions that AKS supports, and the Kubernetes 1.x minors that each runs on."""

DEFAULT_REVISION: Final = "asm-1-29"
"""AKS takes n-1 when none is given (istio-support-policy)."""

DEFAULT_KUBERNETES: Final = "1.34"
KUBERNETES_MINORS: Final = range(30, 37)

_ADDONS: Final[dict[str, tuple[str, frozenset[str] | None]]] = {
    ADDON: ("azurekeyvaultsecretsprovider", frozenset({"enableSecretRotation",
                                                       "rotationPollInterval"})),
    "azurepolicy": ("azurepolicy", None),
    "omsagent": ("omsagent", None),
}  # fmt: skip
"""Add-ons: the prefix of the identity's name, and the config keys (None: any)."""

_PLUG_IN_FIELDS: Final = (
    "keyVaultId", "certObjectName", "keyObjectName", "rootCertObjectName", "certChainObjectName",
)  # fmt: skip

_PATH_INPUTS: Final = ("resourceGroupName", "resourceName")


class ManagedCluster(AzureResource):
    """azure-native:containerservice:ManagedCluster."""

    token = "azure-native:containerservice:ManagedCluster"
    operations = "managedClusters"
    name_input = "resourceName"
    patterns = (("resourceName", r"^[a-zA-Z0-9]$|^[a-zA-Z0-9][-_a-zA-Z0-9]{0,61}[a-zA-Z0-9]$"),)
    replaces = (
        "resourceGroupName", "resourceName", "location", "diskEncryptionSetID", "dnsPrefix",
        "fqdnSubdomain", "linuxProfile", "networkProfile", "nodeResourceGroup", "windowsProfile",
    )  # fmt: skip

    def id_of(self, inputs: Properties) -> str:
        """Return the cluster's id."""
        return ids.cluster(str(inputs["resourceGroupName"]), str(inputs["resourceName"]))

    def names_in(self, resource_id: str) -> Properties:
        """Return the names of group and cluster."""
        return {
            "resourceGroupName": ids.segment(resource_id, "resourceGroups"),
            "resourceName": ids.segment(resource_id, "managedClusters"),
        }

    def put(self, transaction: Transaction, resource_id: str, inputs: Properties) -> Document:
        """Create or update the cluster, and wait until that is done."""
        before = transaction.find(resource_id)
        _check_nothing_lost(self.schema.inputs["unmodelled"], before, inputs)
        _check_request(inputs, before)
        document = _document(transaction, inputs, before)
        document |= _addons(inputs, before, str(document["nodeResourceGroup"]))
        document |= _mesh(inputs, before, str(document["kubernetesVersion"]))
        return transaction.put(resource_id, kinds.MANAGED_CLUSTER, document).document

    def drop(self, transaction: Transaction, resource_id: str) -> None:
        """Delete the cluster, its node resource group and its add-ons' identities."""
        transaction.remove(transaction.get(resource_id).id)


def _document(transaction: Transaction, inputs: Properties, before: Stored | None) -> Document:
    old = before.document if before else {}
    name, group = str(inputs["resourceName"]), str(inputs["resourceGroupName"])
    common = arm.tracked(transaction, inputs, kinds.MANAGED_CLUSTER, name)
    version = str(inputs.get("kubernetesVersion", old.get("kubernetesVersion", DEFAULT_KUBERNETES)))
    _check_version(version)
    patch = version if version.count(".") == 2 else f"{version}.0"
    prefix = str(inputs.get("dnsPrefix", old.get("dnsPrefix", f"{name}-dns")))
    host = old.get("fqdn", f"{prefix}-{uuid.uuid4().hex[:8]}.hcp.{common['location']}.azmk8s.io")
    nodes = f"MC_{group}_{name}_{common['location']}"
    given = {
        name: value
        for name, value in inputs.items()
        if name not in (*_PATH_INPUTS, "addonProfiles", "serviceMeshProfile", "tags", "location")
    }
    return {
        "disableLocalAccounts": False,
        "enableRBAC": True,
        "nodeResourceGroup": old.get("nodeResourceGroup", nodes),
        "sku": {"name": "Base", "tier": "Free"},
        "supportPlan": "KubernetesOfficial",
        **given,
        **common,
        "agentPoolProfiles": [
            {
                "count": 1,
                "type": "VirtualMachineScaleSets",
                "osType": "Linux",
                **pool,
                "currentOrchestratorVersion": patch,
                "powerState": {"code": "Running"},
                "provisioningState": "Succeeded",
            }
            for pool in inputs.get("agentPoolProfiles", [])
        ],
        "azurePortalFQDN": host.replace(".hcp.", ".portal.hcp."),
        "currentKubernetesVersion": patch,
        "dnsPrefix": prefix,
        "eTag": str(uuid.uuid4()),
        "fqdn": host,
        "identity": {
            "type": "SystemAssigned",
            "tenantId": TENANT_ID,
            "principalId": old.get("identity", {}).get("principalId", str(uuid.uuid4())),
        },
        "identityProfile": old.get("identityProfile")
        or {"kubeletidentity": _identity(nodes, f"{name}-agentpool")},
        "kubernetesVersion": version,
        "maxAgentPools": 100,
        "powerState": {"code": "Running"},
        "provisioningState": "Succeeded",
        "resourceUID": old.get("resourceUID", uuid.uuid4().hex),
        **arm.system_data(old),
    }


def _identity(group: str, name: str) -> dict[str, str]:
    return {
        "clientId": str(uuid.uuid4()),
        "objectId": str(uuid.uuid4()),
        "resourceId": f"{ids.resource_group(group)}/providers/Microsoft.ManagedIdentity"
        f"/userAssignedIdentities/{name}",
    }


def _check_nothing_lost(unmodelled: list[str], before: Stored | None, inputs: Properties) -> None:
    for name in unmodelled:
        if name == "identityProfile":  # AKS fills it in by itself
            continue
        if before and name in before.document and name not in inputs:
            raise UnmodelledError(
                f"what AKS does when a PUT leaves out '{name}', which the cluster has"
            )


def _check_request(inputs: Properties, before: Stored | None) -> None:
    if before is not None:
        for name in ("location", "dnsPrefix", "nodeResourceGroup"):
            given = str(inputs.get(name, before.document[name]))
            if normal_location(given) != normal_location(str(before.document[name])):
                raise AzureError(
                    400,
                    "PropertyChangeNotAllowed",
                    f"Changing property 'properties.{name}' is not allowed.",
                )
    pools = inputs.get("agentPoolProfiles", [])
    _check_pools(pools, before)
    if not any(pool.get("mode") == "System" for pool in pools):
        raise AzureError(
            400,
            "InvalidParameter",
            "A cluster needs at least one agent pool with mode 'System' (agentPoolProfiles).",
        )
    for pool in pools:
        if not re.match(r"[a-z][a-z0-9]{0,11}\Z", pool["name"]):
            raise AzureError(
                400,
                "InvalidParameter",
                f"The agent pool name '{pool['name']}' is invalid: lower case letters and digits,"
                " a letter first, at most 12 characters.",
            )
    kind = inputs.get("identity", {}).get("type")
    if kind is None:
        raise AzureError(
            400, "InvalidParameter", "A cluster needs an identity or a servicePrincipalProfile."
        )
    if kind != "SystemAssigned":
        raise UnmodelledError(f"clusters with identity type '{kind}'")


def _check_pools(pools: list[dict[str, Any]], before: Stored | None) -> None:
    """A PUT of a cluster resizes its pools; it makes none, and what is fixed of one stays."""
    if before is None:
        return
    live = {pool["name"]: pool for pool in before.document["agentPoolProfiles"]}
    if left_out := live.keys() - {pool["name"] for pool in pools}:
        raise UnmodelledError(f"what AKS does when a PUT leaves out the pool '{min(left_out)}'")
    for pool in pools:
        if pool["name"] not in live:
            raise AzureError(
                400,
                "BadRequest",
                "A new agent pool was introduced. Adding agent pools to an existing cluster is not"
                " allowed through managed cluster operations. For per instance change, please use"
                " per agent pool operations.",
            )
        size = live[pool["name"]].get("vmSize")
        if pool.get("vmSize", size) != size:
            raise AzureError(
                400,
                "PropertyChangeNotAllowed",
                "Changing property 'properties.vmSize' is not allowed.",
            )


def _check_version(version: str) -> None:
    match = re.match(r"1\.(\d+)(\.\d+)?\Z", version)
    if match is None or int(match[1]) not in KUBERNETES_MINORS:
        raise AzureError(
            400,
            "K8sVersionNotSupported",
            f"Version {version} is not supported in this region. Supported:"
            f" 1.{KUBERNETES_MINORS[0]} to 1.{KUBERNETES_MINORS[-1]}.",
        )


def _addons(inputs: Properties, before: Stored | None, group: str) -> Document:
    """Return the add-ons after the PUT: those it names, and the others as they were."""
    profiles = dict((before.document.get("addonProfiles") if before else None) or {})
    for name, wanted in (inputs.get("addonProfiles") or {}).items():
        profiles[name] = _addon(name, wanted, profiles.get(name), group, inputs["resourceName"])
    return {"addonProfiles": profiles} if profiles else {}


def _addon(
    name: str, wanted: dict[str, Any], before: dict[str, Any] | None, group: str, cluster: str
) -> dict[str, Any]:
    if name not in _ADDONS:
        raise UnmodelledError(f"the add-on '{name}' (it knows {', '.join(_ADDONS)})")
    prefix, keys = _ADDONS[name]
    config = wanted.get("config", {})
    for key, value in config.items():
        if keys is not None and key not in keys:
            raise UnmodelledError(f"the config key '{key}' of the add-on '{name}'")
        _check_config(name, key, value)
    if not wanted["enabled"]:
        return {"enabled": False, **({"config": config} if config else {})}
    if name == ADDON:
        config = {"enableSecretRotation": "false", "rotationPollInterval": "2m", **config}
    identity = (before or {}).get("identity") or _identity(group, f"{prefix}-{cluster}")
    return {"enabled": True, **({"config": config} if config else {}), "identity": identity}


def _check_config(addon: str, key: str, value: str) -> None:
    wrong = ""
    if key == "enableSecretRotation" and value.lower() not in ("true", "false"):
        wrong = '"true" or "false"'
    if key == "rotationPollInterval":
        wrong = "a duration such as 2m"
        with suppress(ValueError):
            wrong = "" if seconds(value) > 0 else wrong
    if wrong:
        raise AzureError(
            400, "InvalidParameter", f"addonProfiles.{addon}.config.{key} is '{value}'; expected"
            f" {wrong}."
        )  # fmt: skip


def _mesh(inputs: Properties, before: Stored | None, kubernetes: str) -> Document:
    """Return the mesh profile after the PUT; one that it leaves out stays as it was."""
    old = (before.document.get("serviceMeshProfile") if before else None) or {}
    wanted = inputs.get("serviceMeshProfile")
    if wanted is None:
        return {"serviceMeshProfile": old} if old else {}
    if wanted["mode"] != "Istio":
        return {"serviceMeshProfile": wanted}
    live: dict[str, Any] = old.get("istio", {}) if old.get("mode") == "Istio" else {}
    istio = dict(wanted.get("istio", {}))
    istio["revisions"] = _revisions(istio.get("revisions"), live.get("revisions"), kubernetes)
    authority = _authority(istio.get("certificateAuthority"), live)
    if authority is not None:
        istio["certificateAuthority"] = authority
    _check_gateways(istio.get("components"), live.get("components"))
    modes = [gateway["mode"] for gateway in istio.get("components", {}).get("ingressGateways", [])]
    if len(modes) != len(set(modes)):
        raise AzureError(400, "InvalidParameter", "At most one ingress gateway per mode.")
    return {"serviceMeshProfile": {"mode": "Istio", "istio": istio}}


def _check_gateways(wanted: dict[str, Any] | None, live: dict[str, Any] | None) -> None:
    on = [one["mode"] for one in (live or {}).get("ingressGateways", []) if one["enabled"]]
    named = {one["mode"] for one in (wanted or {}).get("ingressGateways", [])}
    if left_out := [mode for mode in on if mode not in named]:
        raise UnmodelledError(
            f"what AKS does when a PUT of a live mesh leaves out its gateway '{left_out[0]}'"
        )


def _revisions(wanted: list[str] | None, live: list[str] | None, kubernetes: str) -> list[str]:
    if not wanted:
        return live or [DEFAULT_REVISION]
    for revision in wanted:
        if revision not in REVISIONS:
            raise AzureError(
                400,
                "InvalidParameter",
                f"Istio revision '{revision}' is not supported; supported: {', '.join(REVISIONS)}.",
            )
        lowest, highest = REVISIONS[revision]
        if not lowest <= int(kubernetes.split(".")[1]) <= highest:
            raise AzureError(
                400,
                "InvalidParameter",
                f"Istio revision '{revision}' does not run on Kubernetes {kubernetes} (1.{lowest}"
                f" to 1.{highest}).",
            )
    numbers = sorted(int(revision.rsplit("-", 1)[1]) for revision in wanted)
    if len(numbers) > 2 or (len(numbers) == 2 and numbers[1] - numbers[0] not in (1, 2)):
        raise AzureError(
            400,
            "InvalidParameter",
            "serviceMeshProfile.istio.revisions holds one revision, or two consecutive ones while"
            f" an upgrade is under way; got {', '.join(wanted)}.",
        )
    if live and not (set(wanted) <= set(live) or set(live) <= set(wanted)):
        raise UnmodelledError(
            f"a change of Istio revision from {', '.join(live)} to {', '.join(wanted)} without"
            " both in between (a canary upgrade)"
        )
    return wanted


def _authority(wanted: dict[str, Any] | None, live: dict[str, Any]) -> dict[str, Any] | None:
    """Return the CA after the PUT. Nothing of the plug-in is checked: AKS does not (2.1)."""
    if wanted is None or not live:
        return wanted or live.get("certificateAuthority")
    old = (live.get("certificateAuthority") or {}).get("plugin")
    new = wanted.get("plugin")
    if new and not old:
        raise UnmodelledError(
            "a change from the self-signed to a plug-in CA on a live mesh: AKS does not support"
            " it. Disable the mesh first; that deletes Istio's CRDs and custom resources"
        )
    changed = [name for name in _PLUG_IN_FIELDS if (new or {}).get(name) != (old or {}).get(name)]
    if changed:
        raise UnmodelledError(
            f"a change of {', '.join(changed)} on a live mesh with a plug-in CA: whether AKS takes"
            " it is not known"
        )
    return wanted


def find(transaction: Transaction, group: str, name: str) -> Stored:
    """Return a cluster; AzureError 404 when it, or its group, is not there."""
    arm.existing_group(transaction, group)
    return transaction.get(ids.cluster(group, name))
