"""An Azure Monitor alert on the mesh CA's secrets before they end.

Imported only when an alert is configured: Event Grid's part of the SDK is a large one.
"""

from __future__ import annotations

import pulumi
from pulumi_azure_native import eventgrid

from meshca.bundle import CA_CERT, CA_KEY, CERT_CHAIN, ROOT_CERT
from meshca.settings import ExpiryAlert as Settings

EVENTS = ("Microsoft.KeyVault.SecretNearExpiry", "Microsoft.KeyVault.SecretExpired")
"""30 days before the end, and at it (Azure Event Grid, "Key Vault as an event source")."""


class ExpiryAlert(pulumi.ComponentResource):
    """Tells action groups when one of the four secrets is about to end.

    Key Vault tells only of versions that are made while somebody listens, so the secrets wait for
    `subscription`. Whatever else is in a vault that is shared is none of this alert's business.
    """

    subscription: eventgrid.EventSubscription

    def __init__(
        self,
        name: str,
        settings: Settings,
        *,
        vault_id: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("aks-istio-ca:index:ExpiryAlert", name, None, opts)
        self.subscription = eventgrid.EventSubscription(
            name,
            scope=vault_id,
            event_subscription_name=f"aks-istio-ca-{name}",
            # Azure Monitor takes no other.
            event_delivery_schema=eventgrid.EventDeliverySchema.CLOUD_EVENT_SCHEMA_V1_0,
            destination=eventgrid.MonitorAlertEventSubscriptionDestinationArgs(
                endpoint_type="MonitorAlert",
                severity=settings.severity.value,
                action_groups=[*settings.action_groups],
                description="A certificate of the mesh CA is about to end: rotate it.",
            ),
            filter=eventgrid.EventSubscriptionFilterArgs(
                included_event_types=[*EVENTS],
                advanced_filters=[
                    eventgrid.StringInAdvancedFilterArgs(
                        operator_type="StringIn",
                        key="subject",
                        values=[ROOT_CERT, CA_CERT, CA_KEY, CERT_CHAIN],
                    )
                ],
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({})
