"""Vault secrets: written and read through ARM, deleted and recovered on the vault's data plane.

ARM never returns a value, and a PUT of the value that is there makes no new version. The data
plane wants permission for the caller; ARM does not. Facts: azure.md 3.2 and 6.
"""

from __future__ import annotations

import time
from typing import Any, Final

from lab.azure import arm, data_plane, ids, kinds
from lab.azure.account import CALLER_OBJECT_ID, VAULT_DNS_SUFFIX
from lab.azure.errors import AzureError
from lab.azure.resource import AzureResource
from lab.azure.store import Document, Stored, Transaction
from lab.provider.values import Properties

MAX_VALUE_BYTES: Final = 25_000
MAX_CONTENT_TYPE: Final = 255
MAX_TAGS: Final = 15


class Secret(AzureResource):
    """azure-native:keyvault:Secret."""

    token = "azure-native:keyvault:Secret"
    operations = "secrets"
    name_input = "secretName"
    naming = "copy"
    patterns = (
        ("secretName", r"^[a-zA-Z0-9-]{1,127}$"),
        ("vaultName", r"^[a-zA-Z0-9-]{3,24}$"),
    )
    replaces = ("resourceGroupName", "vaultName", "secretName")
    has_location = False

    def id_of(self, inputs: Properties) -> str:
        """Return the secret's ARM id."""
        return ids.secret(
            str(inputs["resourceGroupName"]), str(inputs["vaultName"]), str(inputs["secretName"])
        )

    def names_in(self, resource_id: str) -> Properties:
        """Return the names of group, vault and secret."""
        return {
            "resourceGroupName": ids.segment(resource_id, "resourceGroups"),
            "vaultName": ids.segment(resource_id, "vaults"),
            "secretName": ids.segment(resource_id, "secrets"),
        }

    def create(self, inputs: Properties, preview: bool) -> Any:
        """Create the secret; a preview does not show the value among the outputs."""
        written = super().create(inputs, preview)
        written.outputs.get("properties", {}).pop("value", None)
        return written

    def update(
        self, resource_id: str, state: Properties, news: Properties, preview: bool
    ) -> Properties:
        """Update the secret; a preview does not show the value among the outputs."""
        outputs = super().update(resource_id, state, news, preview)
        outputs.get("properties", {}).pop("value", None)
        return outputs

    def find(self, transaction: Transaction, resource_id: str) -> Document | None:
        """Return the secret, unless its vault is gone."""
        if transaction.find(_vault_id(resource_id)) is None:
            return None
        return super().find(transaction, resource_id)

    def before_create(self, resource_id: str) -> None:
        """Recover a deleted secret of this name first (azure-native, PR 4759)."""
        with self.account.cloud.glance() as transaction:
            deleted = transaction.soft_deleted(resource_id)
        if deleted is None:
            return
        with self.account.cloud.request("secrets/recover", resource_id) as transaction:
            _authorise(transaction, resource_id, "recover")
            transaction.recover(resource_id)

    def put(self, transaction: Transaction, resource_id: str, inputs: Properties) -> Document:
        """Write the secret; a new version only when the value is new."""
        vault = transaction.get(_vault_id(resource_id))
        if transaction.soft_deleted(resource_id) is not None:
            raise AzureError(
                409,
                "Conflict",
                f"Secret {inputs['secretName']} is currently in a deleted but recoverable state,"
                " and its name cannot be reused; in this state, the secret can only be recovered"
                " or purged.",
            )
        _check_limits(inputs)
        before = transaction.find(resource_id)
        value = inputs["properties"].get("value")
        if value is None:
            raise AzureError(400, "BadRequest", "A secret needs the property 'value'.")
        version = transaction.set_secret_value(resource_id, value)
        document = _document(vault, inputs, version, before)
        return transaction.put(resource_id, kinds.SECRET, document).document

    def drop(self, transaction: Transaction, resource_id: str) -> None:
        """Delete the secret softly, as the caller, on the data plane."""
        _authorise(transaction, resource_id, "delete")
        if transaction.find(resource_id) is None:
            raise data_plane.secret_not_found(ids.segment(resource_id, "secrets"))
        transaction.soft_delete(resource_id)


def _document(vault: Stored, inputs: Properties, version: str, before: Stored | None) -> Document:
    uri = f"https://{vault.document['name'].lower()}.{VAULT_DNS_SUFFIX}/secrets/"
    uri += inputs["secretName"]
    now = int(time.time())
    old = before.document["properties"] if before else {}
    properties = {
        "attributes": {
            "enabled": True,
            **inputs["properties"].get("attributes", {}),
            "created": old.get("attributes", {}).get("created", now),
            "updated": now,
        },
        "secretUri": uri,
        "secretUriWithVersion": f"{uri}/{version}",
    }
    if "contentType" in inputs["properties"]:
        properties["contentType"] = inputs["properties"]["contentType"]
    return {
        "name": inputs["secretName"],
        "type": kinds.SECRET,
        "location": vault.document["location"],
        "properties": properties,
        **arm.tags(inputs, MAX_TAGS),
    }


def _check_limits(inputs: Properties) -> None:
    properties = inputs["properties"]
    size = len(str(properties.get("value", "")).encode())
    if size > MAX_VALUE_BYTES:
        raise AzureError(
            400,
            "BadParameter",
            f"The value of secret '{inputs['secretName']}' is {size} bytes long; at most"
            f" {MAX_VALUE_BYTES} are allowed.",
        )
    if len(properties.get("contentType", "")) > MAX_CONTENT_TYPE:
        raise AzureError(
            400,
            "BadParameter",
            f"The contentType of secret '{inputs['secretName']}' is longer than"
            f" {MAX_CONTENT_TYPE} characters.",
        )


def _authorise(transaction: Transaction, resource_id: str, permission: str) -> None:
    vault = transaction.find(_vault_id(resource_id))
    if vault is None:
        raise data_plane.vault_not_found(ids.segment(resource_id, "vaults"))
    name = ids.segment(resource_id, "secrets")
    data_plane.authorise(transaction, vault, CALLER_OBJECT_ID, permission, name)


def _vault_id(secret_id: str) -> str:
    return ids.vault(ids.segment(secret_id, "resourceGroups"), ids.segment(secret_id, "vaults"))
