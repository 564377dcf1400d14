"""Key vaults: names are global and stay taken after deletion, protections cannot be undone.

Sources: facts/azure.md 3.2 and 6; Key Vault's REST specification for names and properties.
A deleted vault's secrets stay in the store below its id, out of reach until it is recovered.
"""

from __future__ import annotations

import time
from typing import Any, Final

from lab.azure import arm, ids, kinds, policies
from lab.azure.account import TENANT_ID, VAULT_DNS_SUFFIX
from lab.azure.errors import AzureError, not_found
from lab.azure.resource import AzureResource
from lab.azure.store import Document, Stored, Transaction
from lab.provider.values import Properties

DEFAULTS: Final[Document] = {
    "enableRbacAuthorization": False,
    "enableSoftDelete": True,
    "enabledForDeployment": False,
    "softDeleteRetentionInDays": 90,
    "publicNetworkAccess": "Enabled",
}


class Vault(AzureResource):
    """azure-native:keyvault:Vault."""

    token = "azure-native:keyvault:Vault"
    operations = "vaults"
    name_input = "vaultName"
    patterns = (("vaultName", r"^[a-zA-Z0-9-]{3,24}$"),)
    replaces = ("resourceGroupName", "vaultName", "location")

    def id_of(self, inputs: Properties) -> str:
        """Return the vault's id."""
        return ids.vault(str(inputs["resourceGroupName"]), str(inputs["vaultName"]))

    def names_in(self, resource_id: str) -> Properties:
        """Return the names of group and vault."""
        return {
            "resourceGroupName": ids.segment(resource_id, "resourceGroups"),
            "vaultName": ids.segment(resource_id, "vaults"),
        }

    def inline_children(self, inputs: Properties, outputs: Properties) -> Properties:
        """Hide access policies that the program keeps as resources of their own.

        azure-native does so on refresh (resetUnsetSubResourceProperties), or every AccessPolicy
        would show as drift of its vault.
        """
        if "accessPolicies" in inputs.get("properties", {}):
            return outputs
        return {**outputs, "properties": {**outputs["properties"], "accessPolicies": []}}

    def put(self, transaction: Transaction, resource_id: str, inputs: Properties) -> Document:
        """Create, update or recover the vault; unset access policies stay as they are."""
        wanted: dict[str, Any] = dict(inputs["properties"])
        name = str(inputs["vaultName"])
        mode = str(wanted.pop("createMode", "default")).lower()
        _check_name(name)
        _check_properties(wanted)
        before = transaction.find(resource_id)
        if before is None:
            before = _claim(transaction, resource_id, name, recover=mode == "recover")
        old = before.document["properties"] if before else {}
        _check_irreversible(old, wanted)
        wanted.setdefault("accessPolicies", old.get("accessPolicies", []))
        for entry in wanted["accessPolicies"]:
            policies.check_entry(entry)
        if wanted.get("enablePurgeProtection") is False:
            del wanted["enablePurgeProtection"]  # ARM knows true and absent
        document = {
            **arm.tracked(transaction, inputs, kinds.VAULT, name),
            "properties": {
                **DEFAULTS,
                **wanted,
                **({"enablePurgeProtection": True} if old.get("enablePurgeProtection") else {}),
                "provisioningState": "Succeeded",
                "vaultUri": f"https://{name.lower()}.{VAULT_DNS_SUFFIX}/",
            },
            **arm.system_data(before.document if before else None),
        }
        return transaction.put(resource_id, kinds.VAULT, document).document

    def drop(self, transaction: Transaction, resource_id: str) -> None:
        """Delete the vault softly."""
        delete(transaction, transaction.get(resource_id))


def delete(transaction: Transaction, vault: Stored) -> None:
    """Delete a vault softly, and the role assignments on it for good."""
    for stored in transaction.within(vault.id):
        if stored.kind == kinds.ROLE_ASSIGNMENT:
            transaction.remove(stored.id)
    vault.document["deletionDate"] = time.time()
    transaction.put(vault.id, vault.kind, vault.document)
    transaction.soft_delete(vault.id)


def purge(transaction: Transaction, resource_id: str) -> None:
    """Purge a deleted vault with all that was in it; AzureError when it is protected."""
    found = transaction.soft_deleted(resource_id)
    if found is None:
        raise not_found(resource_id)
    if found.document["properties"].get("enablePurgeProtection"):
        raise AzureError(
            409,
            "MethodNotAllowed",
            f"Operation 'DeletedVaultPurge' is not allowed: purge protection of the vault"
            f" '{found.document['name']}' is enabled.",
        )
    for stored in transaction.within(found.id):
        transaction.remove(stored.id)
    for kind in (kinds.SECRET,):
        for stored in transaction.soft_deleted_of_kind(kind):
            if ids.key(stored.id).startswith(ids.key(found.id) + "/"):
                transaction.purge(stored.id)
    transaction.purge(found.id)


def _claim(
    transaction: Transaction, resource_id: str, name: str, *, recover: bool
) -> Stored | None:
    """Make sure that nobody has the name, living or deleted; recover the vault if so asked."""
    for stored in transaction.of_kind(kinds.VAULT):
        if stored.document["name"].lower() == name.lower():
            raise AzureError(
                409,
                "VaultAlreadyExists",
                f"The vault name '{name}' is already in use. Vault names are globally unique so"
                " it is possible that the name is already taken.",
            )
    for stored in transaction.soft_deleted_of_kind(kinds.VAULT):
        if stored.document["name"].lower() != name.lower():
            continue
        if recover and ids.same(stored.id, resource_id):
            transaction.recover(stored.id)
            return transaction.get(stored.id)
        raise AzureError(
            409,
            "ConflictError",
            "A vault with the same name already exists in deleted state. You need to either"
            f" recover or purge existing key vault '{name}'.",
        )
    if recover:
        raise not_found(resource_id)
    return None


def _check_name(name: str) -> None:
    letters = name[0].isalpha() and name[-1].isalnum() and "--" not in name
    if not letters:
        raise AzureError(
            400,
            "VaultNameNotValid",
            f"The vault name '{name}' is invalid. A vault's name must be between 3-24"
            " alphanumeric characters. The name must begin with a letter, end with a letter or"
            " digit, and not contain consecutive hyphens.",
        )


def _check_properties(wanted: dict[str, Any]) -> None:
    if wanted["tenantId"].lower() != TENANT_ID:
        raise AzureError(
            400,
            "BadRequest",
            f"The tenant '{wanted['tenantId']}' is not the subscription's, '{TENANT_ID}'.",
        )
    if wanted.get("enableSoftDelete") is False:
        raise AzureError(
            400, "BadRequest", 'The property "enableSoftDelete" cannot be set to false.'
        )
    days = wanted.get("softDeleteRetentionInDays", 90)
    if not 7 <= days <= 90:
        raise AzureError(
            400,
            "BadRequest",
            f'The property "softDeleteRetentionInDays" is {days}; it must be from 7 to 90.',
        )
    if str(wanted.get("publicNetworkAccess", "enabled")).lower() not in ("enabled", "disabled"):
        raise AzureError(
            400, "BadRequest", 'The property "publicNetworkAccess" is enabled or disabled.'
        )


def _check_irreversible(old: Document, wanted: dict[str, Any]) -> None:
    if old.get("enablePurgeProtection") and wanted.get("enablePurgeProtection") is False:
        raise AzureError(
            400,
            "BadRequest",
            'The property "enablePurgeProtection" cannot be set to false. Enabling the purge'
            " protection for a vault is an irreversible action.",
        )
    days = "softDeleteRetentionInDays"
    if days in old and wanted.get(days, old[days]) != old[days]:
        raise AzureError(400, "BadRequest", f'The property "{days}" has been set already.')
