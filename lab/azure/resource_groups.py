"""Resource groups: deleting one deletes all that is in it (its vaults softly)."""

from __future__ import annotations

from lab.azure import arm, ids, kinds, vaults
from lab.azure.resource import AzureResource, normal_location
from lab.azure.store import Document, Transaction
from lab.provider.values import Properties


class ResourceGroup(AzureResource):
    """azure-native:resources:ResourceGroup."""

    token = "azure-native:resources:ResourceGroup"
    operations = "resourceGroups"
    name_input = "resourceGroupName"
    patterns = (("resourceGroupName", r"^[-\w._()]{1,89}[-\w_()]$|^[-\w_()]$"),)
    replaces = ("resourceGroupName", "location")

    def id_of(self, inputs: Properties) -> str:
        """Return the group's id."""
        return ids.resource_group(str(inputs["resourceGroupName"]))

    def names_in(self, resource_id: str) -> Properties:
        """Return the group's name."""
        return {"resourceGroupName": ids.segment(resource_id, "resourceGroups")}

    def put(self, transaction: Transaction, resource_id: str, inputs: Properties) -> Document:
        """Create or update the group; its location cannot change."""
        document = {
            "name": inputs["resourceGroupName"],
            "type": kinds.RESOURCE_GROUP,
            "location": normal_location(str(inputs["location"])),
            "properties": {"provisioningState": "Succeeded"},
            **arm.tags(inputs),
        }
        return transaction.put(resource_id, kinds.RESOURCE_GROUP, document).document

    def drop(self, transaction: Transaction, resource_id: str) -> None:
        """Delete the group and everything in it."""
        group = transaction.get(resource_id)
        for stored in transaction.within(group.id):
            if stored.kind == kinds.VAULT:
                vaults.delete(transaction, stored)
        for stored in transaction.within(group.id):
            if stored.kind != kinds.SECRET:
                transaction.remove(stored.id)
        transaction.remove(group.id)
