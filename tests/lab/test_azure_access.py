"""Who may read: access policies, roles, and access that comes late."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lab.azure import data_plane, faults, ids, seed
from tests.lab import azure_inputs as inputs
from tests.lab.driver import Driver, refused


@pytest.fixture
def azure(azure: Driver) -> Driver:
    """Return azure-native over a cloud with group `rg` and vault `kv-1` with one secret."""
    azure.create(inputs.GROUP, inputs.group())
    azure.create(inputs.VAULT, inputs.vault())
    azure.create(inputs.SECRET, inputs.secret())
    return azure


def _read(state: Path, vault: str = "kv-1") -> str:
    return data_plane.read_secret(state, vault=vault, name="ca-key", principal=inputs.SOMEONE)


def _rbac(azure: Driver) -> None:
    azure.create(inputs.VAULT, inputs.vault("kv-2", enableRbacAuthorization=True))
    azure.create(inputs.SECRET, {**inputs.secret(), "vaultName": "kv-2"})


def test_a_policy_lets_its_principal_in(azure: Driver, state: Path) -> None:
    """Nobody may read before, the principal may after, nobody again once it is gone."""
    with pytest.raises(data_plane.Forbidden, match="does not have secrets get permission"):
        _read(state)
    policy = azure.create(inputs.POLICY, inputs.policy())
    assert _read(state) == "v"
    azure.delete(policy)
    with pytest.raises(data_plane.Forbidden):
        _read(state)


def test_a_policys_id_names_its_principal(azure: Driver) -> None:
    """The id ends in the object id, so that the policy can be imported."""
    policy = azure.create(inputs.POLICY, inputs.policy())
    assert policy.id == f"{ids.vault('rg', 'kv-1')}/accessPolicy/{inputs.SOMEONE}"
    live = azure.import_(inputs.POLICY, policy.id)
    assert live is not None
    assert live.inputs == inputs.policy()


def test_a_second_policy_for_one_principal_is_refused(azure: Driver) -> None:
    """In azure-native's words."""
    azure.create(inputs.POLICY, inputs.policy())
    with refused() as refusals:
        azure.create(inputs.POLICY, inputs.policy())
    assert refusals[0].message == f"access policy for {inputs.SOMEONE} already exists"


def test_a_policy_without_get_does_not_let_read(azure: Driver, state: Path) -> None:
    """Permissions are single."""
    azure.create(inputs.POLICY, inputs.policy(inputs.SOMEONE, "list", "set"))
    with pytest.raises(data_plane.Forbidden):
        _read(state)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"tenantId": inputs.SOMEONE}, "BadRequest"),
        ({"objectId": "me"}, "BadRequest"),
        ({"permissions": {"secrets": ["read"]}}, "InvalidParameter"),
    ],
)
def test_a_policy_that_arm_does_not_take_is_refused(
    change: dict[str, Any], code: str, azure: Driver
) -> None:
    """Tenant, object id and permission names."""
    news = inputs.policy()
    news["policy"] |= change
    with refused() as refusals:
        azure.create(inputs.POLICY, news)
    assert f'Code="{code}"' in refusals[0].message


def test_a_role_counts_only_in_rbac_mode(azure: Driver, state: Path) -> None:
    """Roles say nothing to a vault in access-policy mode."""
    _rbac(azure)
    azure.create(inputs.ROLE, inputs.role(ids.resource_group("rg")))
    assert _read(state, "kv-2") == "v"
    with pytest.raises(data_plane.Forbidden):
        _read(state, "kv-1")


def test_a_policy_counts_only_in_policy_mode(azure: Driver, state: Path) -> None:
    """RBAC mode invalidates access policies."""
    _rbac(azure)
    azure.create(inputs.POLICY, {**inputs.policy(), "vaultName": "kv-2"})
    with pytest.raises(data_plane.Forbidden, match="not authorized to perform action"):
        _read(state, "kv-2")


@pytest.mark.parametrize(
    "scope",
    [ids.subscription(), ids.resource_group("RG"), ids.vault("rg", "kv-2")],
)
def test_a_role_above_the_vault_holds(scope: str, azure: Driver, state: Path) -> None:
    """Subscription, group and vault are scopes; letter case is no matter."""
    _rbac(azure)
    azure.create(inputs.ROLE, inputs.role(scope))
    assert _read(state, "kv-2") == "v"


def test_key_vault_reader_does_not_read_values(azure: Driver, state: Path) -> None:
    """The support article's role is the wrong one: metadata only."""
    _rbac(azure)
    seed.role(
        state, ids.vault("rg", "kv-2"), inputs.SOMEONE, "21090545-7ca7-4776-b22c-e363652d74d2"
    )
    with pytest.raises(data_plane.Forbidden):
        _read(state, "kv-2")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"principalType": "User"}, 'Code="PrincipalNotFound"'),
        ({"scope": ids.vault("rg", "none")}, 'Code="ResourceNotFound"'),
        ({"roleDefinitionId": inputs.SECRETS_USER}, 'Code="InvalidRoleDefinitionId"'),
        (
            {
                "roleDefinitionId": "/providers/Microsoft.Authorization/roleDefinitions/"
                + inputs.SOMEONE
            },
            'Code="RoleDefinitionDoesNotExist"',
        ),
        (
            {
                "roleDefinitionId": "/providers/Microsoft.Authorization/roleDefinitions/"
                "db79e9a7-68ee-4b58-9aeb-b90e7c24fcba"
            },
            "the lab does not model the role Key Vault Certificate User",
        ),
    ],
)
def test_a_role_assignment_that_arm_does_not_take_is_refused(
    change: dict[str, Any], text: str, azure: Driver
) -> None:
    """Principal, scope and role must exist; the SDK's default principal type is a trap."""
    with refused() as refusals:
        azure.create(inputs.ROLE, inputs.role(**change))
    assert text in refusals[0].message


def test_the_sdks_default_principal_type_is_refused_for_an_addons_identity(azure: Driver) -> None:
    """The SDK sends User; the identity is a service principal."""
    cluster = azure.create(inputs.CLUSTER, inputs.cluster(addonProfiles=inputs.addon()))
    principal = cluster.outputs["addonProfiles"][inputs.ADDON]["identity"]["objectId"]
    with refused() as refusals:
        azure.create(inputs.ROLE, inputs.role(principalId=principal, principalType="User"))
    assert 'Code="UnmatchedPrincipalType"' in refusals[0].message


def test_the_same_role_twice_is_refused(azure: Driver) -> None:
    """One principal, one scope, one role: one assignment."""
    azure.create(inputs.ROLE, inputs.role(roleAssignmentName="a"))
    with refused() as refusals:
        azure.create(inputs.ROLE, inputs.role(roleAssignmentName="b"))
    assert 'Code="RoleAssignmentExists"' in refusals[0].message


def test_granted_access_can_count_late_until_released(azure: Driver, state: Path) -> None:
    """Forbidden until released, though ARM said the policy is there."""
    faults.delay_access(state, None)
    azure.create(inputs.POLICY, inputs.policy())
    with pytest.raises(data_plane.Forbidden):
        _read(state)
    faults.release(state)
    assert _read(state) == "v"


@pytest.mark.parametrize(("seconds", "late"), [(3600.0, True), (0.0, False)])
def test_a_granted_role_can_count_late_for_a_time(
    seconds: float, late: bool, azure: Driver, state: Path
) -> None:
    """A role takes its time to arrive, and then is there."""
    _rbac(azure)
    faults.delay_access(state, seconds)
    azure.create(inputs.ROLE, inputs.role(ids.vault("rg", "kv-2")))
    if not late:
        assert _read(state, "kv-2") == "v"
        return
    with pytest.raises(data_plane.Forbidden):
        _read(state, "kv-2")


def test_a_late_grant_does_not_take_an_earlier_one_away(azure: Driver, state: Path) -> None:
    """Each grant has a delay of its own."""
    _rbac(azure)
    azure.create(inputs.ROLE, inputs.role(ids.vault("rg", "kv-2")))
    faults.delay_access(state, None)
    azure.create(inputs.ROLE, inputs.role(ids.resource_group("rg")))
    assert _read(state, "kv-2") == "v"


def test_a_disabled_secret_is_not_handed_out(azure: Driver, state: Path) -> None:
    """enabled=false blocks the read; nbf and exp do not."""
    azure.create(inputs.POLICY, inputs.policy())
    secret = azure.read(azure.create(inputs.SECRET, inputs.secret("other")))
    assert secret is not None
    azure.update(secret, inputs.secret("other", attributes={"enabled": False}))
    with pytest.raises(data_plane.Forbidden, match="not allowed on a disabled secret"):
        data_plane.read_secret(state, vault="kv-1", name="other", principal=inputs.SOMEONE)
    azure.update(secret, inputs.secret("other", attributes={"notBefore": 2**31, "expires": 1}))
    assert data_plane.read_secret(state, vault="kv-1", name="other", principal=inputs.SOMEONE)


def test_access_is_checked_before_existence(azure: Driver, state: Path) -> None:
    """Without access a missing secret is Forbidden; with it, not found."""
    with pytest.raises(data_plane.Forbidden):
        data_plane.read_secret(state, vault="kv-1", name="none", principal=inputs.SOMEONE)
    azure.create(inputs.POLICY, inputs.policy())
    with pytest.raises(data_plane.SecretNotFound):
        data_plane.read_secret(state, vault="kv-1", name="none", principal=inputs.SOMEONE)


def test_a_missing_vault_does_not_resolve(azure: Driver, state: Path) -> None:
    """A vault's host name exists only while the vault does."""
    with pytest.raises(data_plane.VaultNotFound, match=r"none\.vault\.azure\.net does not resolve"):
        _read(state, "none")


def test_a_vault_closed_to_the_public_hands_out_nothing(azure: Driver, state: Path) -> None:
    """publicNetworkAccess disabled: ARM still writes, the data plane refuses."""
    azure.create(inputs.VAULT, inputs.vault("kv-3", publicNetworkAccess="disabled"))
    azure.create(inputs.SECRET, {**inputs.secret(), "vaultName": "kv-3"})
    azure.create(inputs.POLICY, {**inputs.policy(), "vaultName": "kv-3"})
    with pytest.raises(data_plane.Forbidden, match="Public network access is disabled"):
        _read(state, "kv-3")
