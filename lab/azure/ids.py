"""ARM resource ids: made and taken apart. ARM compares them without regard to case."""

from __future__ import annotations

from lab.azure.account import SUBSCRIPTION_ID
from lab.azure.errors import AzureError


def subscription() -> str:
    """Return the id of the lab's one subscription."""
    return f"/subscriptions/{SUBSCRIPTION_ID}"


def resource_group(name: str) -> str:
    """Return the id of a resource group."""
    return f"{subscription()}/resourceGroups/{name}"


def vault(group: str, name: str) -> str:
    """Return the id of a key vault."""
    return f"{resource_group(group)}/providers/Microsoft.KeyVault/vaults/{name}"


def secret(group: str, vault_name: str, name: str) -> str:
    """Return the ARM id of a vault secret (its data-plane URI is another thing)."""
    return f"{vault(group, vault_name)}/secrets/{name}"


def access_policy(vault_id: str, object_id: str) -> str:
    """Return azure-native's id of an access policy: no ARM resource, but it wants one."""
    return f"{vault_id}/accessPolicy/{object_id}"


def cluster(group: str, name: str) -> str:
    """Return the id of a managed cluster."""
    return f"{resource_group(group)}/providers/Microsoft.ContainerService/managedClusters/{name}"


def role_assignment(scope: str, name: str) -> str:
    """Return the id of a role assignment at `scope`."""
    return f"{scope.rstrip('/')}/providers/Microsoft.Authorization/roleAssignments/{name}"


def event_subscription(scope: str, name: str) -> str:
    """Return the id of an event subscription on the resource `scope`."""
    return f"{scope.rstrip('/')}/providers/Microsoft.EventGrid/eventSubscriptions/{name}"


def same(left: str, right: str) -> bool:
    """Tell whether two ids name the same resource."""
    return key(left) == key(right)


def key(resource_id: str) -> str:
    """Return the id as the store keeps it: lower case, no trailing slash."""
    return resource_id.rstrip("/").lower()


def segment(resource_id: str, name: str) -> str:
    """Return the path segment that follows `name`, such as the vault's name after `vaults`.

    Raises AzureError (400, InvalidResourceId) when the id has no such segment.
    """
    parts = resource_id.strip("/").split("/")
    for label, value in zip(parts[::2], parts[1::2], strict=False):
        if label.lower() == name.lower():
            return value
    raise AzureError(400, "InvalidResourceId", f"The id '{resource_id}' has no '{name}' segment.")
