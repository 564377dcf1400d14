# ruff: noqa: N818 - the errors are named after what Key Vault answers
"""What reads the cloud from beside Pulumi: the vault's data plane, and the mesh as AKS sees it.

`read_secret` is what the Secrets Store CSI stand-in calls once per object and poll. `mesh` tells
that stand-in and the istiod launcher what the clusters have been told to run. Both take the lab's
state directory, so that they work in any process.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lab.azure import access, ids, kinds
from lab.azure.account import VAULT_DNS_SUFFIX
from lab.azure.cloud import Cloud
from lab.azure.errors import AzureError
from lab.azure.store import Stored, Transaction

ADDON: Final = "azureKeyvaultSecretsProvider"
DEFAULT_POLL_SECONDS: Final = 120.0
"""The driver's default rotation poll interval, 2m (AKS documentation)."""


class DataPlaneError(AzureError):
    """Key Vault refused a request; the subclasses say why."""


class VaultNotFound(DataPlaneError):
    """No vault of this name: in Azure, its host name does not resolve."""


class Forbidden(DataPlaneError):
    """The principal may not do this, or may not yet (HTTP 403); or the secret is disabled."""


class SecretNotFound(DataPlaneError):
    """The vault has no such secret (HTTP 404)."""


class Throttled(DataPlaneError):
    """Too many requests (HTTP 429)."""


class Unavailable(DataPlaneError):
    """The service is down for now (HTTP 503, or another 5xx)."""


@dataclass(frozen=True, slots=True)
class PlugIn:
    """The five fields of `certificateAuthority.plugin`, as given: any may be missing (None)."""

    key_vault_id: str | None
    root_cert_object_name: str | None
    cert_chain_object_name: str | None
    cert_object_name: str | None
    key_object_name: str | None

    @property
    def vault(self) -> str | None:
        """The vault's name out of its id, for `read_secret`; None when there is no id."""
        return ids.segment(self.key_vault_id, "vaults") if self.key_vault_id else None


@dataclass(frozen=True, slots=True)
class MeshCluster:
    """One AKS cluster, as far as the mesh's stand-ins need to know it."""

    id: str
    name: str
    resource_group: str
    addon: bool
    """Is the Secrets Store CSI add-on on?"""
    rotation: bool
    """Does the add-on poll for new versions (`enableSecretRotation: "true"`)?"""
    poll_seconds: float
    """`rotationPollInterval`; 120 when not set. Without rotation it means nothing."""
    identity: str | None
    """Object id of the add-on's identity, the principal for `read_secret`; None while off."""
    mesh: bool
    """Is the Istio add-on on (`mode: Istio`)?"""
    revisions: tuple[str, ...]
    plugin: PlugIn | None
    """The plug-in CA, or None: istiod signs with a CA of its own."""


def read_secret(state: Path, *, vault: str, name: str, principal: str) -> str:
    """Return the current value of a secret, as a GET on `https://VAULT.vault.azure.net` would.

    `vault` is the vault's name, `principal` the object id that asks. Raises VaultNotFound,
    Forbidden, SecretNotFound, Throttled or Unavailable. Key Vault checks access before existence.
    """
    secret_uri = f"https://{vault}.{VAULT_DNS_SUFFIX}/secrets/{name}"
    try:
        with Cloud(state).request("secrets/get", secret_uri) as transaction:
            found = find_vault(transaction, vault)
            authorise(transaction, found, principal, "get", name)
            secret_id = f"{found.id}/secrets/{name}"
            stored, value = transaction.find(secret_id), transaction.secret_value(secret_id)
            if stored is None or value is None:
                raise secret_not_found(name)
            if stored.document["properties"]["attributes"]["enabled"] is False:
                raise Forbidden(
                    403, "Forbidden", "Operation get is not allowed on a disabled secret."
                )
            return value[1]
    except DataPlaneError:
        raise
    except AzureError as error:
        kind = Throttled if error.status == 429 else Unavailable
        raise kind(error.status, error.code, error.message) from None


def mesh(state: Path) -> tuple[MeshCluster, ...]:
    """Return every cluster of the cloud, ordered by id. Reads only; leaves no row in the log."""
    with Cloud(state).glance() as transaction:
        return tuple(_cluster(stored) for stored in transaction.of_kind(kinds.MANAGED_CLUSTER))


def find_vault(transaction: Transaction, name: str) -> Stored:
    """Return the vault of this name, wherever it is; VaultNotFound when there is none."""
    for stored in transaction.of_kind(kinds.VAULT):
        if str(stored.document["name"]).lower() == name.lower():
            return stored
    raise vault_not_found(name)


def vault_not_found(name: str) -> VaultNotFound:
    """Return what a client sees when it asks for a vault that is not there: no HTTP status."""
    return VaultNotFound(
        0, "VaultNotFound", f"No such host: {name}.{VAULT_DNS_SUFFIX} does not resolve."
    )


def authorise(
    transaction: Transaction, vault: Stored, principal: str, permission: str, name: str
) -> None:
    """Raise Forbidden unless the vault's network and access model let the principal in."""
    properties = vault.document["properties"]
    if str(properties.get("publicNetworkAccess", "enabled")).lower() == "disabled":
        raise Forbidden(
            403,
            "ForbiddenByConnection",
            "Public network access is disabled and request is not"
            " from a trusted service nor via an approved private link.",
        )
    if access.may(transaction, vault, principal, permission):
        return
    vault_name = vault.document["name"]
    if properties.get("enableRbacAuthorization"):
        raise Forbidden(
            403,
            "ForbiddenByRbac",
            "Caller is not authorized to perform action on resource."
            f" Action: 'Microsoft.KeyVault/vaults/secrets/{permission}', secret '{name}', vault"
            f" '{vault_name}', caller object id '{principal}'.",
        )
    raise Forbidden(
        403,
        "ForbiddenByPolicy",
        f"The user, group or application '{principal}' does not have"
        f" secrets {permission} permission on key vault '{vault_name}'.",
    )


def secret_not_found(name: str) -> SecretNotFound:
    """Return Key Vault's answer for a secret that is not there."""
    return SecretNotFound(
        404, "SecretNotFound", f"A secret with (name/id) {name} was not found in this key vault."
    )


def seconds(duration: str) -> float:
    """Return a Go duration such as `90s`, `2m` or `1h30m` in seconds; ValueError otherwise."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h)", duration)
    if not parts or "".join(number + unit for number, unit in parts) != duration:
        raise ValueError(f"{duration!r} is not a duration such as 20s, 2m or 1h30m")
    scale = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
    return sum(float(number) * scale[unit] for number, unit in parts)


def _cluster(stored: Stored) -> MeshCluster:
    document = stored.document
    profile: dict[str, Any] = (document.get("addonProfiles") or {}).get(ADDON) or {}
    config: dict[str, str] = profile.get("config") or {}
    addon = bool(profile.get("enabled"))
    mesh_profile: dict[str, Any] = document.get("serviceMeshProfile") or {}
    istio: dict[str, Any] = mesh_profile.get("istio") or {}
    plugin = (istio.get("certificateAuthority") or {}).get("plugin")
    return MeshCluster(
        id=stored.id,
        name=str(document["name"]),
        resource_group=ids.segment(stored.id, "resourceGroups"),
        addon=addon,
        rotation=addon and config.get("enableSecretRotation", "false").lower() == "true",
        poll_seconds=seconds(config["rotationPollInterval"])
        if "rotationPollInterval" in config
        else DEFAULT_POLL_SECONDS,
        identity=(profile.get("identity") or {}).get("objectId"),
        mesh=mesh_profile.get("mode") == "Istio",
        revisions=tuple(istio.get("revisions") or ()),
        plugin=None
        if plugin is None
        else PlugIn(
            key_vault_id=plugin.get("keyVaultId"),
            root_cert_object_name=plugin.get("rootCertObjectName"),
            cert_chain_object_name=plugin.get("certChainObjectName"),
            cert_object_name=plugin.get("certObjectName"),
            key_object_name=plugin.get("keyObjectName"),
        ),
    )
