"""ARM resource types that the lab knows, spelt once."""

from __future__ import annotations

from typing import Final

RESOURCE_GROUP: Final = "Microsoft.Resources/resourceGroups"
VAULT: Final = "Microsoft.KeyVault/vaults"
SECRET: Final = "Microsoft.KeyVault/vaults/secrets"
ROLE_ASSIGNMENT: Final = "Microsoft.Authorization/roleAssignments"
EVENT_SUBSCRIPTION: Final = "Microsoft.EventGrid/eventSubscriptions"
MANAGED_CLUSTER: Final = "Microsoft.ContainerService/managedClusters"
