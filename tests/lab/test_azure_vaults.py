"""Resource groups and vaults: names, protections, deletion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest

from lab.azure import ids, seed
from lab.azure.errors import AzureError
from tests.lab import azure_inputs as inputs
from tests.lab.driver import Driver, State, refused


@pytest.fixture
def azure(azure: Driver) -> Driver:
    """Return azure-native over a cloud with group `rg`."""
    azure.create(inputs.GROUP, inputs.group())
    return azure


def _create(azure: Driver, name: str = "kv-1", **properties: Any) -> State:
    return azure.create(inputs.VAULT, inputs.vault(name, **properties))


def test_a_vault_shows_what_arm_adds(azure: Driver) -> None:
    """Location from the group, URI, defaults, no access policies."""
    outputs = _create(azure).outputs
    assert outputs["location"] == "westeurope"
    assert outputs["properties"]["vaultUri"] == "https://kv-1.vault.azure.net/"
    assert outputs["properties"]["accessPolicies"] == []
    assert outputs["properties"]["enableSoftDelete"] is True
    assert outputs["properties"]["enableRbacAuthorization"] is False
    assert outputs["azureApiVersion"] == "2024-11-01"


@pytest.mark.parametrize(
    ("name", "properties", "code"),
    [
        ("1abc", {}, "VaultNameNotValid"),
        ("a--b", {}, "VaultNameNotValid"),
        ("abc-", {}, "VaultNameNotValid"),
        ("kv-1", {"tenantId": inputs.SOMEONE}, "BadRequest"),
        ("kv-1", {"enableSoftDelete": False}, "BadRequest"),
        ("kv-1", {"softDeleteRetentionInDays": 6}, "BadRequest"),
        ("kv-1", {"publicNetworkAccess": "maybe"}, "BadRequest"),
        ("kv-1", {"sku": {"family": "A", "name": "cheap"}}, "InvalidParameter"),
        ("kv-1", {"createMode": "recover"}, "ResourceNotFound"),
        (
            "kv-1",
            {"accessPolicies": [inputs.policy("nobody")["policy"]]},
            "BadRequest",
        ),
    ],
)
def test_what_arm_does_not_take_is_refused(
    name: str, properties: dict[str, Any], code: str, azure: Driver
) -> None:
    """Names, tenant, soft delete, retention, enums, object ids."""
    with refused() as refusals:
        _create(azure, name, **properties)
    assert f'Code="{code}"' in refusals[0].message


def test_a_missing_resource_group_is_named(azure: Driver) -> None:
    """Nothing is created outside a group."""
    vault = {**inputs.vault(), "resourceGroupName": "gone", "location": "westeurope"}
    with refused() as refusals:
        azure.create(inputs.VAULT, vault)
    assert refusals[0].code is grpc.StatusCode.NOT_FOUND
    assert "Resource group 'gone' could not be found." in refusals[0].message


def test_a_vault_name_is_taken_everywhere(azure: Driver) -> None:
    """Vault names are global, whatever the group and the letter case."""
    _create(azure)
    azure.create(inputs.GROUP, inputs.group("rg2"))
    with refused() as refusals:
        azure.create(inputs.VAULT, {**inputs.vault("KV-1"), "resourceGroupName": "rg2"})
    assert 'Code="VaultAlreadyExists"' in refusals[0].message


def test_a_deleted_vaults_name_stays_taken(azure: Driver) -> None:
    """Soft delete keeps the name; the message says what to do."""
    azure.delete(_create(azure))
    with refused() as refusals:
        _create(azure)
    assert 'Code="ConflictError"' in refusals[0].message
    assert "recover or purge existing key vault 'kv-1'" in refusals[0].message


def test_a_deleted_vault_is_recovered_with_its_secrets(azure: Driver) -> None:
    """createMode recover brings vault and secrets back."""
    vault = _create(azure)
    secret = azure.create(inputs.SECRET, inputs.secret())
    azure.delete(vault)
    assert azure.read(secret) is None
    recovered = _create(azure, createMode="recover")
    assert recovered.outputs["properties"]["vaultUri"] == "https://kv-1.vault.azure.net/"
    assert azure.read(secret) is not None


def test_a_purged_vaults_name_is_free(azure: Driver, state: Path) -> None:
    """A purge frees the name and forgets the secrets."""
    vault = _create(azure)
    secret = azure.create(inputs.SECRET, inputs.secret())
    azure.delete(vault)
    seed.purge_vault(state, vault.id)
    _create(azure)
    assert azure.read(secret) is None


def test_purge_protection_keeps_the_name(azure: Driver, state: Path) -> None:
    """A protected vault cannot be purged."""
    vault = _create(azure, enablePurgeProtection=True)
    azure.delete(vault)
    with pytest.raises(AzureError, match="purge protection of the vault 'kv-1' is enabled"):
        seed.purge_vault(state, vault.id)


def test_purge_protection_cannot_be_taken_back(azure: Driver) -> None:
    """Once on, always on: false is refused, leaving it out changes nothing."""
    vault = _create(azure, enablePurgeProtection=True)
    with refused() as refusals:
        azure.update(vault, inputs.vault(enablePurgeProtection=False))
    assert "is an irreversible action" in refusals[0].message
    assert azure.update(vault, inputs.vault()).outputs["properties"]["enablePurgeProtection"]


def test_deleting_a_group_deletes_what_is_in_it(azure: Driver, state: Path) -> None:
    """Clusters are gone, vaults softly: their names stay taken."""
    group = azure.read(State(inputs.GROUP, "g", ids.resource_group("rg"), inputs.group(), {}))
    assert group is not None
    vault = _create(azure)
    cluster = azure.create(inputs.CLUSTER, inputs.cluster())
    azure.delete(group)
    assert [azure.read(each) for each in (group, vault, cluster)] == [None, None, None]
    azure.create(inputs.GROUP, inputs.group())
    with refused() as refusals:
        _create(azure)
    assert 'Code="ConflictError"' in refusals[0].message


def test_access_policies_left_out_stay(azure: Driver) -> None:
    """An update of the vault does not take away what AccessPolicy resources granted."""
    vault = _create(azure)
    policy = azure.create(inputs.POLICY, inputs.policy())
    azure.update(vault, {**inputs.vault(), "tags": {"a": "b"}})
    assert azure.read(policy) is not None


def test_access_policies_of_their_own_are_no_drift(azure: Driver) -> None:
    """A refresh of the vault leaves policies out that the program keeps elsewhere."""
    vault = _create(azure)
    azure.create(inputs.POLICY, inputs.policy())
    live = azure.read(vault)
    assert live is not None
    assert live.inputs == vault.inputs
    assert live.outputs["properties"]["accessPolicies"] == []


def test_a_refresh_sees_what_others_changed(azure: Driver, state: Path) -> None:
    """A property that Azure changed moves into the inputs; what it added by itself does not."""
    vault = _create(azure)
    seed.vault(state, "rg", "kv-1", enableRbacAuthorization=True)
    live = azure.read(vault)
    assert live is not None
    changed = {**vault.inputs["properties"], "enableRbacAuthorization": True}
    assert live.inputs == {**vault.inputs, "properties": changed}


def test_an_imported_vault_takes_its_exact_inputs_without_difference(
    azure: Driver, state: Path
) -> None:
    """Import yields inputs that a program can repeat."""
    live = azure.import_(inputs.VAULT, seed.vault(state, "rg", "kv-9"))
    assert live is not None
    assert live.inputs["vaultName"] == "kv-9"
    assert not azure.diff(live, live.inputs).diffs


def test_an_import_of_nothing_finds_nothing(azure: Driver) -> None:
    """Reading an id that names nothing answers without an id."""
    assert azure.import_(inputs.VAULT, ids.vault("rg", "none")) is None
