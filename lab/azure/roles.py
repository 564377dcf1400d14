"""Role assignments: Key Vault's built-in roles, on a vault or above it."""

from __future__ import annotations

from typing import Final

from lab.azure import access, arm, ids, kinds
from lab.azure.account import CALLER_CLIENT_ID, CALLER_OBJECT_ID, TENANT_ID
from lab.azure.errors import AzureError, UnmodelledError
from lab.azure.resource import AzureResource
from lab.azure.store import Document, Transaction
from lab.provider.values import Properties

_IMMUTABLE: Final = ("principalId", "scope", "roleDefinitionId")


class RoleAssignment(AzureResource):
    """azure-native:authorization:RoleAssignment; its name is a GUID."""

    token = "azure-native:authorization:RoleAssignment"
    operations = "roleAssignments"
    name_input = "roleAssignmentName"
    naming = "uuid"
    replaces = ("roleAssignmentName", "principalId", "scope")
    has_location = False

    def id_of(self, inputs: Properties) -> str:
        """Return the assignment's id, below its scope."""
        return ids.role_assignment(str(inputs["scope"]), str(inputs["roleAssignmentName"]))

    def names_in(self, resource_id: str) -> Properties:
        """Return scope and name."""
        scope, _, _ = resource_id.partition("/providers/Microsoft.Authorization/")
        return {
            "scope": scope,
            "roleAssignmentName": ids.segment(resource_id, "roleAssignments"),
        }

    def grant_of(self, resource_id: str) -> str | None:
        """Return the assignment's id: it is the grant."""
        return resource_id

    def put(self, transaction: Transaction, resource_id: str, inputs: Properties) -> Document:
        """Assign the role; the same role twice to one principal at one scope is refused."""
        _check_scope(transaction, str(inputs["scope"]))
        _check_role(str(inputs["roleDefinitionId"]))
        _check_principal(transaction, inputs)
        _check_new(transaction, resource_id, inputs)
        before = transaction.find(resource_id)
        old = before.document if before else {}
        for name in _IMMUTABLE:
            if old and not ids.same(str(old[name]), str(inputs[name])):
                raise AzureError(
                    400,
                    "RoleAssignmentUpdateNotPermitted",
                    f"'{name}' of a role assignment cannot be updated.",
                )
        now = arm.timestamp()
        document = {
            **{name: inputs[name] for name in ("principalId", "roleDefinitionId", "scope")},
            **({"description": inputs["description"]} if "description" in inputs else {}),
            "principalType": inputs.get("principalType", "User"),
            "name": inputs["roleAssignmentName"],
            "type": kinds.ROLE_ASSIGNMENT,
            "createdBy": CALLER_CLIENT_ID,
            "createdOn": old.get("createdOn", now),
            "updatedBy": CALLER_CLIENT_ID,
            "updatedOn": now,
        }
        return transaction.put(resource_id, kinds.ROLE_ASSIGNMENT, document).document

    def drop(self, transaction: Transaction, resource_id: str) -> None:
        """Remove the assignment."""
        transaction.remove(transaction.get(resource_id).id)


def _check_scope(transaction: Transaction, scope: str) -> None:
    if not ids.same(scope, ids.subscription()):
        transaction.get(scope)


def _check_role(role_definition_id: str) -> None:
    prefix, _, guid = role_definition_id.lower().rpartition("/")
    tail = "/providers/microsoft.authorization/roledefinitions"
    if prefix not in (tail, ids.key(ids.subscription()) + tail):
        raise AzureError(
            400,
            "InvalidRoleDefinitionId",
            f"The role definition id '{role_definition_id}' is not valid; expected"
            f" '{ids.subscription()}/providers/Microsoft.Authorization/roleDefinitions/GUID'.",
        )
    if guid in access.UNMODELLED_ROLES:
        raise UnmodelledError(f"the role {access.UNMODELLED_ROLES[guid]} ({guid})")
    if guid not in access.ROLES:
        raise AzureError(
            400,
            "RoleDefinitionDoesNotExist",
            f"The specified role definition with ID '{guid}' does not exist (the lab knows Key"
            " Vault's roles only).",
        )


def _check_principal(transaction: Transaction, inputs: Properties) -> None:
    principal, kind = str(inputs["principalId"]), str(inputs.get("principalType", "User"))
    if kind == "ServicePrincipal":
        return  # what the property is for: no look-up, so a fresh identity is accepted
    if principal.lower() in _service_principals(transaction):
        raise AzureError(
            400,
            "UnmatchedPrincipalType",
            f"The PrincipalId '{principal}' has type 'ServicePrincipal', which is different from"
            f" specified PrincipalType '{kind}'.",
        )
    raise AzureError(
        400,
        "PrincipalNotFound",
        f"Principal {principal} does not exist in the directory {TENANT_ID}. If it was created"
        " just now, set 'principalType' to ServicePrincipal.",
    )


def _service_principals(transaction: Transaction) -> set[str]:
    """Return the object ids of the identities that exist: the caller and the clusters' own."""
    known = {CALLER_OBJECT_ID}
    for cluster in transaction.of_kind(kinds.MANAGED_CLUSTER):
        for profile in (cluster.document.get("addonProfiles") or {}).values():
            if "identity" in profile:
                known.add(profile["identity"]["objectId"])
    return {object_id.lower() for object_id in known}


def _check_new(transaction: Transaction, resource_id: str, inputs: Properties) -> None:
    for other in transaction.of_kind(kinds.ROLE_ASSIGNMENT):
        if not ids.same(other.id, resource_id) and all(
            ids.same(str(other.document[name]), str(inputs[name])) for name in _IMMUTABLE
        ):
            raise AzureError(
                409,
                "RoleAssignmentExists",
                "The role assignment already exists. The ID of the existing role assignment is"
                f" {other.document['name']}.",
            )
