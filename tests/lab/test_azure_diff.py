"""Diff: inputs against inputs, and what replaces."""

from __future__ import annotations

from typing import Any

import pytest
from pulumi.runtime.proto import provider_pb2

from lab.azure import seed
from lab.provider.values import UNKNOWN
from tests.lab import azure_inputs as inputs
from tests.lab.driver import Driver

NONE, SOME = provider_pb2.DiffResponse.DIFF_NONE, provider_pb2.DiffResponse.DIFF_SOME


def test_the_same_inputs_are_no_change(vault: Driver) -> None:
    """What Azure adds to the outputs is no difference."""
    state = vault.create(inputs.SECRET, inputs.secret())
    assert vault.diff(state, inputs.secret()).changes == NONE


@pytest.mark.parametrize(
    ("token", "news", "change"),
    [
        (inputs.GROUP, inputs.group("rg2"), {"location": "northeurope"}),
        (inputs.GROUP, inputs.group("rg2"), {"resourceGroupName": "other"}),
        (inputs.VAULT, inputs.vault("kv-2"), {"vaultName": "kv-3"}),
        (inputs.VAULT, inputs.vault("kv-2"), {"location": "northeurope"}),
        (inputs.SECRET, inputs.secret(), {"secretName": "other"}),
        (inputs.SECRET, inputs.secret(), {"vaultName": "other"}),
        (inputs.POLICY, inputs.policy(), {"policy": inputs.policy(inputs.CALLER)["policy"]}),
        (inputs.ROLE, inputs.role(roleAssignmentName="a"), {"principalId": inputs.CALLER}),
        (inputs.ROLE, inputs.role(roleAssignmentName="a"), {"scope": "/subscriptions/x"}),
        (inputs.CLUSTER, inputs.cluster(), {"dnsPrefix": "other"}),
        (inputs.CLUSTER, inputs.cluster(), {"location": "northeurope"}),
        (inputs.CLUSTER, inputs.cluster(), {"nodeResourceGroup": "other"}),
        (inputs.CLUSTER, inputs.cluster(), {"networkProfile": {"networkPlugin": "azure"}}),
    ],
)
def test_a_change_of_what_is_fixed_replaces(
    token: str, news: dict[str, Any], change: dict[str, Any], vault: Driver
) -> None:
    """The forceNew list; the old resource goes first because its name is given."""
    state = vault.create(token, news)
    answer = vault.diff(state, {**news, **change})
    assert list(answer.replaces)
    assert answer.deleteBeforeReplace


@pytest.mark.parametrize(
    "change",
    [
        {"serviceMeshProfile": inputs.mesh(plugin=inputs.plugin())},
        {"addonProfiles": inputs.addon()},
        {"kubernetesVersion": "1.35"},
        {"tags": {"a": "b"}},
    ],
)
def test_mesh_and_addon_are_changed_in_place(change: dict[str, Any], vault: Driver) -> None:
    """Adding the mesh profile or an add-on never replaces a cluster."""
    state = vault.create(inputs.CLUSTER, inputs.cluster())
    answer = vault.diff(state, inputs.cluster(**change))
    assert (answer.changes, list(answer.replaces)) == (SOME, [])
    assert not answer.deleteBeforeReplace


def test_a_new_secret_value_is_changed_in_place(vault: Driver) -> None:
    """A new value is an update whose path is properties.value."""
    state = vault.create(inputs.SECRET, inputs.secret())
    answer = vault.diff(state, inputs.secret(value="new"))
    assert list(answer.detailedDiff) == ["properties.value"]
    assert answer.detailedDiff["properties.value"].kind == provider_pb2.PropertyDiff.UPDATE
    assert answer.detailedDiff["properties.value"].inputDiff


def test_an_unknown_principal_replaces_its_policy(vault: Driver) -> None:
    """What a preview shows when the cluster, and so its identity, may change."""
    state = vault.create(inputs.POLICY, inputs.policy())
    answer = vault.diff(state, inputs.policy(UNKNOWN))  # type: ignore[arg-type]
    assert list(answer.replaces) == ["policy.objectId"]


def test_the_way_a_location_is_written_is_no_change(vault: Driver) -> None:
    """`West Europe` and `westeurope` are one."""
    state = vault.create(inputs.GROUP, inputs.group("rg2"))
    news = {**inputs.group("rg2"), "location": "West Europe"}
    assert vault.diff(state, news).changes == NONE


def test_a_randomly_named_resource_is_created_before_the_old_one_goes(vault: Driver) -> None:
    """Its name is new, so both can be there."""
    state = vault.create(inputs.GROUP, {"location": "westeurope"})
    assert not vault.diff(state, {"location": "northeurope"}).deleteBeforeReplace


def test_an_imported_fixed_property_that_the_state_holds_does_not_replace(
    vault: Driver, state: Any
) -> None:
    """Naming what Azure chose by itself (the node resource group) is no reason to replace."""
    resource_id = seed.cluster(state, "rg", "other")
    live = vault.import_(inputs.CLUSTER, resource_id)
    assert live is not None
    chosen = live.outputs["nodeResourceGroup"]
    del live.inputs["nodeResourceGroup"]
    answer = vault.diff(live, {**live.inputs, "nodeResourceGroup": chosen})
    assert (answer.changes, list(answer.replaces)) == (SOME, [])
