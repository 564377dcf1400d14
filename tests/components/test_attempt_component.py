"""AttemptRecord: an interrupted move is not forgotten, and no other one starts over it."""

from typing import Any

import pulumi
import pytest

from tests.components.recorder import STASH, HookError, Run
from tests.components.stacks import GENERATED, Stack, changed, stance

THREE_ISSUERS = changed(
    GENERATED,
    roots={"a": {"generated": {}}, "b": {"generated": {}}},
    issuers={"a1": {"root": "a"}, "a2": {"root": "a"}, "b1": {"root": "b"}},
)


@pytest.fixture(scope="module")
def after_the_fault() -> Stack:
    """A stack in steady a1 whose move to b1 failed at a secret."""
    stack = Stack()
    stack.up(THREE_ISSUERS)
    stack.cloud.fails["secret-cert-chain"] = "Code=Throttled"
    assert stack.attempt(stance(THREE_ISSUERS, "distribute a1 b1")).error is not None
    return stack


@pytest.fixture
def interrupted(after_the_fault: Stack) -> Stack:
    """The same, with the fault gone."""
    return after_the_fault.copy()


def stash(run: Run) -> Any:
    """The request for the Stash."""
    return run.one(STASH, "rotation-attempt")


def test_the_attempt_is_recorded(first_up: Run) -> None:
    """What is recorded is the posture to bring about, and the ledger that it starts from."""
    recorded = stash(first_up).inputs["input"]
    assert (recorded["base"], recorded["stance"]) == (0, "steady a1")
    assert recorded["posture"] == first_up.outputs["rotation"]["posture"]


def test_a_move_is_recorded(converged: Stack) -> None:
    """A plan that moves writes its attempt: nothing of it is ignored."""
    config = stance(THREE_ISSUERS, "distribute a1 a2")
    found = stash(converged.up(config))
    assert "ignoreChanges" not in found.options
    assert converged.stash == found.inputs["input"]
    assert converged.stash["stance"] == "distribute a1 a2"


def test_no_move_leaves_the_record_alone(converged: Stack) -> None:
    """While the posture is in force already, the state keeps what it has on record."""
    before = converged.stash
    found = stash(converged.up(GENERATED))
    assert found.options["ignoreChanges"] == ["input"]
    assert found.inputs["input"] != before
    assert converged.stash == before


def test_another_move_over_an_unfinished_one_is_refused(interrupted: Stack) -> None:
    """Preview and `up` refuse another move, by the hook of the record, and say both ways out."""
    other = stance(THREE_ISSUERS, "distribute a1 a2")
    for run in (interrupted.preview(other), interrupted.attempt(other)):
        assert isinstance(run.error, HookError)
        assert str(run.error) == (
            'before hook "rotation-attempt-unfinished" failed: move-unfinished: an interrupted '
            "`up` may have started `distribute a1 b1`, on the way from `steady a1`; "
            "`distribute a1 a2` cannot start over it. Set the configuration to `distribute a1 b1` "
            "and run `pulumi up` to finish it, or to `steady a1` to take it back; then make this "
            "move."
        )


def test_no_secret_is_asked_for_over_an_unfinished_move(interrupted: Stack) -> None:
    """The refusal comes before the first secret."""
    run = interrupted.attempt(stance(THREE_ISSUERS, "distribute a1 a2"))
    assert run.of("azure-native:keyvault:Secret") == {}


def test_an_unfinished_move_can_be_finished(interrupted: Stack) -> None:
    """The same move again is admitted and completes."""
    interrupted.up(stance(THREE_ISSUERS, "distribute a1 b1"))
    assert interrupted.ledger["stance"] == "distribute a1 b1"


def test_an_unfinished_move_can_be_taken_back(interrupted: Stack) -> None:
    """Back to the posture of the ledger: admitted, and what was attempted counts from then on."""
    interrupted.up(THREE_ISSUERS)
    assert interrupted.ledger["stance"] == "steady a1"
    [entry] = interrupted.ledger["window"]
    assert len(entry["posture"]["trust"]) == 2


def test_after_taking_back_every_move_is_free(interrupted: Stack) -> None:
    """A move that was taken back stands in nobody's way, although the state still has it."""
    interrupted.up(THREE_ISSUERS)
    interrupted.up(stance(THREE_ISSUERS, "distribute a1 a2"))
    assert interrupted.ledger["stance"] == "distribute a1 a2"


def test_before_the_first_ledger_nothing_is_unfinished(stack: Stack) -> None:
    """No mesh reads the secrets before the first completed `up`: another start is admitted."""
    stack.cloud.fails["secret-ca-cert"] = "Code=Throttled"
    assert stack.attempt(THREE_ISSUERS).error is not None
    stack.cloud.fails.clear()
    stack.up(stance(THREE_ISSUERS, "steady b1"))
    assert stack.ledger["stance"] == "steady b1"


def test_the_hook_runs_in_previews(first_up: Run) -> None:
    """The hook is bound to updates of the record, and the engine is told to run it in previews."""
    [name] = stash(first_up).options["hooks"]["beforeUpdate"]
    hook = first_up.hooks[name]
    assert stash(first_up).options["hooks"] == {"beforeUpdate": [name]}
    assert hook.on_dry_run
    assert not hook.ignore_errors


def test_an_unreadable_record_is_refused(converged: Stack) -> None:
    """A record that this program did not write stops it, in one line and without a traceback."""
    converged.stash = {"base": "x"}
    run = converged.preview(GENERATED)
    assert isinstance(run.error, pulumi.RunError)
    assert str(run.error).startswith("ledger-unreadable: the recorded attempt is not a ledger")
    assert "\n" not in str(run.error)
