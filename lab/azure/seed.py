"""What was there before Pulumi came: resources made as by another tool, for tests and the lab.

Each function takes the lab's state directory and goes through the same PUT as azure-native does,
so that a seed obeys ARM's rules; only `cluster` may add properties that the lab does not model.
Seeding is no request: it meets no faults and leaves no row in the request log.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab.azure import ids, modelled, vaults
from lab.azure.account import CALLER_OBJECT_ID, TENANT_ID
from lab.azure.clusters import ManagedCluster
from lab.azure.policies import AccessPolicy
from lab.azure.resource import Account, AzureResource
from lab.azure.resource_groups import ResourceGroup
from lab.azure.roles import RoleAssignment
from lab.azure.secrets import Secret
from lab.azure.vaults import Vault
from lab.provider import schema
from lab.provider.values import Properties

LOCATION = "westeurope"
SECRETS_USER = "4633458b-17de-408a-b874-0445c86b69e6"
SECRETS_OFFICER = "b86a8fe4-44ce-4948-aee5-eccb2c155cd7"


def resource_group(state: Path, name: str, *, location: str = LOCATION) -> str:
    """Create a resource group; returns its id."""
    return _put(ResourceGroup, state, {"resourceGroupName": name, "location": location})


def vault(
    state: Path, group: str, name: str, *, location: str = LOCATION, **properties: Any
) -> str:
    """Create a vault, standard and in access-policy mode unless `properties` say otherwise."""
    defaults = {"sku": {"family": "A", "name": "standard"}, "tenantId": TENANT_ID}
    return _put(
        Vault,
        state,
        {
            "resourceGroupName": group,
            "vaultName": name,
            "location": location,
            "properties": {**defaults, **properties},
        },
    )


def secret(state: Path, group: str, vault_name: str, name: str, value: str, **extra: Any) -> str:
    """Write a secret; `extra` are further properties such as contentType or attributes."""
    return _put(
        Secret,
        state,
        {
            "resourceGroupName": group,
            "vaultName": vault_name,
            "secretName": name,
            "properties": {"value": value, **extra},
        },
    )


def access_policy(
    state: Path,
    group: str,
    vault_name: str,
    principal: str = CALLER_OBJECT_ID,
    secrets: Sequence[str] = ("get", "list", "set", "delete", "recover"),
) -> str:
    """Let a principal (the caller, unless another is named) at a vault's secrets."""
    policy = {
        "objectId": principal,
        "tenantId": TENANT_ID,
        "permissions": {"secrets": list(secrets)},
    }
    return _put(
        AccessPolicy,
        state,
        {"resourceGroupName": group, "vaultName": vault_name, "policy": policy},
    )


def role(
    state: Path, scope: str, principal: str = CALLER_OBJECT_ID, guid: str = SECRETS_USER
) -> str:
    """Assign a role by its GUID at a scope to a principal (the caller, unless another)."""
    definition = f"{ids.subscription()}/providers/Microsoft.Authorization/roleDefinitions/{guid}"
    return _put(
        RoleAssignment,
        state,
        {
            "scope": scope,
            "roleAssignmentName": str(uuid.uuid4()),
            "principalId": principal,
            "principalType": "ServicePrincipal",
            "roleDefinitionId": definition,
        },
    )


def cluster(
    state: Path, group: str, name: str, *, location: str = LOCATION, **properties: Any
) -> str:
    """Create a cluster with one system pool.

    `properties` are inputs in the SDK's camelCase; also such as the lab does not model, which are
    then kept as they are, the way a cluster that others made has more to it than we know.
    """
    inputs = {
        "resourceGroupName": group,
        "resourceName": name,
        "location": location,
        "identity": {"type": "SystemAssigned"},
        "agentPoolProfiles": [
            {"name": "system", "mode": "System", "count": 1, "vmSize": "Standard_D4s_v5"}
        ],
        **properties,
    }
    node = schema.load(modelled.SCHEMA, ManagedCluster.token).inputs
    if unknown := set(inputs) - set(node["properties"]) - set(node["unmodelled"]):
        raise KeyError(f"{ManagedCluster.token} has no property {sorted(unknown)}")
    return _put(ManagedCluster, state, inputs)


def delete_vault(state: Path, vault_id: str) -> None:
    """Delete a vault softly, as `az keyvault delete` does."""
    account = Account(state)
    with account.cloud.instrument() as transaction:
        Vault(account).drop(transaction, vault_id)


def purge_vault(state: Path, vault_id: str) -> None:
    """Purge a deleted vault, as `az keyvault purge` does; AzureError when it is protected."""
    with Account(state).cloud.instrument() as transaction:
        vaults.purge(transaction, vault_id)


def purge_secret(state: Path, secret_id: str) -> None:
    """Purge a deleted secret, as `az keyvault secret purge` does."""
    with Account(state).cloud.instrument() as transaction:
        transaction.purge(secret_id)


def _put(kind: type[AzureResource], state: Path, inputs: Properties) -> str:
    resource = kind(Account(state))
    resource_id = resource.id_of(inputs)
    with resource.account.cloud.instrument() as transaction:
        resource.check_enums(inputs)
        resource.put(transaction, resource_id, inputs)
    return resource_id
