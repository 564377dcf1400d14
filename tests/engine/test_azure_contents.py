"""What is in Azure once a stack has converged: vault, access, secrets, add-on and mesh."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lab.azure import kinds
from meshca import certificates
from tests.engine.conftest import Converged
from tests.engine.workspace import Workspace

ADD_ON = "azureKeyvaultSecretsProvider"
SECRETS_USER = "4633458b-17de-408a-b874-0445c86b69e6"


def identity(stack: Workspace) -> str:
    """Object id of the identity that AKS made for the secrets-provider add-on."""
    add_on = stack.only(kinds.MANAGED_CLUSTER)["addonProfiles"][ADD_ON]
    return str(add_on["identity"]["objectId"])


def policies(stack: Workspace) -> list[Mapping[str, Any]]:
    """The vault's access policies."""
    return list(stack.only(kinds.VAULT)["properties"]["accessPolicies"])


def test_an_access_policy_permits_get_and_nothing_else(dev: Converged) -> None:
    """By default the add-on's identity may read the value of a secret whose name it knows."""
    [policy] = policies(dev.stack)
    assert policy["objectId"] == identity(dev.stack)
    assert policy["permissions"] == {"secrets": ["get"]}


def test_an_access_policy_permits_list_where_it_is_asked_for(istio: Converged) -> None:
    """`secretPermissions: [get, list]`, as the article of 2023 says."""
    [policy] = policies(istio.stack)
    assert policy["permissions"] == {"secrets": ["get", "list"]}


def test_a_vault_with_roles_gives_the_identity_the_role_to_read(ecdsa: Converged) -> None:
    """Key Vault Secrets User at the vault, with principalType, and no access policy."""
    stack = ecdsa.stack
    role = stack.only(kinds.ROLE_ASSIGNMENT)
    assert role["principalId"] == identity(stack)
    assert role["principalType"] == "ServicePrincipal"
    assert role["roleDefinitionId"].endswith(f"/{SECRETS_USER}")
    assert role["scope"].endswith("/vaults/mesh-vault")
    assert policies(stack) == []


@pytest.mark.parametrize(("form", "by_roles"), [("dev", False), ("ecdsa", True)])
def test_the_access_model_is_always_explicit(
    form: str, by_roles: bool, request: pytest.FixtureRequest
) -> None:
    """Azure's default turns from false to true with API 2026-02-01: it is never relied on."""
    converged: Converged = request.getfixturevalue(form)
    state = converged.stack.resources()["azure-native:keyvault:Vault::vault"]
    assert state["inputs"]["properties"]["enableRbacAuthorization"] is by_roles
    assert converged.stack.only(kinds.VAULT)["properties"]["enableRbacAuthorization"] is by_roles


@pytest.mark.parametrize(("form", "protected", "days"), [("dev", None, 7), ("istio", True, 90)])
def test_the_vault_is_protected_against_purging_unless_told_otherwise(
    form: str, protected: bool | None, days: int, request: pytest.FixtureRequest
) -> None:
    """Purge protection is on by default; off is left out, as ARM knows true and nothing else."""
    converged: Converged = request.getfixturevalue(form)
    properties = converged.stack.only(kinds.VAULT)["properties"]
    assert properties.get("enablePurgeProtection") is protected
    assert properties["softDeleteRetentionInDays"] == days


@pytest.mark.parametrize(("form", "group"), [("dev", "mesh-dev"), ("istio", "vaults")])
def test_the_vault_is_in_its_resource_group(
    form: str, group: str, request: pytest.FixtureRequest
) -> None:
    """The cluster's, unless `keyVault.resourceGroup` names another."""
    converged: Converged = request.getfixturevalue(form)
    assert f"/resourceGroups/{group}/" in converged.stack.ledger()["access"]["vault"]


def test_secrets_say_what_they_hold_and_until_when(offline: Converged) -> None:
    """Content type, nbf and exp of the certificate, its name and SHA-256 fingerprint as tags."""
    files = {"root-cert": "a", "ca-cert": "a1", "ca-key": "a1", "cert-chain": "a1"}
    for secret, name in files.items():
        held = offline.stack.secret(secret)
        certificate = certificates.read_certificate(offline.stack.directory / f"{name}.pem")
        attributes = held["properties"]["attributes"]
        assert held["properties"]["contentType"] == "application/x-pem-file"
        assert attributes["enabled"] is True
        assert attributes["notBefore"] == certificate.not_valid_before_utc.timestamp()
        assert attributes["expires"] == certificate.not_valid_after_utc.timestamp()
        assert held["tags"]["authority"] == name
        assert held["tags"]["sha256"] == certificates.fingerprint(certificate)


@pytest.mark.parametrize(("form", "interval"), [("dev", "2m"), ("istio", "20s")])
def test_the_add_on_rotates_secrets(
    form: str, interval: str, request: pytest.FixtureRequest
) -> None:
    """Rotation is on, at the configured interval; ARM takes both as text."""
    converged: Converged = request.getfixturevalue(form)
    add_on = converged.stack.only(kinds.MANAGED_CLUSTER)["addonProfiles"][ADD_ON]
    assert add_on["enabled"] is True
    assert add_on["config"] == {
        "enableSecretRotation": "true",
        "rotationPollInterval": interval,
    }


def test_the_mesh_reads_all_five_from_the_vault(istio: Converged) -> None:
    """The vault and four object names; without one of them istiod would sign by itself."""
    stack = istio.stack
    profile = stack.only(kinds.MANAGED_CLUSTER)["serviceMeshProfile"]
    assert profile == {
        "mode": "Istio",
        "istio": {
            "revisions": ["asm-1-29", "asm-1-30"],
            "certificateAuthority": {
                "plugin": {
                    "keyVaultId": stack.ledger()["access"]["vault"],
                    "rootCertObjectName": "root-cert",
                    "certObjectName": "ca-cert",
                    "keyObjectName": "ca-key",
                    "certChainObjectName": "cert-chain",
                }
            },
        },
    }


def test_a_mesh_is_turned_off_by_saying_so(dev: Converged, tmp_path: Path) -> None:
    """`cluster.mesh: false` sends mode Disabled: what a request leaves out, AKS keeps."""
    stack = dev.stack.copy(tmp_path / "stack")
    stack.run("config", "set", "--path", "aks-istio-ca:cluster.mesh", "false")
    with stack.writes() as writes:
        stack.done()
    assert writes == ["managedClusters/write"]
    assert stack.only(kinds.MANAGED_CLUSTER)["serviceMeshProfile"] == {"mode": "Disabled"}
    assert stack.outputs()["mesh"] == "disabled"
