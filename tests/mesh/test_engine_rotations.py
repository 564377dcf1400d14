"""Whole rotations by `pulumi up`: the real engine, istiod, agents and Envoys, under traffic.

Two istiods poll at different times, and trust is not pushed (PROXY_CONFIG_XDS_AGENT is off, as on
AKS): a proxy learns of new trust only when it renews its leaf. Every test leaves the stack at rest
with another issuer than it found, and takes it from whichever it finds.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator

import pytest

from lab.azure import faults
from lab.mesh.traffic import Phase
from tests.mesh import engine_stage
from tests.mesh.engine_stage import LEAF_TTL, POLL, EngineStage, foreign, sibling

pytestmark = pytest.mark.mesh

HANDSHAKES = 10_000
"""At least so many over the root rotation."""


@pytest.fixture(scope="module")
def running(tally: list[Phase]) -> Iterator[EngineStage]:
    """Return a stack in a steady phase, and its mesh under traffic."""
    with engine_stage.stage() as made:
        yield made
        tally += made.mesh.traffic.finished


@pytest.fixture
def stage(running: EngineStage) -> EngineStage:
    """Return the same, at rest whatever the test before has left."""
    running.finish()
    return running


def story(phases: list[Phase]) -> str:
    """What was counted, phase by phase."""
    return "\n".join(map(str, phases))


def test_an_intermediate_rotation_loses_no_handshake(stage: EngineStage) -> None:
    """Under one root, with a poll between the phases instead of a leaf lifetime: 0 fail."""
    old = stage.signer
    new = sibling(old)
    phases = stage.rotate(old, new)
    stage.assert_rests_on(new)
    assert [each.failed for each in phases] == [0, 0, 0, 0], story(phases)


def test_a_root_rotation_loses_no_handshake(stage: EngineStage) -> None:
    """Four config changes and four `pulumi up`s: of 10,000 handshakes between all pods 0 fail."""
    old = stage.signer
    new = foreign(old)
    phases = stage.rotate(old, new, handshakes=HANDSHAKES // 3 + 1)
    stage.assert_rests_on(new)
    assert sum(each.handshakes for each in phases) >= HANDSHAKES
    assert all(len(each.called) == 12 for each in phases), "every pod calls every other"
    assert [each.failed for each in phases] == [0, 0, 0, 0], story(phases)


def test_an_engine_killed_after_each_write_loses_no_handshake(stage: EngineStage) -> None:
    """`pulumi up` dies after either write of each move; the third `up` completes the move.

    Until it does, the vault is torn for longer than proxies take to renew.
    """
    old = stage.signer
    new = foreign(old)
    phases = []
    for move in (f"distribute {old} {new}", f"switch {old} {new}", f"retire {old} {new}"):
        stage.stack.want(move)
        with stage.mesh.phase(f"{move}, engine killed after each write") as counted:
            for write in (1, 2):
                stage.kill_after_write(write)
                stage.mesh.poll()
            stage.stack.done()
            stage.stack.wait_for_next_move()
        assert stage.stack.ledger()["stance"] == move
        phases.append(counted)
    stage.move(f"steady {new}")
    stage.assert_rests_on(new)
    assert [each.failed for each in phases] == [0, 0, 0], story(phases)


class _Rotation(ABC):
    """A root rotation in one go; several tests look at the phases that it has counted, by name."""

    def __init__(self, stage: EngineStage) -> None:
        self.stage = stage
        self.mesh = stage.mesh
        self.phases: dict[str, Phase] = {}

    def counted(self) -> dict[str, Phase]:
        """Run it from a stack at rest, whatever the test before has left; return the phases."""
        self.stage.finish()
        old = self.stage.signer
        self.run(old, foreign(old))
        return self.phases

    @abstractmethod
    def run(self, old: str, new: str) -> None:
        """Move between an issuer and one under another root; end at rest."""


def assert_none_failed(counted: Phase) -> None:
    """Assert that there was traffic, and that all of it came through."""
    assert counted.handshakes > 0
    assert counted.failed == 0, str(counted)


@pytest.fixture(scope="module")
def taken_back(running: EngineStage) -> dict[str, Phase]:
    """Go to the switch and back to steady, each move polled between its two writes."""
    return _TakenBack(running).counted()


class _TakenBack(_Rotation):
    """A root rotation up to the switch and back; counted by what is current."""

    def run(self, old: str, new: str) -> None:
        stage = self.stage
        stage.stack.want(f"distribute {old} {new}")
        self.polled("distribute", old)
        stage.stack.wait_for_next_move()
        stage.stack.want(f"switch {old} {new}")
        self.polled("switch", old, with_a_late_istiod=True)
        stage.stack.want(f"distribute {old} {new}")
        self.polled("back to distribute", new)
        stage.stack.wait_for_window()
        stage.stack.want(f"steady {old}")
        self.polled("back to steady", old)
        stage.assert_rests_on(old)

    def polled(self, name: str, signer: str, *, with_a_late_istiod: bool = False) -> None:
        """Run `pulumi up` for the move that is configured, held between its writes.

        `signer` signs until both are made.
        """
        with self.mesh.phase(f"{name}, polled between its writes") as self.phases[f"{name}, torn"]:
            with self.stage.paused_after_write(1):
                self.stage.poll_and_renew()
                assert self.stage.signs(signer)
                if with_a_late_istiod:
                    held = faults.pause(self.stage.state, "secrets/get", after=False)
                    assert faults.wait_until_struck(self.stage.state, held)
            if with_a_late_istiod:
                self.sign_with_two()
                faults.release(self.stage.state, held)
        with self.mesh.phase(f"{name}, whole") as self.phases[f"{name}, whole"]:
            self.stage.poll_and_renew()

    def sign_with_two(self) -> None:
        """One istiod has read the new signer, and the other is a poll late."""
        with self.mesh.phase("two istiods, two signers") as self.phases["two signers"]:
            self.mesh.wait_for(lambda: len(set(self.mesh.signers())) == 2, "two signers")
            self.mesh.let_pass(POLL)


MOVES_AND_BACK = ("distribute", "switch", "back to distribute", "back to steady")


@pytest.mark.parametrize("poll", ["torn", "whole"])
@pytest.mark.parametrize("move", MOVES_AND_BACK)
def test_a_poll_between_any_two_writes_loses_no_handshake(
    move: str, poll: str, taken_back: dict[str, Phase]
) -> None:
    """To the switch and back: whether istiods read one write of a move or both, 0 fail."""
    assert_none_failed(taken_back[f"{move}, {poll}"])


def test_two_istiods_that_sign_with_different_issuers_lose_no_handshake(
    taken_back: dict[str, Phase],
) -> None:
    """They poll at different times; while one has the new signer and the other has not, 0 fail."""
    assert_none_failed(taken_back["two signers"])


@pytest.fixture(scope="module")
def troubled(running: EngineStage) -> dict[str, Phase]:
    """Make a root rotation that meets every trouble a cluster may have; counted by trouble."""
    return _Troubled(running).counted()


class _Troubled(_Rotation):
    """A root rotation in which something goes wrong in each phase, and is seen to."""

    def run(self, old: str, new: str) -> None:
        stage = self.stage
        self.restart("steady")
        self.lose_access()

        stage.stack.want(f"distribute {old} {new}")
        self.throttle(429)
        self.restart("distribute")
        stage.stack.wait_for_next_move()

        stage.stack.want(f"switch {old} {new}")
        self.restart_inside_the_switch(new)
        self.restart("switch")
        stage.stack.wait_for_next_move()

        stage.stack.want(f"retire {old} {new}")
        self.throttle(503)
        self.restart("retire")
        stage.stack.wait_for_next_move()
        stage.move(f"steady {new}")
        stage.assert_rests_on(new)

    def restart(self, phase: str) -> None:
        """Every istiod at once."""
        with self.mesh.phase(f"istiod restarted in {phase}") as counted:
            self.stage.restart_istiods()
        self.phases[f"restarted in {phase}"] = counted

    def lose_access(self) -> None:
        with self.mesh.phase("access revoked and restored") as counted:
            self.stage.revoke()
            assert all("403" in (each.error or "") for each in self.mesh.poll())
            self.mesh.let_pass(LEAF_TTL)
            self.stage.grant()
            assert [each.error for each in self.mesh.poll()] == [None, None]
        self.phases["access revoked"] = counted

    def throttle(self, status: int) -> None:
        """A move whose new secrets cannot be read at first: a round of each istiod fails."""
        with self.mesh.phase(f"Key Vault answers {status}") as counted:
            with self.stage.paused_after_write(1):
                # A failed get ends its round, so that each of these costs one.
                fault = faults.throttle(self.stage.state, status=status, first=3, times=2)
            self.mesh.wait_for(lambda: self.stage.calls(fault) >= 4, "two failed rounds")
            self.stage.poll_and_renew()
        self.phases[f"{status}"] = counted

    def restart_inside_the_switch(self, new: str) -> None:
        """Between ca-key and ca-cert no istiod can start; the write and the next poll heal it."""
        with self.mesh.phase("istiod restarted inside the switch") as counted:
            with self.stage.paused_after_write(1):
                self.mesh.restart_istiod()
                self.mesh.wait_for(
                    lambda: any(each.restarts > 0 for each in self.mesh.istiods), "a failed start"
                )
                assert not any(each.ready for each in self.mesh.istiods)
            self.mesh.wait_for(lambda: self.stage.signs(new), f"istiods that sign with {new}")
            self.mesh.wait_until_ready()
        self.phases["restarted inside the switch"] = counted


@pytest.mark.parametrize("phase", ["steady", "distribute", "switch", "retire"])
def test_restarted_istiods_lose_no_handshake(phase: str, troubled: dict[str, Phase]) -> None:
    """Whichever phase the stack is in, all istiods may restart at once: 0 fail."""
    assert_none_failed(troubled[f"restarted in {phase}"])


def test_istiods_restarted_inside_the_switch_lose_no_handshake(troubled: dict[str, Phase]) -> None:
    """No istiod can start until the second write has been polled; no proxy notices."""
    assert_none_failed(troubled["restarted inside the switch"])


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_vault_in_a_move_loses_no_handshake(status: int, troubled: dict[str, Phase]) -> None:
    """Rounds of polls fail between the writes, no longer than the slack: 0 fail."""
    assert_none_failed(troubled[str(status)])


def test_access_revoked_and_restored_loses_no_handshake(troubled: dict[str, Phase]) -> None:
    """For a whole leaf lifetime no istiod can read the vault: it signs with what it has, 0 fail."""
    assert_none_failed(troubled["access revoked"])
