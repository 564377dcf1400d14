"""What istiod shows, against what is expected of it; waiting, on a clock of the tests' own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from meshca import evidence
from meshca.evidence import Expected, Named, Replica, Seen
from meshca.istiod_log import Served
from meshca.refusals import Refused
from tests import material

A, B = Named("a", "aa" * 32), Named("b", "bb" * 32)
A1, B1 = Named("a1", "a1"), Named("b1", "b1")
A1_SERVED = Served("CN=Root A", "CN=Issuer A1", "a1")
B1_SERVED = Served("CN=Root B", "CN=Issuer B1", "b1")

DISTRIBUTE = Expected((A, B), A1, (B1, A1))
SWITCH = Expected((A, B), B1, (B1, A1))


def signed_by(issuer: Served, *chain: Served) -> Replica:
    """A replica whose leaf the issuer has signed."""
    return Replica("istiod-0", (Served(issuer.subject, "", "1eaf"), *chain))


DISTRIBUTING = signed_by(A1_SERVED, B1_SERVED, A1_SERVED)
SWITCHED = signed_by(B1_SERVED, B1_SERVED, A1_SERVED)
TRUST = {"shop": (A.mark, B.mark)}


@pytest.mark.parametrize(
    ("expected", "replica", "shown"),
    [
        (DISTRIBUTE, DISTRIBUTING, True),
        (SWITCH, SWITCHED, True),
        (SWITCH, DISTRIBUTING, False),
        (DISTRIBUTE, SWITCHED, False),
        (DISTRIBUTE, signed_by(A1_SERVED, A1_SERVED), False),
        (DISTRIBUTE, signed_by(A1_SERVED, A1_SERVED, B1_SERVED), False),
        (DISTRIBUTE, Replica("istiod-0"), False),
        (DISTRIBUTE, replace(DISTRIBUTING, trouble="not ready (Running)"), False),
    ],
    ids=[
        "distributed",
        "switched",
        "same chain, old signer",
        "same chain, new signer",
        "old chain",
        "chain in another order",
        "nothing said",
        "not ready",
    ],
)
def test_a_replica_shows_signer_and_chain(
    expected: Expected, replica: Replica, shown: bool
) -> None:
    """The chain alone proves nothing: it is the same before and after the switch."""
    assert evidence.shows(expected, replica) is shown


@pytest.mark.parametrize(
    ("marks", "stale"),
    [((A.mark, B.mark), []), ((B.mark, A.mark), []), ((A.mark,), ["shop"]), ((), ["shop"])],
    ids=["as written", "another order", "a root short", "unreadable"],
)
def test_a_bundle_is_its_roots(marks: tuple[str, ...], stale: list[str]) -> None:
    """The order of the roots is no matter to a proxy."""
    assert evidence.stale_namespaces(DISTRIBUTE, Seen((), {"shop": marks})) == stale


def test_nothing_is_missing_once_all_is_seen() -> None:
    """Every replica and every namespace."""
    assert evidence.missing(SWITCH, Seen((SWITCHED, SWITCHED), TRUST)) == []


@pytest.mark.parametrize(
    ("seen", "lines"),
    [
        (
            Seen(()),
            ["no istiod runs", "no namespace has a ConfigMap istio-ca-root-cert"],
        ),
        (
            Seen((DISTRIBUTING,), TRUST),
            ["istiod-0 signs with a1 and serves the chain b1, a1"],
        ),
        (
            Seen((replace(DISTRIBUTING, refusal="the cert does not match the key"),), TRUST),
            [
                "istiod-0 signs with a1 and serves the chain b1, a1, and refused what it read: "
                "the cert does not match the key"
            ],
        ),
        (
            Seen((signed_by(Served("O=x", "O=cluster.local", "5"), A1_SERVED),), TRUST),
            ["istiod-0 signs with O=cluster.local and serves the chain a1"],
        ),
        (
            Seen((Replica("istiod-0"), Replica("istiod-1", trouble="not ready (Init:0/2)")), TRUST),
            ["istiod-0 has not said yet what it serves", "istiod-1: not ready (Init:0/2)"],
        ),
        (
            Seen((SWITCHED,), {**TRUST, "edge": (A.mark,), "old": ("cc" * 32,), "bad": ()}),
            [
                "namespace bad trusts nothing",
                "namespace edge trusts a",
                "namespace old trusts sha256 cccccccccccccccc",
            ],
        ),
    ],
    ids=["nobody", "old signer", "refused", "another CA", "not there yet", "old bundles"],
)
def test_what_is_missing_is_told_by_name(seen: Seen, lines: list[str]) -> None:
    """Each replica and namespace that lags, with what it shows instead."""
    assert evidence.missing(SWITCH, seen) == lines


def test_what_is_expected_in_words() -> None:
    """Roots by fingerprint, issuers by serial: what there is to compare by hand."""
    assert evidence.wanted(SWITCH) == (
        "trust in a (sha256 aaaaaaaaaaaaaaaa), b (sha256 bbbbbbbbbbbbbbbb), leaves signed by b1, "
        "chain b1 (serial b1), a1 (serial a1)"
    )


@dataclass
class Waiting:
    """A wait in which a second passes at each look, and what is seen is scripted."""

    looks: list[Seen | Exception]
    told: list[str] = field(default_factory=list)
    now: datetime = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)

    def look(self) -> Seen:
        """The next thing of the script; the last one goes on for ever."""
        self.now += timedelta(seconds=1)
        found = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        if isinstance(found, Exception):
            raise found
        return found

    def run(self, expected: Expected = SWITCH, seconds: int = 10, reload: int = 0) -> None:
        """Waits."""
        clock: Callable[[], datetime] = lambda: self.now  # noqa: E731
        evidence.wait(
            self.look,
            expected,
            timeout=timedelta(seconds=seconds),
            reload=timedelta(seconds=reload),
            tell=self.told.append,
            now=clock,
            every=timedelta(0),
        )


def test_waiting_ends_when_all_is_seen() -> None:
    """And not before."""
    waiting = Waiting([Seen((DISTRIBUTING,), TRUST), Seen((SWITCHED,), TRUST)])
    waiting.run()
    assert waiting.now.second == 2


def test_waiting_goes_on_until_no_replica_can_mix_old_and_new_files() -> None:
    """A replica that read root-cert early and cert-chain late shows all that can be seen of it."""
    waiting = Waiting([Seen((SWITCHED,), TRUST)])
    waiting.run(reload=3)
    assert waiting.now.second == 3
    assert waiting.told == [f"CA: waiting for istiod (1s of 10s): {evidence.MAY_BE_MIXED}"]


def test_waiting_tells_what_has_changed() -> None:
    """One line for each change of what is missing, not for each look."""
    still = Seen((DISTRIBUTING,), TRUST)
    waiting = Waiting([Seen(()), still, still, still, Seen((SWITCHED,), TRUST)])
    waiting.run()
    assert waiting.told == [
        "CA: waiting for istiod (1s of 10s): no istiod runs; "
        "no namespace has a ConfigMap istio-ca-root-cert",
        "CA: waiting for istiod (2s of 10s): istiod-0 signs with a1 and serves the chain b1, a1",
    ]


def test_waiting_tells_each_minute_that_it_still_waits() -> None:
    """A console that says nothing for ten minutes looks like one that hangs."""
    waiting = Waiting([Seen((DISTRIBUTING,), TRUST)])
    with pytest.raises(Refused):
        waiting.run(seconds=150)
    assert [line.partition(":")[2].partition(":")[0] for line in waiting.told] == [
        " waiting for istiod (1s of 2m30s)",
        " waiting for istiod (1m1s of 2m30s)",
        " waiting for istiod (2m1s of 2m30s)",
    ]


def test_a_cluster_that_goes_away_may_come_back() -> None:
    """Meanwhile the console says so."""
    gone = ConnectionError("Connection refused")
    waiting = Waiting([gone, gone, Seen((SWITCHED,), TRUST)])
    waiting.run()
    assert waiting.told == [
        "CA: waiting for istiod (1s of 10s): the cluster does not answer (Connection refused)"
    ]


def test_what_no_time_mends_ends_the_wait() -> None:
    """Such as a request that the API server forbids."""
    with pytest.raises(PermissionError):
        Waiting([PermissionError("pods is forbidden")]).run()


def test_after_the_timeout_expected_and_seen_are_told() -> None:
    """In one refusal, with what to do."""
    with pytest.raises(Refused) as caught:
        Waiting([Seen((DISTRIBUTING,), TRUST)]).run()
    [refusal] = caught.value.refusals
    assert refusal.id == "not-shown"
    assert "10s later istiod does not show them" in refusal.reason
    assert f"Expected: {evidence.wanted(SWITCH)}" in refusal.reason
    assert "Seen: istiod-0 signs with a1 and serves the chain b1, a1" in refusal.reason
    assert "python -m meshca verify" in refusal.mitigation


def test_a_long_list_is_cut() -> None:
    """A thousand namespaces that lag are counted, not listed."""
    many = {f"ns-{number:04}": (A.mark,) for number in range(1000)}
    with pytest.raises(Refused) as caught:
        Waiting([Seen((SWITCHED,), many)]).run()
    assert "namespace ns-0011 trusts a; and 988 more" in str(caught.value)


def test_serials_are_written_as_istiod_writes_them() -> None:
    """Go's %x: lower-case hex, no leading zero."""
    certificate = material.authority("Root").certificate
    assert evidence.serial(certificate) == format(certificate.serial_number, "x")


def test_issuers_of_one_subject_cannot_be_told_apart() -> None:
    """istiod's log says who signed by subject only."""
    root = material.authority("Root")
    one, same, other = (
        material.authority(subject, under=root).certificate
        for subject in ("O=Istio,CN=CA", "O=Istio,CN=CA", "O=Istio,CN=CA 2")
    )
    assert evidence.told_apart(one, [other, one])
    assert not evidence.told_apart(one, [same, one])
