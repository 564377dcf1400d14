"""Event subscriptions on a vault: what Event Grid and Azure Monitor take, and what they do not."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from lab.azure import ids
from tests.lab.driver import Driver, refused

TOKEN = "azure-native:eventgrid:EventSubscription"
SCOPE = ids.vault("rg", "kv-1")
ACTION_GROUP = "/subscriptions/1/resourceGroups/g/providers/microsoft.insights/actionGroups/a"


def inputs(**changes: Any) -> dict[str, Any]:
    """An alert on secrets near their end."""
    return {
        "scope": SCOPE,
        "eventSubscriptionName": "near-expiry",
        "eventDeliverySchema": "CloudEventSchemaV1_0",
        "destination": {
            "endpointType": "MonitorAlert",
            "severity": "Sev2",
            "actionGroups": [ACTION_GROUP],
        },
        "filter": {"includedEventTypes": ["Microsoft.KeyVault.SecretNearExpiry"]},
        **changes,
    }


def test_a_subscription_belongs_to_its_vault(vault: Driver) -> None:
    """Its id is below the vault's, and it names the vault as its topic."""
    state = vault.create(TOKEN, inputs())
    assert state.id == f"{SCOPE}/providers/Microsoft.EventGrid/eventSubscriptions/near-expiry"
    assert state.outputs["topic"] == SCOPE


def test_a_subscription_changes_in_place_and_goes(vault: Driver) -> None:
    """Severity is no reason to replace it."""
    state = vault.create(TOKEN, inputs())
    changed = inputs(destination={"endpointType": "MonitorAlert", "severity": "Sev0"})
    assert list(vault.diff(state, changed).replaces) == []
    state = vault.update(state, changed)
    assert state.outputs["destination"]["severity"] == "Sev0"
    vault.delete(state)
    assert vault.read(state) is None


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        (
            {"eventDeliverySchema": "EventGridSchema"},
            grpc.StatusCode.INVALID_ARGUMENT,
            "needs the schema CloudEventSchemaV1_0",
        ),
        (
            {"destination": {"endpointType": "MonitorAlert"}},
            grpc.StatusCode.INVALID_ARGUMENT,
            "severity",
        ),
        (
            {
                "destination": {
                    "endpointType": "MonitorAlert",
                    "severity": "Sev2",
                    "actionGroups": ["on-call"],
                }
            },
            grpc.StatusCode.INVALID_ARGUMENT,
            "'on-call' is not the id of an action group",
        ),
        (
            {"filter": {"includedEventTypes": ["Microsoft.KeyVault.SecretNearlyExpired"]}},
            grpc.StatusCode.INVALID_ARGUMENT,
            "is not one of Key Vault's",
        ),
        (
            {"destination": {"endpointType": "WebHook", "endpointUrl": "https://x"}},
            grpc.StatusCode.UNIMPLEMENTED,
            "a destination of type 'WebHook'",
        ),
        ({"scope": ids.vault("rg", "gone")}, grpc.StatusCode.NOT_FOUND, "ResourceNotFound"),
        (
            {"scope": ids.resource_group("rg")},
            grpc.StatusCode.UNIMPLEMENTED,
            "event subscriptions on a Microsoft.Resources/resourceGroups",
        ),
    ],
    ids=["schema", "severity", "action group", "event", "web hook", "no vault", "a group"],
)
def test_what_would_never_deliver_is_refused(
    vault: Driver, changes: dict[str, Any], code: grpc.StatusCode, message: str
) -> None:
    """By ARM where it is wrong, by the lab where it is not modelled."""
    with refused() as refusals:
        vault.create(TOKEN, inputs(**changes))
    assert refusals[0].code is code
    assert message in refusals[0].message
