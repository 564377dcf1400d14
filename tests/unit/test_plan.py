"""The guard over what a model of moves does not know: ends, clocks, lost ledgers, external keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from meshca import words
from meshca.ledger import Ledger, Record, Restarts, advance
from meshca.ledger_reading import parse, peer_window
from meshca.material import Material
from meshca.plan import Plan, plan
from meshca.refusals import CertificateRef, Refusal, Refused, iso
from meshca.rotation import Held, Identity, Intermediate, Pace, Posture
from meshca.settings import load
from tests.material import DAY, NOW, YEAR, authority

HOUR = timedelta(hours=1)
RENEWAL = timedelta(hours=24, minutes=7)
"""W with the default leaf lifetime, poll interval and slack."""

A, B = authority("CN=A"), authority("CN=B")


class Stack:
    """A stack that goes from one configuration to the next; every `up` completes."""

    def __init__(self, **ends: datetime) -> None:
        """`ends` tells when issuers end that do not live for a year."""
        self.ledger: Ledger | None = None
        self.now = NOW
        self.settings: dict[str, Any] = {}
        self.issuers: dict[str, dict[str, Any]] = {
            name: {"root": name[0], "certificate": f"{name}.pem"} for name in ("a1", "a2", "b1")
        }
        self.certificates = {
            name: authority(
                f"CN={name}", under=A if name[0] == "a" else B, end=ends.get(name, NOW + YEAR)
            ).certificate
            for name in self.issuers
        }

    def plan(self, stance: str, *, beside: Sequence[Held] = (), **changes: Any) -> Plan:
        """What the guard makes of a stance. Raises Refused."""
        phase, active, *following = stance.split()
        config: Mapping[str, Any] = {
            "rotationPhase": phase,
            "activeIssuer": active,
            **({"nextIssuer": following[0]} if following else {}),
            "roots": {"a": {"certificate": "a.pem"}, "b": {"certificate": "b.pem"}},
            "issuers": self.issuers,
            "cluster": {"name": "mesh", "resourceGroup": "group", "revisions": ["asm-1-30"]},
            "keyVault": {"name": "vault", "accessModel": "rbac"},
            **self.settings,
            **changes,
        }
        wanted = load({f"aks-istio-ca:{key}": value for key, value in config.items()})
        roots = {"a": A.certificate, "b": B.certificate}
        made = {
            name: self.certificates[name]
            for name, issuer in self.issuers.items()
            if "certificate" in issuer
        }
        offline = {name: roots[name] for name, root in wanted.roots.items() if root.certificate}
        files = Material(offline, made, {})
        found = plan(wanted, files, ledger=self.ledger, peers=beside, now=self.now)
        assert found is not None
        return found

    def refused(self, stance: str, **changes: Any) -> list[Refusal]:
        """Why the guard refuses it; nothing when it does not."""
        try:
            self.plan(stance, **changes)
        except Refused as refused:
            return list(refused.refusals)
        return []

    def up(self, *stances: str, **changes: Any) -> None:
        """Moves, W after another."""
        for stance in stances:
            admitted = self.plan(stance, **changes)
            self.ledger = advance(
                self.ledger,
                now=self.now,
                stance=admitted.stance,
                posture=admitted.posture,
                pace=admitted.pace,
                records={
                    identity: Record(member.reference, member.root)
                    for identity, member in admitted.members.items()
                },
                access=None,
                mesh=True,
                override=admitted.override,
                uncertain=admitted.uncertain,
                external=admitted.external,
                key_written=admitted.key_written,
            )
            self.now += RENEWAL


def ids(refusals: list[Refusal]) -> list[str]:
    """The refusals by their ids."""
    return [refusal.id for refusal in refusals]


# What is about to end


def test_a_rotation_away_from_an_issuer_that_is_about_to_end_goes_through() -> None:
    """Less than a leaf's life left: it signs no longer, so nothing is asked of it."""
    stack = Stack(a1=NOW + 10 * DAY)
    stack.up("steady a1")
    stack.now = NOW + 10 * DAY - 47 * HOUR
    stack.up("distribute a1 b1")
    assert stack.refused("switch a1 b1") == []


def test_distributing_beside_a_signer_that_is_about_to_end_is_the_way_out() -> None:
    """The signer stays what it was, and whatever follows it has to be distributed first."""
    stack = Stack(a1=NOW + 10 * DAY)
    stack.up("steady a1")
    stack.now = NOW + 10 * DAY - HOUR
    assert stack.refused("distribute a1 a2") == []


def test_a_signer_that_comes_in_must_outlive_its_leaves() -> None:
    """Also where an override lifts `will-expire`."""
    stack = Stack(a2=NOW + RENEWAL + 20 * HOUR)
    stack.up("steady a1")
    override = {"move": "steady a1 -> steady a2", "reason": "the key was stolen"}
    assert ids(stack.refused("steady a2", override=override)) == ["ends-too-soon"]


def test_going_back_to_an_old_signer_is_legal_while_it_lives() -> None:
    """The leaves under it are short, but it is the one to go back to in an incident."""
    stack = Stack(a1=NOW + 3 * DAY)
    stack.settings = {"leafTtl": "12h"}
    stack.up("steady a1", "distribute a1 b1", "switch a1 b1")
    stack.now = NOW + 3 * DAY - 6 * HOUR
    assert stack.refused("distribute a1 b1") == []


@pytest.mark.parametrize(("left", "expected"), [(RENEWAL, []), (timedelta(0), ["will-expire"])])
def test_what_is_distributed_is_judged_for_when_it_may_sign(
    left: timedelta, expected: list[str]
) -> None:
    """Six leaf lifetimes from then, or the switch would be refused when its time has come."""
    stack = Stack(b1=NOW + RENEWAL + 6 * DAY + left + HOUR)
    stack.up("steady a1")
    assert ids(stack.refused("distribute a1 b1")) == expected
    if not expected:
        stack.up("distribute a1 b1")
        assert stack.refused("switch a1 b1") == []


def test_what_was_generated_long_ago_is_judged_by_its_real_end() -> None:
    """The ledger knows it; the configuration only says how long it was made for."""
    stack = Stack()
    stack.settings = {"roots": {"a": {"generated": {}}}}
    stack.issuers = {name: {"root": "a"} for name in ("a1", "a2")}
    stack.up("steady a1")
    assert stack.ledger is not None
    aged = {
        identity: replace(
            record, certificate=CertificateRef(record.certificate.name, "ab" * 32, stack.now + DAY)
        )
        for identity, record in stack.ledger.records.items()
    }
    stack.ledger = replace(stack.ledger, records=aged)
    [refusal] = stack.refused("distribute a1 a2")
    assert (refusal.id, str(refusal.certificates[0])) == (
        "will-expire",
        f"a2 (sha256 abababababababab, not after {iso(stack.now + DAY)})",
    )


# What is what


def test_a_default_that_is_spelled_out_makes_no_other_certificate() -> None:
    """Of a generated root, and of a generated issuer."""
    stack = Stack()
    stack.settings = {"roots": {"a": {"generated": {}}}}
    stack.issuers = {"a1": {"root": "a"}}
    stack.up("steady a1")
    stack.settings = {
        "roots": {"a": {"generated": {"algorithm": "ECDSA-P384", "commonName": "a root CA"}}}
    }
    stack.issuers = {"a1": {"root": "a", "algorithm": "ECDSA-P256", "commonName": "a1 mesh CA"}}
    assert not stack.plan("steady a1").moves


def test_one_certificate_under_two_names_is_refused() -> None:
    """Before the ledger would know only one of them."""
    stack = Stack()
    stack.up("steady a1")
    stack.certificates["a2"] = stack.certificates["a1"]
    [refusal] = stack.refused("steady a1")
    assert str(refusal).startswith("same-certificate: a1 and a2 are the same certificate [a1 (")


def test_what_only_a_peer_knows_is_named_as_such() -> None:
    """It is not "not generated yet", and the stack that has it is in the advice."""
    root: Identity = f"sha256:{'cd' * 32}"
    signer = Intermediate(f"sha256:{'ef' * 32}", root)
    pace = Pace(timedelta(hours=24), timedelta(minutes=2), timedelta(minutes=5))
    peer = Held(Posture((root,), signer, (signer.identity,)), pace, None, "org/p/west")
    found = Stack().refused("steady a1", beside=(peer,))
    named = {refusal.id: str(refusal.certificates[0]) for refusal in found}
    assert named["retires-too-early"] == "sha256 cdcdcdcdcdcdcdcd, of another stack"


# Whose clock


def test_a_clock_that_is_behind_is_refused() -> None:
    """It would count a posture as long gone that is still in force."""
    stack = Stack()
    stack.up("steady a1")
    stack.now = NOW - HOUR
    for stance in ("steady a1", "distribute a1 b1"):
        [refusal] = stack.refused(stance)
        assert str(refusal) == (
            f"clock-behind: the clock of this machine says {iso(stack.now)}, and an earlier "
            f"`pulumi up` was at {iso(NOW)}. Set the clock (NTP) and run this again."
        )


def test_clocks_may_differ_by_the_slack() -> None:
    """It is part of every window."""
    stack = Stack()
    stack.up("steady a1")
    stack.now = NOW - timedelta(minutes=5)
    assert stack.refused("steady a1") == []


def test_the_next_move_is_announced_for_when_it_will_be_legal() -> None:
    """Also when leaves live longer from now on than in the posture before."""
    stack = Stack()
    stack.up("steady a1", "distribute a1 b1")
    stack.settings = {"leafTtl": "72h"}
    stack.now = NOW + RENEWAL + HOUR
    stack.up("distribute a1 b1")
    assert stack.ledger is not None
    move = stack.ledger.next_move()
    assert move is not None
    stack.now = move.not_before - timedelta(seconds=1)
    assert [refusal.legal_at for refusal in stack.refused("switch a1 b1")] == [move.not_before]
    stack.now = move.not_before
    assert stack.refused("switch a1 b1") == []


# A ledger that was lost


@pytest.mark.parametrize(
    ("stance", "following"),
    [
        ("distribute a1 b1", "switch a1 b1"),
        ("switch a1 b1", "retire a1 b1"),
        ("retire a1 b1", "switch a1 b1"),
    ],
)
def test_after_a_lost_ledger_the_next_move_waits(stance: str, following: str) -> None:
    """The override admits what goes on; what was in force until then is anyone's guess."""
    stack = Stack()
    stack.up(stance, override={"move": f"unknown -> {stance}", "reason": "the state was lost"})
    stack.now = NOW + timedelta(minutes=1)
    ends = [refusal.legal_at for refusal in stack.refused(following)]
    assert max(end for end in ends if end) == NOW + RENEWAL
    stack.now = NOW + RENEWAL
    assert stack.refused(following) == []


def test_a_new_stack_has_nothing_to_wait_for() -> None:
    """Its first ledger is a steady one, and no mesh reads the secrets yet."""
    stack = Stack()
    stack.up("steady a1")
    assert stack.ledger is not None
    assert stack.ledger.window == ()


# A key that somebody else writes


@pytest.fixture
def switched() -> Stack:
    """A stack whose external signer was switched W ago."""
    stack = Stack()
    for issuer in stack.issuers.values():
        issuer["key"] = "external"
    stack.up("steady a1", "distribute a1 b1", "switch a1 b1")
    return stack


SWITCH = NOW + 2 * RENEWAL
"""When that was."""


def test_an_external_signer_is_not_known_to_sign_until_its_key_is_there(switched: Stack) -> None:
    """Until then every istiod goes on signing with the issuer before, however long it takes."""
    switched.now += 30 * DAY
    refusals = switched.refused("retire a1 b1")
    assert ids(refusals) == ["retires-too-early", "drops-chain-too-early"]
    for refusal in refusals:
        assert refusal.mitigation == (
            "The private key of b1 is external: once it is in the secret `ca-key`, set "
            "`issuers.b1.keyWritten` to the moment at which it was written, or to "
            f"{iso(SWITCH)}, the moment of the switch, if it was there before; time is counted "
            "from then."
        )


@pytest.mark.parametrize("recorded", [False, True])
def test_the_window_of_an_external_signer_begins_when_its_key_was_written(
    switched: Stack, recorded: bool
) -> None:
    """Not when the program wrote its certificate; whether an `up` came in between or not."""
    written = SWITCH + 3 * HOUR
    switched.issuers["b1"]["keyWritten"] = iso(written)
    if recorded:
        switched.up("switch a1 b1")
    switched.now = written + HOUR
    assert {refusal.legal_at for refusal in switched.refused("retire a1 b1")} == {written + RENEWAL}
    switched.now = written + RENEWAL
    assert switched.refused("retire a1 b1") == []


def test_what_is_left_of_an_earlier_rotation_tells_nothing_of_this_key(switched: Stack) -> None:
    """The moment has to come after the switch; a going back has written another key meanwhile."""
    switched.issuers["b1"]["keyWritten"] = iso(NOW)
    assert ids(switched.refused("retire a1 b1")) == ["retires-too-early", "drops-chain-too-early"]


def test_an_open_window_is_as_good_as_in_force_for_peers(switched: Stack) -> None:
    """They see that nobody knows when it ended."""
    assert switched.ledger is not None
    read = peer_window(switched.ledger.as_json(), peer="org/p/west")
    assert [entry.until for entry in read] == [None, None]


def test_an_open_window_is_read_back(switched: Stack) -> None:
    """Pulumi leaves out what is null."""
    assert switched.ledger is not None
    shown = switched.ledger.as_json()
    for entry in shown["window"]:
        del entry["until"]
    assert parse(shown, where="ledger") == switched.ledger


def test_an_open_window_is_told_of(switched: Stack) -> None:
    """In the state of the ledger."""
    assert switched.ledger is not None
    assert any(
        line.endswith("until it is known that the new signer has its key")
        for line in words.state(switched.ledger, now=switched.now)
    )


def test_going_back_from_an_external_signer_needs_no_key(switched: Stack) -> None:
    """Both stay in the chain, and both roots trusted."""
    assert switched.refused("distribute a1 b1") == []


def test_restarts_are_evidence_for_an_external_signer_too(switched: Stack) -> None:
    """Every istiod was seen to sign with it."""
    assert switched.ledger is not None
    plan = switched.plan("switch a1 b1")
    after = advance(
        switched.ledger,
        now=switched.now,
        stance=plan.stance,
        posture=plan.posture,
        pace=plan.pace,
        records=switched.ledger.records,
        access=None,
        mesh=True,
        external=True,
        restarts=Restarts("digest", switched.now),
    )
    assert after.window == ()


def test_a_switch_to_an_external_signer_says_who_has_to_do_what() -> None:
    """The console and the pull request tell that the key has to be written now."""
    stack = Stack()
    for issuer in stack.issuers.values():
        issuer["key"] = "external"
    stack.up("steady a1", "distribute a1 b1")
    said = words.changes(stack.plan("switch a1 b1"), stack.ledger)
    assert any("once it is in the secret `ca-key`, set `issuers.b1.keyWritten`" in x for x in said)
