"""The whole program: names, order of the two `up`s, protection, outputs, refusals."""

import re
from collections.abc import Mapping
from pathlib import Path

import pulumi
import pytest
from google.protobuf import json_format

from meshca import certificates
from tests.components import cloud
from tests.components.recorder import STACK_TYPE, UNKNOWN, Run
from tests.components.stacks import (
    GENERATED,
    NAME,
    OFFLINE,
    PENDING,
    TWO_ROOTS,
    Stack,
    changed,
    offline,
    stance,
)

# Names


def path(urn: str) -> str:
    """What of a URN has to stay: the types, parents first, and the name."""
    _, _, types, name = urn.split("::")
    return f"{types.removeprefix(f'{STACK_TYPE}$')}::{name}"


NAMES = [
    "aks-istio-ca:index:Access$azure-native:keyvault:AccessPolicy::access",
    "aks-istio-ca:index:Access::access",
    "aks-istio-ca:index:AttemptRecord$pulumi:index:Stash::rotation-attempt",
    "aks-istio-ca:index:AttemptRecord::rotation-attempt",
    "aks-istio-ca:index:Authority$tls:index/certRequest:CertRequest::issuer-a1-request",
    "aks-istio-ca:index:Authority$tls:index/locallySignedCert:LocallySignedCert::issuer-a1",
    "aks-istio-ca:index:Authority$tls:index/privateKey:PrivateKey::issuer-a1-key",
    "aks-istio-ca:index:Authority$tls:index/privateKey:PrivateKey::root-a-key",
    "aks-istio-ca:index:Authority$tls:index/selfSignedCert:SelfSignedCert::root-a",
    "aks-istio-ca:index:Authority::authority",
    "aks-istio-ca:index:BundleSecrets$azure-native:keyvault:Secret::secret-ca-cert",
    "aks-istio-ca:index:BundleSecrets$azure-native:keyvault:Secret::secret-ca-key",
    "aks-istio-ca:index:BundleSecrets$azure-native:keyvault:Secret::secret-cert-chain",
    "aks-istio-ca:index:BundleSecrets$azure-native:keyvault:Secret::secret-root-cert",
    "aks-istio-ca:index:BundleSecrets::secrets",
    "aks-istio-ca:index:Cluster$azure-native:containerservice:ManagedCluster::cluster",
    "aks-istio-ca:index:Cluster::cluster",
    "aks-istio-ca:index:Vault$azure-native:keyvault:Vault::vault",
    "aks-istio-ca:index:Vault::vault",
    "azure-native:resources:ResourceGroup::group-mesh-group",
]

RBAC = "aks-istio-ca:index:Access$azure-native:authorization:RoleAssignment::access"


def test_names_are_a_contract(first_up: Run) -> None:
    """These are the URNs of live clusters, vaults and roots. A changed one is a replaced resource:
    whoever changes a name adds an alias, and leaves this list alone."""
    assert sorted(path(request.urn) for request in first_up.requests) == NAMES


def test_the_name_of_a_role_assignment_is_a_contract_too(stack: Stack) -> None:
    """The other access model differs in this one resource."""
    run = stack.up(changed(GENERATED, keyVault={"accessModel": "rbac"}))
    found = {path(request.urn) for request in run.requests}
    assert found ^ {*NAMES} == {RBAC, NAMES[0]}


def test_every_resource_has_its_component_for_parent(first_up: Run) -> None:
    """Only the components and the resource groups stand directly under the stack."""
    for request in first_up.requests:
        if request.wire.custom and request.type != cloud.GROUP:
            assert first_up.by_urn(request.wire.parent).type.startswith("aks-istio-ca:index:")
        else:
            assert f"::{STACK_TYPE}::" in request.wire.parent


def test_one_resource_group_serves_both(first_up: Run) -> None:
    """Cluster and vault share the cluster's group unless told otherwise."""
    assert {name: one.inputs for name, one in first_up.of(cloud.GROUP).items()} == {
        "group-mesh-group": {"resourceGroupName": "mesh-group"}
    }


def test_a_vault_can_have_a_group_of_its_own(stack: Stack) -> None:
    """With another group for the vault, vault, secrets and access are there, the cluster is not."""
    run = stack.up(changed(GENERATED, keyVault={"resourceGroup": "vaults"}))
    assert [*run.of(cloud.GROUP)] == ["group-mesh-group", "group-vaults"]
    groups = {
        request.name: request.inputs["resourceGroupName"]
        for request in run.requests
        if "resourceGroupName" in request.inputs and request.type != cloud.GROUP
    }
    assert groups.pop("cluster") == "mesh-group"
    assert {*groups.values()} == {"vaults"}


# The two `up`s


def test_the_first_up_leaves_the_mesh_out(first_up: Run) -> None:
    """Access is not granted yet, so there is no mesh profile; the output says what to do next."""
    assert "serviceMeshProfile" not in first_up.one(cloud.CLUSTER, "cluster").inputs
    assert first_up.outputs["mesh"] == "pending: run `pulumi up` again to enable it"


def test_the_second_up_enables_the_mesh(converged: Stack) -> None:
    """The ledger shows access, so the profile is added, with the id of the vault that was made; it
    waits for the vault."""
    run = converged.up(GENERATED)
    cluster = run.one(cloud.CLUSTER, "cluster")
    profile = cluster.inputs["serviceMeshProfile"]
    plugin = profile["istio"]["certificateAuthority"]["plugin"]
    assert plugin["keyVaultId"] == cloud.vault_id("mesh-group", "mesh-vault")
    assert "vault" in cluster.made_of("serviceMeshProfile")
    assert run.outputs["mesh"] == "enabled"
    assert converged.ledger["mesh"] is True


def test_the_next_up_asks_for_the_same(converged: Stack) -> None:
    """Once the mesh is enabled, an `up` sends the very same inputs for every resource but the
    record, whose input is ignored."""
    converged.up(GENERATED)
    third, fourth = converged.up(GENERATED), converged.up(GENERATED)
    before = {request.urn: (request.inputs, request.options) for request in third.requests}
    after = {request.urn: (request.inputs, request.options) for request in fourth.requests}
    assert after.keys() == before.keys()
    assert [urn for urn in after if after[urn] != before[urn]] == []


def test_the_mesh_can_be_turned_off(converged: Stack) -> None:
    """`cluster.mesh: false` sends Disabled, and the secrets stay as they are."""
    before = converged.up(GENERATED)
    run = converged.up(changed(GENERATED, cluster={"mesh": False}))
    assert run.one(cloud.CLUSTER, "cluster").inputs["serviceMeshProfile"] == {"mode": "Disabled"}
    assert run.outputs["mesh"] == "disabled"
    for name, secret in run.of(cloud.SECRET).items():
        assert secret.inputs == before.one(cloud.SECRET, name).inputs


def test_a_live_mesh_outlives_its_ledger(converged: Stack) -> None:
    """A stack whose ledger got lost does not turn its mesh off: the profile in the state stays."""
    converged.up(GENERATED)
    del converged.cloud.stacks[NAME]
    cluster = converged.up(GENERATED).one(cloud.CLUSTER, "cluster")
    assert "serviceMeshProfile" not in cluster.inputs
    assert "serviceMeshProfile" in cluster.options["ignoreChanges"]


# Protection

ALWAYS = {
    "group-mesh-group",
    "cluster",
    "vault",
    "secret-root-cert",
    "secret-cert-chain",
    "secret-ca-cert",
}
TRUSTED = {
    "steady a1": {"root-a", "root-a-key"},
    "distribute a1 b1": {"root-a", "root-a-key", "root-b", "root-b-key"},
    "switch a1 b1": {"root-a", "root-a-key", "root-b", "root-b-key"},
    "retire a1 b1": {"root-b", "root-b-key"},
    "steady b1": {"root-b", "root-b-key"},
}


@pytest.mark.parametrize("phase", TRUSTED)
def test_exactly_the_trusted_roots_are_protected(rotation: Mapping[str, Run], phase: str) -> None:
    """Beside groups, cluster, vault and secrets, a root is protected as long as it is trusted:
    `retire` gives the old one free, so that the configuration can drop it."""
    protected = {one.name for one in rotation[phase].requests if one.wire.protect}
    assert protected == ALWAYS | TRUSTED[phase]


def test_a_retired_root_can_leave_the_configuration(stack: Stack) -> None:
    """After `retire` the old root and its issuer go, and what stays is asked for as before."""
    stack.rotate(TWO_ROOTS, "steady a1", "distribute a1 b1", "switch a1 b1", "retire a1 b1")
    only_b = changed(TWO_ROOTS, roots={"b": {"generated": {}}}, issuers={"b1": {"root": "b"}})
    before = stack.up(stance(TWO_ROOTS, "steady b1"))
    after = stack.up(stance(only_b, "steady b1"))
    gone = {one.name for one in before.requests} - {one.name for one in after.requests}
    assert gone == {"root-a", "root-a-key", "issuer-a1", "issuer-a1-key", "issuer-a1-request"}
    for name, secret in after.of(cloud.SECRET).items():
        assert secret.inputs == before.one(cloud.SECRET, name).inputs


# Secretness

PRIVATE = re.compile(r"PRIVATE KEY")


def test_no_private_key_goes_over_the_wire_in_plain_text(
    rotation: Mapping[str, Run], directory: Path
) -> None:
    """Whatever a request carries of a private key, it carries as a secret: generated or given."""
    made = offline(directory, "a1")
    given = changed(
        OFFLINE,
        issuers={"a1": {"root": "a", "certificate": "a1.pem", "key": "secret"}},
        issuerKeys={"a1": made.key("a1")},
    )
    for run in (*rotation.values(), Stack().up(given)):
        # A Secret shows nothing of its value.
        assert not PRIVATE.search(repr([request.inputs for request in run.requests]))
        assert not PRIVATE.search(repr((run.outputs, run.said)))
        assert any(PRIVATE.search(str(json_format.MessageToDict(one.wire))) for one in run.requests)


def test_outputs_are_public(rotation: Mapping[str, Run]) -> None:
    """No output is secret: there is nothing in them to hide, and a reviewer reads them."""
    for run in rotation.values():
        assert "Secret(" not in repr(run.outputs)
        assert {*run.outputs} == {"mesh", "certificates", "csrs", "rotation"}


# Outputs


def test_certificates_are_told_with_fingerprint_and_end(first_up: Run) -> None:
    """The output `certificates` has every root and issuer by name."""
    found = first_up.outputs["certificates"]
    assert {name: sorted(one) for name, one in found.items()} == {
        name: ["name", "notAfter", "sha256"] for name in ("a", "a1")
    }


def test_a_first_preview_knows_nothing_and_refuses_nothing(stack: Stack) -> None:
    """Before anything exists all outputs are unknown, and the preview succeeds."""
    run = stack.preview(GENERATED)
    assert run.error is None
    assert run.outputs == {
        "mesh": UNKNOWN,
        "certificates": UNKNOWN,
        "rotation": UNKNOWN,
        "csrs": {},
    }


def test_a_pending_issuer_bootstraps(stack: Stack, directory: Path) -> None:
    """While no issuer is active, the stack builds everything but secrets and mesh, and hands out
    the request to sign."""
    made = offline(directory)
    run = stack.up(PENDING)
    assert run.outputs["csrs"]["a1"].startswith("-----BEGIN CERTIFICATE REQUEST-----")
    assert run.outputs["certificates"]["a"]["sha256"] == certificates.fingerprint(
        made.root.certificate
    )
    assert run.outputs["mesh"] == "pending: no issuer is active yet"
    assert "rotation" not in run.outputs
    assert run.of(cloud.SECRET) == {}
    assert "info: CA: no issuer is active yet; sign the requests in the output `csrs`." in run.said


# Refusals


def test_a_move_is_refused_before_anything_registers(converged: Stack) -> None:
    """An illegal move ends preview and `up` alike, with one line for each refusal, and not one
    resource was asked for."""
    said = converged.refused(stance(TWO_ROOTS, "steady b1"))
    assert [line.split(":")[0] for line in said.splitlines()] == [
        "signs-too-early",
        "retires-too-early",
        "chain-too-early",
        "drops-chain-too-early",
        "trust-jumps",
    ]


def test_mistakes_are_told_before_anything_registers(stack: Stack) -> None:
    """Every mistake of the configuration is told at once, a line for each."""
    config = changed(
        GENERATED, rotationPhase="swich", keyVault={"name": "mesh_vault"}, cluster={"revisions": []}
    )
    said = stack.refused(config).splitlines()
    assert [line.split(":")[1] for line in said] == [
        "cluster.revisions",
        "keyVault.name",
        "rotationPhase",
    ]


def test_a_file_that_is_missing_is_told_before_anything_registers(
    stack: Stack, directory: Path
) -> None:
    """A certificate that the configuration names and that is not there ends the program."""
    offline(directory, "a1")
    (directory / "a1.pem").unlink()
    assert "a1.pem does not exist" in stack.refused(OFFLINE)


@pytest.mark.parametrize(("gone", "name"), [("root-a", "a"), ("issuer-a1", "a1")])
def test_a_replaced_certificate_is_refused_while_resources_run(
    converged: Stack, gone: str, name: str
) -> None:
    """A certificate that became another one is known only once pulumi-tls answers. The refusal
    still is one line, without a traceback, and comes before the first secret, also before those
    that do not hold it."""
    del converged.cloud.made[gone]
    run = converged.attempt(GENERATED)
    assert isinstance(run.error, pulumi.RunError)
    said = str(run.error)
    assert said.startswith(
        f"replaced: the generated certificate of {name} is not the one the ledger recorded ["
    )
    assert "\n" not in said
    assert run.of(cloud.SECRET) == {}


def test_a_key_of_another_certificate_is_refused_before_the_first_secret(
    stack: Stack, directory: Path
) -> None:
    """A generated key that does not match the signed certificate ends the `up` in one line."""
    offline(directory, "a1")
    config = changed(OFFLINE, issuers={"a1": {"root": "a", "certificate": "a1.pem"}})
    run = stack.attempt(config)
    assert isinstance(run.error, pulumi.RunError)
    assert str(run.error).startswith("key-mismatch: ")
    assert "\n" not in str(run.error)
    assert run.of(cloud.SECRET) == {}


def test_a_certificate_that_cannot_be_read_is_refused_in_one_line(stack: Stack) -> None:
    """Whatever pulumi-tls answers, a certificate that cannot be read is told without a
    traceback."""
    stack.cloud.shows["issuer-a1"] = {"certPem": "nonsense"}
    run = stack.attempt(GENERATED)
    assert isinstance(run.error, pulumi.RunError)
    assert "\n" not in str(run.error)
    assert run.of(cloud.SECRET) == {}


def test_an_unrecorded_move_writes_no_secret(converged: Stack) -> None:
    """`--target` without the record: the state would not know what was attempted, so no secret is
    asked for, and the refusal says which target to add."""
    config = stance(TWO_ROOTS, "distribute a1 b1")
    run = converged.attempt(config, left_out=("rotation-attempt",))
    assert isinstance(run.error, pulumi.RunError)
    assert str(run.error).startswith(
        "not-recorded: the move to `distribute a1 b1` is not on record"
    )
    assert run.of(cloud.SECRET) == {}


def test_azure_errors_name_the_resource(stack: Stack) -> None:
    """An error of a provider reaches the user as the provider wrote it."""
    stack.cloud.fails["vault"] = "Code=VaultAlreadyExists"
    run = stack.attempt(GENERATED)
    assert "VaultAlreadyExists" in str(run.error)
