"""Who may do what to the secrets of a vault: Key Vault's two access models.

A vault in access-policy mode heeds the entries in its own `accessPolicies` and no role; a vault in
RBAC mode heeds role assignments at the vault or above it and no policy (facts: rbac-guide).
"""

from __future__ import annotations

from typing import Final

from lab.azure import ids, kinds
from lab.azure.store import Stored, Transaction

_ALL: Final = frozenset({"get", "list", "set", "delete", "backup", "restore", "recover", "purge"})

ROLES: Final[dict[str, frozenset[str]]] = {
    "4633458b-17de-408a-b874-0445c86b69e6": frozenset({"get", "list"}),  # Secrets User
    "21090545-7ca7-4776-b22c-e363652d74d2": frozenset({"list"}),  # Reader: metadata only
    "00482a5a-887f-4fb3-b363-3b7fe8e74483": _ALL,  # Administrator
    "b86a8fe4-44ce-4948-aee5-eccb2c155cd7": _ALL,  # Secrets Officer
    "12338af0-0e69-4776-bea7-57ae8d297424": frozenset(),  # Crypto User
    "14b46e9e-c2b7-41b4-b07b-48a6ebf60603": frozenset(),  # Crypto Officer
    "e147488a-f6f5-4113-8e2d-b22465e65bf6": frozenset(),  # Crypto Service Encryption User
    "8b54135c-b56d-4d72-a534-26097cfdc8d8": frozenset(),  # Data Access Administrator
}
"""Key Vault roles that the lab models, by GUID, and what each allows on secrets."""

UNMODELLED_ROLES: Final[dict[str, str]] = {
    "db79e9a7-68ee-4b58-9aeb-b90e7c24fcba": "Key Vault Certificate User",
    "a4417e6f-fecd-4de8-b567-7b0420556985": "Key Vault Certificates Officer",
}
"""Roles that exist but whose effect on secrets the lab's sources do not state."""


def may(transaction: Transaction, vault: Stored, principal: str, permission: str) -> bool:
    """Tell whether `principal` (an object id) may do `permission` to the secrets of `vault`."""
    if vault.document["properties"].get("enableRbacAuthorization"):
        grants = _roles(transaction, vault, principal)
    else:
        grants = _policies(vault, principal)
    return any(
        permission in allowed or "all" in allowed
        for grant_id, allowed in grants
        if not transaction.grant_is_late(grant_id)
    )


def _policies(vault: Stored, principal: str) -> list[tuple[str, frozenset[str]]]:
    return [
        (
            ids.access_policy(vault.id, entry["objectId"]),
            frozenset(granted.lower() for granted in entry["permissions"].get("secrets", [])),
        )
        for entry in vault.document["properties"].get("accessPolicies", [])
        if entry["objectId"].lower() == principal.lower()
    ]


def _roles(
    transaction: Transaction, vault: Stored, principal: str
) -> list[tuple[str, frozenset[str]]]:
    return [
        (
            assignment.id,
            ROLES.get(assignment.document["roleDefinitionId"].rsplit("/", 1)[-1], frozenset()),
        )
        for assignment in transaction.of_kind(kinds.ROLE_ASSIGNMENT)
        if assignment.document["principalId"].lower() == principal.lower()
        and covers(assignment.document["scope"], vault.id)
    ]


def covers(scope: str, resource_id: str) -> bool:
    """Tell whether a role assigned at `scope` holds for a resource: the same one or above it."""
    return (ids.key(resource_id) + "/").startswith(ids.key(scope) + "/")
