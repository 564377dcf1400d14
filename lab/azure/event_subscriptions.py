"""Event Grid subscriptions on a vault, delivered as Azure Monitor alerts. Nothing is ever sent.

Shapes: Microsoft.EventGrid 2025-02-15, EventSubscription. Azure Monitor takes Key Vault's system
events only, in CloudEvents 1.0 (learn.microsoft.com/azure/event-grid/handler-azure-monitor-alerts).
"""

from __future__ import annotations

import re
from typing import Any, Final

from lab.azure import ids, kinds
from lab.azure.errors import AzureError, UnmodelledError
from lab.azure.resource import AzureResource
from lab.azure.store import Document, Transaction
from lab.provider.values import Properties

EVENT_TYPES: Final = (
    *(
        f"Microsoft.KeyVault.{kind}{event}"
        for kind in ("Secret", "Key", "Certificate")
        for event in ("NearExpiry", "Expired", "NewVersionCreated")
    ),
    "Microsoft.KeyVault.VaultAccessPolicyChanged",
)

_ACTION_GROUP: Final = re.compile(
    r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/microsoft\.insights/actionGroups/[^/]+",
    re.IGNORECASE,
)


class EventSubscription(AzureResource):
    """azure-native:eventgrid:EventSubscription; an extension of the resource in its scope."""

    token = "azure-native:eventgrid:EventSubscription"
    operations = "eventSubscriptions"
    name_input = "eventSubscriptionName"
    patterns = (("eventSubscriptionName", r"^[a-zA-Z0-9-]{3,64}$"),)
    replaces = ("scope", "eventSubscriptionName")
    has_location = False

    def id_of(self, inputs: Properties) -> str:
        """Return the subscription's id, below its scope."""
        return ids.event_subscription(str(inputs["scope"]), str(inputs["eventSubscriptionName"]))

    def names_in(self, resource_id: str) -> Properties:
        """Return scope and name."""
        scope, _, _ = resource_id.partition("/providers/Microsoft.EventGrid/")
        return {
            "scope": scope,
            "eventSubscriptionName": ids.segment(resource_id, "eventSubscriptions"),
        }

    def put(self, transaction: Transaction, resource_id: str, inputs: Properties) -> Document:
        """Create or update the subscription."""
        scope = transaction.get(str(inputs["scope"]))
        if scope.kind != kinds.VAULT:
            raise UnmodelledError(f"event subscriptions on a {scope.kind}")
        _check_destination(inputs.get("destination"))
        if inputs.get("eventDeliverySchema") != "CloudEventSchemaV1_0":
            raise _invalid("A MonitorAlert destination needs the schema CloudEventSchemaV1_0.")
        for event_type in (inputs.get("filter") or {}).get("includedEventTypes", ()):
            if event_type not in EVENT_TYPES:
                raise _invalid(f"The event type '{event_type}' is not one of Key Vault's.")
        document = {
            **{name: inputs[name] for name in inputs if name not in _PATH_INPUTS},
            "name": inputs["eventSubscriptionName"],
            "type": kinds.EVENT_SUBSCRIPTION,
            "topic": scope.id,
            "provisioningState": "Succeeded",
        }
        return transaction.put(resource_id, kinds.EVENT_SUBSCRIPTION, document).document

    def drop(self, transaction: Transaction, resource_id: str) -> None:
        """Remove the subscription."""
        transaction.remove(transaction.get(resource_id).id)


_PATH_INPUTS: Final = ("scope", "eventSubscriptionName")


def _check_destination(destination: Any) -> None:
    kind = (destination or {}).get("endpointType")
    if kind != "MonitorAlert":
        raise UnmodelledError(f"event subscriptions with a destination of type '{kind}'")
    if destination.get("severity") not in ("Sev0", "Sev1", "Sev2", "Sev3", "Sev4"):
        raise _invalid("The severity of a MonitorAlert destination must be Sev0 to Sev4.")
    for group in destination.get("actionGroups") or ():
        if not _ACTION_GROUP.fullmatch(group):
            raise _invalid(f"'{group}' is not the id of an action group.")


def _invalid(message: str) -> AzureError:
    return AzureError(400, "InvalidRequest", message)
