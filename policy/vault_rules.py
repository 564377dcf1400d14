"""What has to hold for a Key Vault that a mesh reads, and for access to it."""

import fnmatch
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from policy.seen import UNKNOWN, Resource

VAULT = "azure-native:keyvault:Vault"
ACCESS_POLICY = "azure-native:keyvault:AccessPolicy"
ROLE_ASSIGNMENT = "azure-native:authorization:RoleAssignment"

SECRETS_USER = "4633458b-17de-408a-b874-0445c86b69e6"
KEY_VAULT_ROLES = frozenset(
    {
        SECRETS_USER,
        "21090545-7ca7-4776-b22c-e363652d74d2",  # Key Vault Reader
        "00482a5a-887f-4fb3-b363-3b7fe8e74483",  # Key Vault Administrator
        "b86a8fe4-44ce-4948-aee5-eccb2c155cd7",  # Key Vault Secrets Officer
        "12338af0-0e69-4776-bea7-57ae8d297424",  # Key Vault Crypto User
        "db79e9a7-68ee-4b58-9aeb-b90e7c24fcba",  # Key Vault Certificate User
        "a4417e6f-fecd-4de8-b567-7b0420556985",  # Key Vault Certificates Officer
        "14b46e9e-c2b7-41b4-b07b-48a6ebf60603",  # Key Vault Crypto Officer
        "e147488a-f6f5-4113-8e2d-b22465e65bf6",  # Key Vault Crypto Service Encryption User
        "8b54135c-b56d-4d72-a534-26097cfdc8d8",  # Key Vault Data Access Administrator
        "f25e0fa2-a7cd-4377-a976-54943a77a395",  # Key Vault Contributor
    }
)
"""learn.microsoft.com/azure/key-vault/general/rbac-guide"""
BROAD_ROLES = frozenset(
    {
        "8e3af657-a8ff-443c-a75c-2fe8c4bcb635",  # Owner
        "b24988ac-6180-42a0-ab88-20f7382dd24c",  # Contributor
        "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9",  # User Access Administrator
        "f58310d9-a9f6-439a-9e8d-f62e7b41a168",  # Role Based Access Control Administrator
    }
)
"""Roles over everything in a scope, vaults among it: each can write secrets or give access to them.
(learn.microsoft.com/azure/role-based-access-control/built-in-roles/privileged)"""

_IN_A_VAULT = re.compile(r"/providers/Microsoft\.KeyVault/vaults/[^/]+", re.I)
_ABOVE_VAULTS = re.compile(
    r"/?"
    r"|/providers/Microsoft\.Management/managementGroups/[^/]+/?"
    r"|/subscriptions/[^/]+(/resourceGroups/[^/]+)?/?",
    re.I,
)
"""Everything, a management group, a subscription, a resource group."""


def purge_protection(vault: Resource, *, development: Collection[str]) -> Iterator[str]:
    """Nobody can purge the secrets of a production mesh.

    Production is every stack whose name matches none of the patterns of `development`.
    """
    if any(fnmatch.fnmatchcase(vault.stack, pattern) for pattern in development):
        return
    if vault.at("properties", "enablePurgeProtection") not in (True, UNKNOWN):
        yield (
            f"whoever may purge could delete the CA of stack {vault.stack} for good: set "
            "properties.enablePurgeProtection to true"
        )


def narrow_access_policy(
    resource: Resource, *, permissions: Collection[str], exempt: Collection[str]
) -> Iterator[str]:
    """An access policy permits no more than reading secrets, by default `get` alone.

    Of a standalone policy, and of each that stands in a vault. A policy that is not the add-on's
    has to be exempt by its object id.
    """
    alone = resource.type == ACCESS_POLICY
    found = [resource.at("policy")] if alone else resource.at("properties", "accessPolicies")
    for entry in found if isinstance(found, list) else []:
        if isinstance(entry, Mapping) and entry.get("objectId") not in exempt:
            yield from _too_wide(entry, permissions)


def _too_wide(entry: Mapping[str, Any], permissions: Collection[str]) -> Iterator[str]:
    granted = entry.get("permissions")
    if not isinstance(granted, Mapping):
        return
    for kind, given in granted.items():
        allowed = permissions if kind == "secrets" else ()
        listed = given if isinstance(given, list) else []
        # Key Vault does not distinguish case here.
        wide = [one for one in listed if one is not UNKNOWN and str(one).lower() not in allowed]
        if wide:
            only = f"only {', '.join(allowed)}" if allowed else "nothing"
            yield f"it permits {', '.join(wide)} on {kind}; the add-on needs {only}"


def narrow_role(assignment: Resource, *, exempt: Collection[str]) -> Iterator[str]:
    """A role in a vault is Key Vault Secrets User, and it is assigned in a vault only.

    A role that is none of Key Vault's is judged where it reaches vaults: in one, or above them.
    """
    if assignment.at("principalId") in exempt:
        return
    role, scope = assignment.at("roleDefinitionId"), assignment.at("scope")
    guid = "" if role is UNKNOWN else str(role).rpartition("/")[2].lower()
    in_a_vault = scope is not UNKNOWN and _IN_A_VAULT.search(str(scope)) is not None
    above_vaults = scope is not UNKNOWN and _ABOVE_VAULTS.fullmatch(str(scope)) is not None
    reaches_vaults = in_a_vault or guid in KEY_VAULT_ROLES or (above_vaults and guid in BROAD_ROLES)
    if role is UNKNOWN or not reaches_vaults:
        return
    if guid != SECRETS_USER:
        yield f"it assigns role {guid}; the add-on needs Key Vault Secrets User ({SECRETS_USER})"
    if scope is not UNKNOWN and not in_a_vault:
        yield f"it reaches over every vault in {scope}: assign it in the vault"
