"""Access policies of a vault. To azure-native each is a resource; to ARM, an entry of the vault."""

from __future__ import annotations

import re
from typing import Any

import grpc

from lab.azure import arm, ids, kinds
from lab.azure.account import TENANT_ID
from lab.azure.errors import AzureError, not_found
from lab.azure.resource import AzureResource
from lab.azure.store import Document, Transaction
from lab.provider.errors import ProviderError
from lab.provider.values import Properties

_MAX_POLICIES = 1024
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z", re.IGNORECASE)


class AccessPolicy(AzureResource):
    """azure-native:keyvault:AccessPolicy; its id is `VAULT/accessPolicy/OBJECT_ID`."""

    token = "azure-native:keyvault:AccessPolicy"
    operations = "accessPolicies"
    name_input = "policy"
    naming = "none"
    replaces = ("resourceGroupName", "vaultName", "policy.objectId")
    has_location = False

    def id_of(self, inputs: Properties) -> str:
        """Return the id that azure-native gives the policy."""
        vault_id = ids.vault(str(inputs["resourceGroupName"]), str(inputs["vaultName"]))
        return ids.access_policy(vault_id, str(inputs["policy"]["objectId"]))

    def names_in(self, resource_id: str) -> Properties:
        """Return the names of group and vault."""
        return {
            "resourceGroupName": ids.segment(resource_id, "resourceGroups"),
            "vaultName": ids.segment(resource_id, "vaults"),
        }

    def grant_of(self, resource_id: str) -> str | None:
        """Return the policy's id: it is the grant."""
        return resource_id

    def refuse_existing(self, resource_id: str, inputs: Properties) -> ProviderError:
        """Return azure-native's own words for a policy that is there."""
        return ProviderError(
            grpc.StatusCode.ALREADY_EXISTS,
            f"access policy for {inputs['policy']['objectId']} already exists",
        )

    def find(self, transaction: Transaction, resource_id: str) -> Document | None:
        """Return the vault's entry for the object id."""
        vault = transaction.find(_vault_id(resource_id))
        object_id = ids.segment(resource_id, "accessPolicy")
        for entry in vault.document["properties"]["accessPolicies"] if vault else []:
            if ids.same(entry["objectId"], object_id):
                return {**self.names_in(resource_id), "policy": entry}
        return None

    def put(self, transaction: Transaction, resource_id: str, inputs: Properties) -> Document:
        """Set the vault's entry for the object id."""
        check_entry(inputs["policy"])
        vault = transaction.get(_vault_id(resource_id))
        entries = _others(vault.document, inputs["policy"]["objectId"])
        if len(entries) >= _MAX_POLICIES:
            raise AzureError(400, "BadRequest", f"A vault has at most {_MAX_POLICIES} policies.")
        vault.document["properties"]["accessPolicies"] = [*entries, inputs["policy"]]
        vault.document.update(arm.system_data(vault.document))
        transaction.put(vault.id, kinds.VAULT, vault.document)
        return {**self.names_in(resource_id), "policy": inputs["policy"]}

    def drop(self, transaction: Transaction, resource_id: str) -> None:
        """Remove the vault's entry for the object id."""
        vault = transaction.get(_vault_id(resource_id))
        object_id = ids.segment(resource_id, "accessPolicy")
        left = _others(vault.document, object_id)
        if len(left) == len(vault.document["properties"]["accessPolicies"]):
            raise not_found(resource_id)
        vault.document["properties"]["accessPolicies"] = left
        transaction.put(vault.id, kinds.VAULT, vault.document)


def check_entry(entry: dict[str, Any]) -> None:
    """Refuse, as ARM does, an entry of another tenant or for what is no object id."""
    if entry["tenantId"].lower() != TENANT_ID:
        raise AzureError(
            400,
            "BadRequest",
            f"An access policy's tenant '{entry['tenantId']}' must be the vault's, '{TENANT_ID}'.",
        )
    if not _GUID.match(entry["objectId"]):
        raise AzureError(
            400, "BadRequest", f"An access policy's objectId '{entry['objectId']}' is no GUID."
        )


def _vault_id(policy_id: str) -> str:
    return ids.vault(ids.segment(policy_id, "resourceGroups"), ids.segment(policy_id, "vaults"))


def _others(vault: Document, object_id: str) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = vault["properties"]["accessPolicies"]
    return [entry for entry in entries if not ids.same(entry["objectId"], object_id)]
