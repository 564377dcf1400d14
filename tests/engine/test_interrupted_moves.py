"""An `up` that fails, is killed or is targeted: the ledger never says more than what is done."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from lab.azure import faults, ids
from meshca import certificates
from meshca.refusals import iso
from tests.engine import stacks
from tests.engine.conftest import Converged, Step
from tests.engine.workspace import Run, Workspace
from tests.material import Authority

SWITCH = "switch a1 b1"
DISTRIBUTE = "distribute a1 b1"
SECRETS = "urn:pulumi:test::aks-istio-ca::aks-istio-ca:index:BundleSecrets::secrets"


def fail(stack: Workspace, write: int) -> Run:
    """An `up` in which Key Vault answers 500 to one of the writes of secrets, counted from 1."""
    faults.error(stack.state, "secrets/write", "InternalServerError", "Injected.", first=write)
    ended = stack.up()
    faults.clear(stack.state)
    assert ended.code != 0
    assert "Injected." in ended.output
    return ended


def kill(stack: Workspace, write: int) -> None:
    """An `up` whose engine dies after Azure took a write of a secret, before that is recorded.

    Then `pulumi cancel`, as the next command asks for.
    """
    fault = faults.pause(stack.state, "secrets/write", first=write)
    with stack.up_in_background():
        assert faults.wait_until_struck(stack.state, fault)
    faults.clear(stack.state)
    locked = stack.up()
    assert locked.code != 0
    assert "delete the lock file with `pulumi cancel`" in locked.output
    stack.run("cancel", "--yes")


def assert_whole(stack: Workspace, issuer: str, authorities: dict[str, Authority]) -> None:
    """In the vault itself, ca-cert and ca-key belong together and are those of `issuer`."""
    held = {name: stack.secret(name)["value"] for name in ("ca-cert", "ca-key")}
    certificate = certificates.parse_certificate(held["ca-cert"], where="ca-cert")
    assert certificate == authorities[issuer].certificate
    assert certificates.same_key(certificate, certificates.parse_key(held["ca-key"], where="key"))


@pytest.mark.parametrize("write", [1, 2])
@pytest.mark.parametrize("stance", [DISTRIBUTE, SWITCH, "retire a1 b1"])
def test_a_failed_up_leaves_the_ledger_and_the_next_one_finishes(
    stance: str, write: int, root_rotation: dict[str, Step], tmp_path: Path
) -> None:
    """Whichever of its writes fails; the move is then repeated as if it had not been tried."""
    step = root_rotation[stance]
    stack = step.before.copy(tmp_path / "stack")
    before = stack.ledger()
    stack.want(stance)
    fail(stack, write)
    assert stack.ledger() == before
    with stack.writes() as writes:
        stack.done()
    assert tuple(writes) == step.writes
    after = stack.ledger()
    assert (after["stance"], after["state"]) == (stance, "complete")


def test_a_first_up_that_fails_is_finished_by_the_next(
    authorities: dict[str, Authority], tmp_path: Path
) -> None:
    """Without all four secrets there is no ledger, and without a ledger no mesh."""
    stack = Workspace(tmp_path / "stack")
    stacks.write_certificates(authorities, stack.directory)
    stack.configure(stacks.offline(activeIssuer="a1"))
    stacks.set_keys(stack, authorities)
    fail(stack, write=3)
    assert "rotation" not in stack.outputs()
    for mesh in ("pending: run `pulumi up` again to enable it", "enabled"):
        stack.done()
        assert stack.outputs()["mesh"] == mesh


@pytest.mark.parametrize("write", [1, 2])
def test_a_killed_switch_is_finished_by_the_next_up(
    write: int,
    root_rotation: dict[str, Step],
    authorities: dict[str, Authority],
    tmp_path: Path,
) -> None:
    """After `pulumi cancel`; the ledger was left at the distribution until then."""
    stack = root_rotation[DISTRIBUTE].after.copy(tmp_path / "stack")
    stack.wait_for_next_move()
    stack.want(SWITCH)
    kill(stack, write)
    assert stack.ledger()["stance"] == DISTRIBUTE
    stack.done()
    assert stack.ledger()["stance"] == SWITCH
    assert_whole(stack, "b1", authorities)


def test_a_killed_switch_can_be_taken_back(
    root_rotation: dict[str, Step], authorities: dict[str, Authority], tmp_path: Path
) -> None:
    """Also what Azure took and the state does not know of is written back: the vault is whole."""
    stack = root_rotation[DISTRIBUTE].after.copy(tmp_path / "stack")
    stack.wait_for_next_move()
    stack.want(SWITCH)
    kill(stack, write=1)
    held = certificates.parse_key(stack.secret("ca-key")["value"], where="ca-key")
    assert certificates.same_key(authorities["b1"].certificate, held)
    stack.want(DISTRIBUTE)
    stack.done()
    assert_whole(stack, "a1", authorities)


def test_a_kill_while_the_first_secrets_are_made_needs_an_import(
    authorities: dict[str, Authority], tmp_path: Path
) -> None:
    """Azure has a secret that the state has not: `pulumi import` adopts it, `pulumi up` goes on."""
    stack = Workspace(tmp_path / "stack")
    stacks.write_certificates(authorities, stack.directory)
    stack.configure(stacks.offline())
    stacks.set_keys(stack, authorities)
    kill(stack, write=2)
    secret = ids.secret("mesh-group", "mesh-vault", "ca-key")
    refused = stack.up()
    assert refused.code != 0
    assert f"cannot create already existing resource '{secret}'" in refused.output
    stack.run(
        "import", "azure-native:keyvault:Secret", "secret-ca-key", secret,
        "--parent", f"secrets={SECRETS}", "--protect=false", "--generate-code=false",
        "--yes", "--skip-preview",
    )  # fmt: skip
    for _ in range(2):
        stack.done()
    assert stack.outputs()["mesh"] == "enabled"
    assert_whole(stack, "a1", authorities)


def test_after_an_interrupted_switch_only_finishing_and_taking_back_are_allowed(
    root_rotation: dict[str, Step], tmp_path: Path
) -> None:
    """The vault may hold either posture, so that another move could not be judged."""
    stack = root_rotation[DISTRIBUTE].after.copy(tmp_path / "stack")
    stack.wait_for_next_move()
    stack.want(SWITCH)
    fail(stack, write=2)
    admitted = {}
    for stance in (SWITCH, DISTRIBUTE, "steady a1"):
        stack.want(stance)
        shown = stack.preview()
        admitted[stance] = shown.code == 0
    assert admitted == {SWITCH: True, DISTRIBUTE: True, "steady a1": False}
    assert (
        "move-unfinished: an interrupted `up` may have started `switch a1 b1`, on the way from "
        "`distribute a1 b1`; `steady a1` cannot start over it. Set the configuration to "
        "`switch a1 b1` and run `pulumi up` to finish it, or to `distribute a1 b1` to take it "
        "back; then make this move."
    ) in shown.output


def test_what_was_taken_back_counts_until_its_window_has_passed(
    root_rotation: dict[str, Step], authorities: dict[str, Authority], tmp_path: Path
) -> None:
    """Leaves of the new issuer may be out, so its root stays trusted until none can be alive."""
    stack = root_rotation[DISTRIBUTE].after.copy(tmp_path / "stack")
    stack.wait_for_next_move()
    stack.want(SWITCH)
    fail(stack, write=2)
    stack.want(DISTRIBUTE)
    stack.done()
    last = stack.ledger()["window"][-1]
    assert last["posture"]["signer"]["identity"].endswith(stacks.fingerprint(authorities["b1"]))

    stack.want("steady a1", **stacks.LONG)
    refused = stack.preview()
    assert refused.code != 0
    assert [line.partition(":")[0] for line in refused.errors] == [
        "retires-too-early",
        "drops-chain-too-early",
    ]
    end = datetime.fromisoformat(last["until"]) + timedelta(hours=24, minutes=5, seconds=1)
    assert f"Wait until {iso(end)}: " in refused.errors[0]

    stack.want("steady a1", **stacks.SHORT)
    stack.wait_for_window()
    stack.done()
    assert stack.ledger()["stance"] == "steady a1"


def test_a_targeted_up_is_refused_without_a_record_of_the_move(
    root_rotation: dict[str, Step], tmp_path: Path
) -> None:
    """Nothing is written, and the line says how to go on."""
    stack = root_rotation[DISTRIBUTE].before.copy(tmp_path / "stack")
    before = stack.ledger()
    stack.want(DISTRIBUTE)
    with stack.writes() as writes:
        ended = stack.up("--target", "**secret-root-cert")
    assert ended.code != 0
    assert ended.errors == [
        "not-recorded: the move to `distribute a1 b1` is not on record, so no secret may be "
        "written. Run `pulumi up` without `--target`, or add the target "
        "`--target '**pulumi:index:Stash::rotation-attempt'`."
    ]
    assert writes == []
    assert stack.ledger() == before


def test_a_targeted_up_says_mixed_and_never_done(
    root_rotation: dict[str, Step], tmp_path: Path
) -> None:
    """The ledger keeps its posture until an `up` without targets has finished the move."""
    stack = root_rotation[DISTRIBUTE].before.copy(tmp_path / "stack")
    stack.want(DISTRIBUTE)
    stack.done(
        "--target", "**secret-root-cert", "--target", "**pulumi:index:Stash::rotation-attempt"
    )
    ledger = stack.ledger()
    assert (ledger["stance"], ledger["state"], ledger["mixed"]) == (
        "steady a1",
        "mixed",
        DISTRIBUTE,
    )
    stack.done()
    ledger = stack.ledger()
    assert (ledger["stance"], ledger["state"]) == (DISTRIBUTE, "complete")


def test_a_stack_without_its_ledger_starts_only_in_a_steady_phase(
    rotating: Workspace, offline: Converged
) -> None:
    """As after an import of state without outputs; the first `up` then writes the ledger."""
    rotating.import_without_outputs()
    rotating.want(DISTRIBUTE)
    refused = rotating.preview()
    assert refused.code != 0
    assert refused.errors == [
        "ledger-missing: nothing is known of what this mesh trusts and uses, so "
        "`distribute a1 b1` cannot be judged. Start with `rotationPhase: steady` and the issuer "
        "that signs today, unless a rotation is under way: then go on with the phase that is in "
        "force, by `override` (move `unknown -> distribute a1 b1`)."
    ]
    rotating.want("steady a1")
    rotating.done()
    assert rotating.ledger()["posture"] == offline.stack.ledger()["posture"]


def test_an_override_starts_a_stack_without_its_ledger_in_another_phase(
    rotating: Workspace,
) -> None:
    """The operator vouches for what nothing is on record of."""
    rotating.import_without_outputs()
    override = {"move": f"unknown -> {DISTRIBUTE}", "reason": "the state was restored by hand"}
    rotating.want(DISTRIBUTE, override=override)
    rotating.done()
    assert rotating.ledger()["stance"] == DISTRIBUTE
    assert rotating.ledger()["override"] == override
    assert len(rotating.ledger()["window"]) == 3
