"""Vault: what is asked of ARM."""

from typing import Any

import pulumi
import pytest

from components.vault import Vault
from tests.components.cloud import TENANT, VAULT, vault_id
from tests.components.recorder import Run
from tests.components.stacks import GENERATED, changed, component


def deploy(**key_vault: Any) -> Run:
    """A Vault alone."""

    def build(settings: Any, _files: Any) -> None:
        vault = Vault("vault", settings.key_vault, resource_group="group", tenant=TENANT)
        pulumi.export("id", vault.id)
        pulumi.export("name", vault.name)

    return component(build, changed(GENERATED, keyVault=key_vault))


@pytest.mark.parametrize(("model", "rbac"), [("accessPolicy", False), ("rbac", True)])
def test_a_vault_is_asked_for_in_full(model: str, rbac: bool) -> None:
    """The access model is explicit in both modes: its default depends on the API version."""
    request = deploy(accessModel=model, softDeleteDays=30).one(VAULT, "vault")
    assert request.inputs == {
        "vaultName": "mesh-vault",
        "resourceGroupName": "group",
        "properties": {
            "tenantId": TENANT,
            "sku": {"family": "A", "name": "standard"},
            "enableRbacAuthorization": rbac,
            "enableSoftDelete": True,
            "softDeleteRetentionInDays": 30,
            "enablePurgeProtection": True,
            # What the SDK fills in.
            "enabledForDeployment": False,
            "enabledForDiskEncryption": False,
            "enabledForTemplateDeployment": False,
            "publicNetworkAccess": "enabled",
        },
    }


def test_purge_protection_is_on_or_left_out() -> None:
    """ARM refuses `false`: purge protection cannot be turned off."""
    properties = deploy(purgeProtection=False).one(VAULT, "vault").inputs["properties"]
    assert "enablePurgeProtection" not in properties


def test_a_vault_is_protected() -> None:
    """Nothing may replace or delete the vault, and nothing else about it is out of the ordinary."""
    assert deploy().one(VAULT, "vault").options == {"protect": True}


def test_a_vault_tells_its_arm_id_and_name() -> None:
    """Id and name are those of the vault that was made, not of the configuration."""
    assert deploy().outputs == {"id": vault_id("group", "mesh-vault"), "name": "mesh-vault"}
