"""The dev stack as it is committed: two `pulumi up`s, and then nothing more to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.engine.conftest import Converged
from tests.engine.workspace import Workspace

PENDING = "pending: run `pulumi up` again to enable it"


@pytest.fixture(scope="module")
def stack(dev: Converged, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A converged dev stack for tests that leave it as it is."""
    return dev.stack.copy(tmp_path_factory.mktemp("unchanged") / "stack")


def test_the_first_up_says_that_the_mesh_is_pending(dev: Converged) -> None:
    """The output `mesh` and the console both say so, and that another `pulumi up` is due."""
    assert dev.outputs_between["mesh"] == PENDING
    assert f"Mesh {PENDING}." in dev.first.said


def test_the_first_up_grants_access_without_enabling_the_mesh(dev: Converged) -> None:
    """The mesh profile is written last, in the second `pulumi up`, after access and secrets."""
    assert dev.writes[-1] == "managedClusters/write"
    assert dev.writes.count("managedClusters/write") == 2
    assert "accessPolicies/write" in dev.writes[:-1]
    assert [one for one in dev.writes if one.startswith("secrets/")] == [
        "secrets/root-cert",
        "secrets/ca-key",
        "secrets/cert-chain",
        "secrets/ca-cert",
    ]


def test_the_second_up_enables_the_mesh_in_place(dev: Converged) -> None:
    """It changes the mesh profile of the cluster and nothing else."""
    assert dev.stack.outputs()["mesh"] == "enabled"
    changes = [line for line in dev.second.output.splitlines() if " updated (" in line]
    assert [line.split()[1:3] for line in changes] == [
        ["azure-native:containerservice:ManagedCluster", "cluster"]
    ]
    assert "[diff: +serviceMeshProfile]" in changes[0]


def test_a_third_up_changes_nothing(stack: Workspace) -> None:
    """No resource is updated, nothing is written to Azure, and the outputs stay as they are."""
    before = stack.outputs()
    with stack.writes() as writes:
        third = stack.done()
    assert writes == []
    assert "Resources:\n    21 unchanged\n" in third.output
    assert stack.outputs() == before


def test_a_preview_of_the_converged_stack_shows_no_change(stack: Workspace) -> None:
    """`pulumi preview` counts every resource as unchanged, and no output as changed."""
    shown = stack.preview()
    assert shown.code == 0
    assert "Resources:\n    21 unchanged\n" in shown.output
    assert "Outputs:" not in shown.output


def test_a_refresh_finds_no_drift(stack: Workspace) -> None:
    """What Azure shows is what the state holds; the next preview shows no change either."""
    refreshed = stack.run("refresh", "--yes", "--skip-preview")
    assert "updated" not in refreshed
    assert "Resources:\n    22 unchanged\n" in refreshed
    assert "Resources:\n    21 unchanged\n" in stack.preview().output


def test_outputs_say_where_the_mesh_stands(dev: Converged) -> None:
    """`pulumi stack output` gives mesh, certificates, requests and ledger, whole and by name."""
    outputs = dev.stack.outputs()
    assert outputs.keys() == {"mesh", "certificates", "csrs", "rotation"}
    assert outputs["certificates"].keys() == {"a", "a1"}
    assert outputs["csrs"] == {}
    one = json.loads(dev.stack.run("stack", "output", "--json", "rotation"))
    assert one == outputs["rotation"]
    assert (one["stance"], one["state"], one["mesh"]) == ("steady a1", "complete", True)


def test_a_policy_pack_judges_the_stack(stack: Workspace, tmp_path: Path) -> None:
    """`pulumi preview --policy-pack` runs a pack over the program, and its verdict counts."""
    (tmp_path / "PulumiPolicy.yaml").write_text("runtime: python\n")
    (tmp_path / "__main__.py").write_text(PACK)
    shown = stack.preview("--policy-pack", str(tmp_path))
    assert shown.code != 0
    verdict = shown.output.partition("Policies:")[2].partition("Diagnostics:")[0]
    assert "- [mandatory]  no-vault  (azure-native:keyvault:Vault: vault)" in verdict
    assert "there is the vault mesh-dev-ca" in verdict
    assert verdict.count("[mandatory]") == 1


PACK = """
from pulumi_policy import EnforcementLevel, PolicyPack, ResourceValidationPolicy


def vault(args, report_violation):
    if args.resource_type == "azure-native:keyvault:Vault":
        report_violation(f"there is the vault {args.props['vaultName']}")


PolicyPack(
    name="lab-vaults",
    enforcement_level=EnforcementLevel.MANDATORY,
    policies=[ResourceValidationPolicy(name="no-vault", description="None.", validate=vault)],
)
"""
