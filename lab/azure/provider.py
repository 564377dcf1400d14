"""The plug-in `azure-native`: its resource types, its settings, and how it reports refusals.

A further resource type is a subclass of lab.azure.resource.AzureResource in RESOURCES, with the
properties it models in lab.azure.modelled; a further function is an entry of functions.table.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import grpc

from lab.azure import functions
from lab.azure.account import SUBSCRIPTION_ID, TENANT_ID
from lab.azure.clusters import ManagedCluster
from lab.azure.errors import AzureError, UnmodelledError
from lab.azure.event_subscriptions import EventSubscription
from lab.azure.policies import AccessPolicy
from lab.azure.resource import Account, AzureResource
from lab.azure.resource_groups import ResourceGroup
from lab.azure.roles import RoleAssignment
from lab.azure.secrets import Secret
from lab.azure.vaults import Vault
from lab.provider.errors import ProviderError
from lab.provider.plugin import Plugin
from lab.provider.values import Properties

VERSION: Final = "3.29.0"
"""The version of the SDK that the program pins: the engine looks for exactly this plug-in."""

RESOURCES: Final[tuple[type[AzureResource], ...]] = (
    ResourceGroup, Vault, Secret, AccessPolicy, RoleAssignment, ManagedCluster,
    EventSubscription,
)  # fmt: skip

_CODES: Final = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.FAILED_PRECONDITION,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
}


class AzureNative(Plugin):
    """azure-native over the cloud in a state directory.

    Like the real provider it accepts no secrets: the engine marks outputs as secret by their
    shape (facts: pulumi.md 2.2).
    """

    def __init__(self, state: Path) -> None:
        self.account = Account(state)
        resources = {kind.token: kind(self.account) for kind in RESOURCES}
        super().__init__(
            "azure-native",
            VERSION,
            resources,
            functions.table(self.account),
            accept_secrets=False,
        )

    def configure(self, settings: Properties) -> None:
        """Take `location`; `subscriptionId` and `tenantId` may only be the lab's own."""
        own = {"subscriptionId": SUBSCRIPTION_ID, "tenantId": TENANT_ID}
        for name, value in own.items():
            if settings.get(name, value) != value:
                raise ProviderError(
                    grpc.StatusCode.INVALID_ARGUMENT,
                    f"azure-native: {name} is '{settings[name]}'; the lab has only '{value}'",
                )
        self.account.location = settings.get("location")
        super().configure({k: v for k, v in settings.items() if k not in own and k != "location"})

    def translate(self, error: Exception) -> ProviderError | None:
        """Return the gRPC refusal for one by ARM, by Key Vault or by the lab."""
        if isinstance(error, AzureError):
            return ProviderError(_CODES.get(error.status, grpc.StatusCode.ABORTED), str(error))
        if isinstance(error, UnmodelledError):
            return ProviderError(grpc.StatusCode.UNIMPLEMENTED, f"azure-native: {error}")
        return super().translate(error)
