"""Check: defaults, and what is refused before anything is written."""

from __future__ import annotations

from typing import Any

import pytest
from pulumi.runtime.proto import provider_pb2

from lab.provider.values import UNKNOWN, decode, encode
from tests.lab import azure_inputs as inputs
from tests.lab.driver import CheckFailedError, Driver, urn


def _reasons(azure: Driver, token: str, news: dict[str, Any]) -> list[str]:
    with pytest.raises(CheckFailedError) as failure:
        azure.check(token, news)
    return failure.value.reasons


@pytest.mark.parametrize(
    ("token", "news", "reason"),
    [
        (
            inputs.SECRET,
            inputs.secret(value=1),  # type: ignore[arg-type]
            "'properties.value' should be of type 'string' but got a number",
        ),
        (
            inputs.SECRET,
            inputs.secret(attributes={"enabled": "yes"}),
            "'properties.attributes.enabled' should be of type 'boolean' but got a string",
        ),
        (
            inputs.SECRET,
            inputs.secret(name="ca_key"),
            "'secretName' does not match expression '^[a-zA-Z0-9-]{1,127}$'",
        ),
        (
            inputs.SECRET,
            inputs.secret(contentTyp="x"),
            "there is no property 'properties.contentTyp'",
        ),
        (
            inputs.VAULT,
            {**inputs.vault("my_vault"), "location": "westeurope"},
            "'vaultName' does not match expression '^[a-zA-Z0-9-]{3,24}$'",
        ),
        (
            inputs.VAULT,
            {"resourceGroupName": "rg", "properties": {}, "location": "x"},
            "missing required property 'properties.sku'",
        ),
        (
            inputs.VAULT,
            inputs.vault(),
            "missing required property 'location'. Either set it explicitly or configure it with"
            " 'pulumi config set azure-native:location <value>'.",
        ),
        (
            inputs.VAULT,
            inputs.vault(networkAcls={"bypass": "None"}),
            "the lab does not model the property 'properties.networkAcls'",
        ),
        (
            inputs.CLUSTER,
            inputs.cluster(addonProfiles=inputs.addon(enableSecretRotation=True)),  # type: ignore[arg-type]
            "'addonProfiles.azureKeyvaultSecretsProvider.config.enableSecretRotation' should be of"
            " type 'string' but got a boolean",
        ),
        (
            inputs.CLUSTER,
            inputs.cluster(serviceMeshProfile={"istio": {}}),
            "missing required property 'serviceMeshProfile.mode'",
        ),
        (
            inputs.CLUSTER,
            inputs.cluster(
                serviceMeshProfile={
                    "mode": "Istio",
                    "istio": {"components": {"egressGateways": []}},
                }
            ),
            "the lab does not model the property 'serviceMeshProfile.istio.components"
            ".egressGateways'",
        ),
        (inputs.POLICY, {"vaultName": "kv-1"}, "missing required property 'policy'"),
        (inputs.ROLE, {"scope": "/"}, "missing required property 'principalId'"),
    ],
)
def test_wrong_inputs_are_refused(
    token: str, news: dict[str, Any], reason: str, azure: Driver
) -> None:
    """Types, patterns, required, unknown and unmodelled properties, each by its path."""
    assert reason in _reasons(azure, token, news)


def test_all_mistakes_are_reported_at_once(azure: Driver) -> None:
    """Check returns every failure, not only the first."""
    wrong = {"vaultName": "k", "properties": {"value": 1, "x": 1}, "secretName": "a_b"}
    assert len(_reasons(azure, inputs.SECRET, wrong)) == 5


def test_unknown_values_are_not_judged(azure: Driver) -> None:
    """A value that a preview does not know yet passes."""
    news = inputs.secret(value=UNKNOWN)  # type: ignore[arg-type]
    assert azure.check(inputs.SECRET, {**news, "vaultName": UNKNOWN})["vaultName"] is UNKNOWN


def test_an_unmodelled_property_that_was_there_before_passes(azure: Driver) -> None:
    """An adopted cluster carries along what the lab does not model, as long as it is unchanged."""
    olds = inputs.cluster(location="x", httpProxyConfig={"httpProxy": "http://p"})
    assert "httpProxyConfig" in azure.check(inputs.CLUSTER, olds, olds)
    changed = {**olds, "httpProxyConfig": {"httpProxy": "http://q"}}
    with pytest.raises(CheckFailedError):
        azure.check(inputs.CLUSTER, changed, olds)


def test_a_nameless_resource_gets_a_random_name_that_stays(azure: Driver) -> None:
    """The URN's name and eight hex digits of the seed; later checks keep it."""
    first = azure.check(inputs.GROUP, {"location": "x"}, name="group")
    assert first["resourceGroupName"].startswith("group")
    assert len(first["resourceGroupName"]) == len("group") + 8
    assert first["__createBeforeDelete"] is True
    again = azure.check(inputs.GROUP, {"location": "x"}, first, name="group")
    assert again["resourceGroupName"] == first["resourceGroupName"]


def test_a_nameless_secret_is_called_like_its_resource(azure: Driver) -> None:
    """Children of a resource are not named at random."""
    news = inputs.secret()
    del news["secretName"]
    assert azure.check(inputs.SECRET, news, name="ca-key")["secretName"] == "ca-key"


def test_configured_autonaming_is_followed(azure: Driver) -> None:
    """A name that the engine enforces is taken as it is."""
    options = provider_pb2.CheckRequest.AutonamingOptions
    answer = azure.stub.Check(
        provider_pb2.CheckRequest(
            urn=urn(inputs.GROUP, "r"),
            news=encode({"location": "x"}),
            autonaming=options(proposed_name="mine", mode=options.ENFORCE),
        )
    )
    assert decode(answer.inputs)["resourceGroupName"] == "mine"


def test_the_location_defaults_to_the_configured_one(azure: Driver) -> None:
    """`azure-native:location` comes before the resource group's."""
    azure.create(inputs.GROUP, inputs.group())
    azure.configure(location="northeurope")
    assert azure.check(inputs.VAULT, inputs.vault())["location"] == "northeurope"


def test_the_location_defaults_to_the_groups(azure: Driver) -> None:
    """Without configuration it is the resource group's, unknown while the group is."""
    azure.create(inputs.GROUP, inputs.group())
    assert azure.check(inputs.VAULT, inputs.vault())["location"] == "westeurope"
    news = {**inputs.vault(), "resourceGroupName": UNKNOWN}
    assert azure.check(inputs.VAULT, news)["location"] is UNKNOWN


def test_a_location_by_default_stays(azure: Driver) -> None:
    """What was the default when a resource was made is not changed by another default later."""
    azure.configure(location="northeurope")
    olds = {**inputs.vault(), "location": "westeurope"}
    assert azure.check(inputs.VAULT, inputs.vault(), olds)["location"] == "westeurope"


def test_the_api_version_is_added(azure: Driver) -> None:
    """azureApiVersion is the default that the SDK documents."""
    assert azure.check(inputs.SECRET, inputs.secret())["azureApiVersion"] == "2024-11-01"


def test_a_foreign_subscription_is_refused(azure: Driver) -> None:
    """The lab has one subscription; another one configured is an error."""
    from tests.lab.driver import refused

    with refused() as refusals:
        azure.configure(subscriptionId="other")
    assert refusals[0].message.startswith("azure-native: subscriptionId is 'other'")
