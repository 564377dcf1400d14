"""Access: an access policy or a role assignment, never wider than reading secrets."""

from typing import Any

import pulumi
import pytest

from components.access import Access
from components.stack import Login
from components.vault import Vault
from tests.components.cloud import (
    ADD_ON_IDENTITY,
    POLICY,
    ROLE,
    SUBSCRIPTION,
    TENANT,
    Cloud,
    vault_id,
)
from tests.components.recorder import Run
from tests.components.stacks import GENERATED, changed, component

SECRETS_USER = "4633458b-17de-408a-b874-0445c86b69e6"
"""Key Vault Secrets User (learn.microsoft.com/azure/role-based-access-control/built-in-roles)."""


def deploy(cloud: Cloud | None = None, *, left_out: str = "", **key_vault: Any) -> Run:
    """A Vault and the Access to it."""

    def build(settings: Any, _files: Any) -> None:
        login = Login()
        vault = Vault("vault", settings.key_vault, resource_group="group", tenant=login.tenant)
        access = Access("access", settings.key_vault, vault, principal=ADD_ON_IDENTITY, login=login)
        pulumi.export("principal", access.principal.apply(lambda found: found))
        pulumi.export("known", pulumi.Output.from_input(access.principal.is_known()))

    config = changed(GENERATED, keyVault=key_vault)
    return component(build, config, cloud=cloud, left_out=(left_out,))


def test_an_access_policy_is_asked_for_in_full() -> None:
    """The add-on's identity may get secrets, and nothing else."""
    run = deploy(accessModel="accessPolicy")
    assert run.one(POLICY, "access").inputs == {
        "resourceGroupName": "group",
        "vaultName": "mesh-vault",
        "policy": {
            "tenantId": TENANT,
            "objectId": ADD_ON_IDENTITY,
            "permissions": {"secrets": ["get"]},
        },
    }
    assert run.of(ROLE) == {}


def test_secret_permissions_are_those_of_the_settings() -> None:
    """The article of 2023 also granted `list`: the settings can."""
    run = deploy(accessModel="accessPolicy", secretPermissions=["get", "list"])
    policy = run.one(POLICY, "access").inputs["policy"]
    assert policy["permissions"] == {"secrets": ["get", "list"]}


def test_a_role_is_asked_for_in_full() -> None:
    """The add-on's identity becomes Key Vault Secrets User of this vault only. Its type is given,
    since a fresh identity may not be found yet."""
    run = deploy(accessModel="rbac")
    assert run.one(ROLE, "access").inputs == {
        "scope": vault_id("group", "mesh-vault"),
        "principalId": ADD_ON_IDENTITY,
        "principalType": "ServicePrincipal",
        "roleDefinitionId": (
            f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions/"
            f"{SECRETS_USER}"
        ),
    }
    assert run.of(POLICY) == {}


@pytest.mark.parametrize("model", ["accessPolicy", "rbac"])
def test_access_is_granted_to_whom_the_grant_says(model: str) -> None:
    """`principal` is what Azure shows of the grant, not what was asked for."""
    shown: dict[str, Any] = {"principalId": "someone", "policy": {"objectId": "someone"}}
    cloud = Cloud(shows={"access": shown})
    assert deploy(cloud, accessModel=model).outputs["principal"] == "someone"


@pytest.mark.parametrize("model", ["accessPolicy", "rbac"])
def test_access_that_was_left_out_is_not_granted(model: str) -> None:
    """An `up` with `--target` shows the inputs of a grant that it did not make; `principal` stays
    unknown then."""
    assert deploy(accessModel=model).outputs["known"] is True
    assert deploy(accessModel=model, left_out="access").outputs["known"] is False


def test_access_waits_for_the_vault() -> None:
    """Neither grant is asked for before the vault is there."""
    for model, kind in (("accessPolicy", POLICY), ("rbac", ROLE)):
        run = deploy(accessModel=model)
        vault = run.one("azure-native:keyvault:Vault", "vault")
        assert run.one(kind, "access").depends_on(vault)
