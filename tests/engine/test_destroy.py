"""Taking a stack down: never by accident, and what Azure keeps of it afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.azure import kinds, seed
from lab.azure.errors import AzureError
from tests.engine.conftest import Converged
from tests.engine.workspace import Workspace

PROTECTED = "cannot be deleted\n    because it is protected."


def take_down(stack: Workspace) -> None:
    """Destroys the stack as the README says."""
    stack.run("state", "unprotect", "--all", "--yes")
    stack.run("destroy", "--yes", "--skip-preview")
    assert stack.resources() == {}


def deleted_vault(stack: Workspace) -> str:
    """Id of the only vault that is deleted and can be recovered."""
    with stack.cloud.glance() as azure:
        [vault] = azure.soft_deleted_of_kind(kinds.VAULT)
    return vault.id


def test_destroy_is_refused_while_anything_is_protected(dev: Converged) -> None:
    """`pulumi destroy` names what is protected and how to unprotect it, and deletes nothing."""
    with dev.stack.writes() as writes:
        ended = dev.stack.pulumi("destroy", "--yes")
    assert ended.code != 0
    assert writes == []
    for what in ("ManagedCluster::cluster", "Secret::secret-ca-cert"):
        assert f'{what}" {PROTECTED}' in ended.output
    assert "pulumi state unprotect" in ended.output


def test_a_destroy_without_preview_costs_no_key_and_no_secret(
    dev: Converged, tmp_path: Path
) -> None:
    """It takes the add-on's access away and nothing else; the next `pulumi up` gives it back."""
    stack = dev.stack.copy(tmp_path / "stack")
    before, outputs = stack.resources().keys(), stack.outputs()
    with stack.writes() as deleted:
        assert stack.pulumi("destroy", "--yes", "--skip-preview").code != 0
    assert deleted == ["accessPolicies/delete"]
    with stack.writes() as restored:
        stack.done()
    assert restored == ["accessPolicies/write"]
    assert stack.resources().keys() == before
    assert stack.outputs() == outputs


def test_a_destroyed_stack_can_be_made_again_once_its_vault_is_purged(
    dev: Converged, tmp_path: Path
) -> None:
    """Azure keeps the vault's name until then, and `pulumi up` says so in Azure's words."""
    stack = dev.stack.copy(tmp_path / "stack")
    take_down(stack)
    refused = stack.up()
    assert refused.code != 0
    assert "recover or purge existing key vault 'mesh-dev-ca'" in refused.output
    seed.purge_vault(stack.state, deleted_vault(stack))
    for mesh in ("pending: run `pulumi up` again to enable it", "enabled"):
        stack.done()
        assert stack.outputs()["mesh"] == mesh
    assert stack.ledger()["serial"] == 1


def test_with_purge_protection_the_next_stack_needs_another_vault_name(
    istio: Converged, tmp_path: Path
) -> None:
    """Nobody can purge the vault before its time; under another name the stack converges."""
    stack = istio.stack.copy(tmp_path / "stack")
    take_down(stack)
    with pytest.raises(AzureError, match="purge protection of the vault 'mesh-vault' is enabled"):
        seed.purge_vault(stack.state, deleted_vault(stack))
    stack.run("config", "set", "--path", "aks-istio-ca:keyVault.name", "mesh-vault-2")
    for mesh in ("pending: run `pulumi up` again to enable it", "enabled"):
        stack.done()
        assert stack.outputs()["mesh"] == mesh
