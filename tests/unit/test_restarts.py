"""When restarts are worth making, of what, and what the ledger makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from meshca import restarts
from meshca.ledger import Attempt, Ledger, Record, Restarts, advance
from meshca.ledger_reading import parse
from meshca.plan import Plan
from meshca.refusals import CertificateRef, iso
from meshca.restarts import Target
from meshca.rotation import Held, Intermediate, Pace, Phase, Posture, posture
from meshca.settings import Settings, WorkloadKind, load
from tests import material

NOW = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)
PACE = Pace(timedelta(hours=24), timedelta(minutes=2), timedelta(minutes=5))
A1, A2, B1 = Intermediate("a1", "a"), Intermediate("a2", "a"), Intermediate("b1", "b")
STEADY = posture(Phase.STEADY, A1)
DISTRIBUTE = posture(Phase.DISTRIBUTE, A1, B1)
SWITCH = posture(Phase.SWITCH, A1, B1)
RECORDS = {
    "a": Record(CertificateRef("a")),
    "b": Record(CertificateRef("b")),
    **{issuer.identity: Record(CertificateRef(issuer.identity), issuer.root)
       for issuer in (A1, A2, B1)},
}  # fmt: skip

LEDGER = Ledger(1, "steady a1", STEADY, NOW, PACE, records=RECORDS, mesh=True)


def wanting(wanted: Posture, stance: str = "steady a1") -> Plan:
    """A plan for that posture, admitted."""
    return Plan(
        stance=stance,
        posture=wanted,
        pace=PACE,
        members={},
        attempt=Attempt(1, stance, wanted),
        moves=True,
        made_at=NOW,
        judged_at=NOW,
        outlives=timedelta(hours=24),
        override=None,
        admitted=(),
    )


def test_the_digest_is_of_trust_and_signer() -> None:
    """What proxies hold: the chain travels with the leaf."""
    trust, signer = STEADY.trust, STEADY.signer
    with_chain = posture(Phase.DISTRIBUTE, A1, A2)
    assert (with_chain.trust, with_chain.signer) == (trust, signer)
    assert restarts.digest(with_chain) == restarts.digest(STEADY)
    assert len({restarts.digest(each) for each in (STEADY, DISTRIBUTE, SWITCH)}) == 3


@pytest.mark.parametrize(
    ("wanted", "ledger", "recorded", "outstanding"),
    [
        (STEADY, LEDGER, None, False),
        (DISTRIBUTE, LEDGER, None, True),
        (DISTRIBUTE, None, None, False),
        (DISTRIBUTE, replace(LEDGER, mesh=False), None, False),
        (posture(Phase.DISTRIBUTE, A1, A2), LEDGER, None, False),
        (STEADY, replace(LEDGER, window=(Held(DISTRIBUTE, PACE, NOW),)), None, True),
        (
            STEADY,
            replace(LEDGER, window=(Held(DISTRIBUTE, PACE, NOW - timedelta(hours=25)),)),
            None,
            False,
        ),
        (STEADY, LEDGER, Attempt(1, "distribute a1 b1", DISTRIBUTE), True),
        (STEADY, LEDGER, Attempt(0, "distribute a1 b1", DISTRIBUTE), False),
    ],
    ids=[
        "nothing changes",
        "trust changes",
        "first up",
        "no mesh yet",
        "only the chain changes",
        "an earlier posture counts still",
        "an earlier posture counts no more",
        "an interrupted up is taken back",
        "an interrupted up was settled",
    ],
)
def test_restarts_are_made_while_proxies_may_hold_something_else(
    wanted: Posture, ledger: Ledger | None, recorded: Attempt | None, outstanding: bool
) -> None:
    """Another trust or signer, in force, in the window or attempted; and never without a mesh."""
    found = restarts.outstanding(wanting(wanted), ledger, now=NOW, recorded=recorded)
    assert found is outstanding


def configured(*workloads: dict[str, Any], issuers: Mapping[str, str] | None = None) -> Settings:
    """Settings with these workloads, and issuers of these common names."""
    names = issuers or {"a1": "A1", "b1": "B1"}
    return load(
        {
            "aks-istio-ca:rotationPhase": "steady",
            "aks-istio-ca:activeIssuer": "a1",
            "aks-istio-ca:roots": {"a": {"generated": {}}},
            "aks-istio-ca:issuers": {
                name: {"root": "a", "commonName": common} for name, common in names.items()
            },
            "aks-istio-ca:cluster": {"name": "m", "resourceGroup": "g", "revisions": ["asm-1-30"]},
            "aks-istio-ca:keyVault": {"name": "vault", "accessModel": "rbac"},
            "aks-istio-ca:workloads": list(workloads),
        }
    )


WEB = Target("shop", "web", WorkloadKind.DEPLOYMENT)
DATABASE = Target("shop", "db", WorkloadKind.STATEFUL_SET)
MADE = Restarts("d", NOW, restarts.texts([WEB, DATABASE, Target("edge", "gw", WEB.kind)]))
NAMED = {"namespace": "shop", "kind": "Deployment", "name": "web"}


def issuers(first: str, second: str) -> dict[str, Any]:
    """Members of the plan to `distribute a1 b1`, with these subjects."""
    root = material.authority("Root")
    return {
        name: SimpleNamespace(
            name=name, certificate=material.authority(subject, under=root).certificate
        )
        for name, subject in (("a1", first), ("b1", second))
    }


@pytest.mark.parametrize(
    ("first", "second", "apart"),
    [
        ("O=Istio,CN=A1", "O=Istio,CN=B1", True),
        ("O=Istio,CN=CA", "O=Istio,CN=CA", False),
        ("O=Istio,CN=CA", "CN=CA,O=Istio", False),
    ],
    ids=["other names", "one name", "one name in another order"],
)
def test_issuers_in_one_chain_need_subjects_of_their_own(
    first: str, second: str, apart: bool
) -> None:
    """istiod's log names signers by subject, in an order of its own."""
    plan = replace(wanting(DISTRIBUTE), members=issuers(first, second))
    assert restarts.told_apart(configured(), plan) is apart


def test_generated_issuers_are_told_apart_by_their_recipes() -> None:
    """By the names that they will have."""
    members: dict[str, Any] = {
        name: SimpleNamespace(name=name, certificate=None) for name in ("a1", "b1")
    }
    plan = replace(wanting(DISTRIBUTE), members=members)
    for names, apart in ((("one", "two"), True), (("one", "one"), False)):
        settings = configured(issuers=dict(zip(("a1", "b1"), names, strict=True)))
        assert restarts.told_apart(settings, plan) is apart


@pytest.mark.parametrize(
    ("workloads", "known"),
    [
        ([NAMED], [WEB]),
        ([NAMED, NAMED], [WEB]),
        ([{"namespace": "shop", "selector": {}}], [DATABASE, WEB]),
        ([{"namespace": "shop", "kind": "StatefulSet", "selector": {}}], [DATABASE]),
        ([{"namespace": "other", "selector": {}}], []),
        ([NAMED, {"namespace": "shop", "selector": {"tier": "web"}}], [DATABASE, WEB]),
    ],
    ids=["by name", "twice", "by selector", "one kind", "another namespace", "both"],
)
def test_a_preview_knows_workloads_without_asking(
    workloads: list[dict[str, Any]], known: list[Target]
) -> None:
    """Those with a name, and those that the selectors found when restarts were last made."""
    assert restarts.known_targets(configured(*workloads), MADE) == known


def test_a_new_workload_is_not_restarted_for_what_is_long_in_force() -> None:
    """Without a change only those stay patched that were restarted for it."""
    new = {"namespace": "shop", "kind": "Deployment", "name": "new"}
    assert restarts.still_made(configured(NAMED, new), MADE) == [WEB]


@pytest.mark.parametrize("target", [WEB, DATABASE, Target("n-1", "a.b", WorkloadKind.DAEMON_SET)])
def test_targets_survive_the_ledger(target: Target) -> None:
    """As text and back."""
    assert restarts.parse_target(str(target)) == target


def moved(now: datetime, **evidence: Any) -> Ledger:
    """The ledger after the move to `distribute`."""
    return advance(
        LEDGER,
        now=now,
        stance="distribute a1 b1",
        posture=DISTRIBUTE,
        pace=PACE,
        records=RECORDS,
        access=None,
        mesh=True,
        **evidence,
    )


SHOWN = NOW + timedelta(minutes=3)
DONE = NOW + timedelta(minutes=5)
CLEAN = Restarts(restarts.digest(DISTRIBUTE), SHOWN, ("Deployment shop/web",))
LAGGING = replace(CLEAN, laggards=("shop/old",))


def test_without_an_older_pod_the_next_move_is_legal_at_once() -> None:
    """Nothing that was in force before the moment counts any longer."""
    after = moved(DONE, restarts=CLEAN)
    move = after.next_move()
    assert (after.window, after.propagation) == ((), "restarts")
    assert move is not None
    assert move.not_before == DONE


def test_laggards_make_the_next_move_wait() -> None:
    """Their names are kept, and the leaf lifetime runs from the moment at which all showed."""
    after = moved(DONE, restarts=LAGGING)
    move = after.next_move()
    assert after.restarts is not None
    assert (after.restarts.laggards, after.propagation) == (("shop/old",), "waiting")
    assert move is not None
    assert move.not_before == SHOWN + PACE.renewal


def again(before: Ledger, now: datetime, **evidence: Any) -> Ledger:
    """The ledger after another `up` of the same posture."""
    return advance(
        before,
        now=now,
        stance=before.stance,
        posture=before.posture,
        pace=PACE,
        records=RECORDS,
        access=None,
        mesh=True,
        **evidence,
    )


def test_once_the_laggards_are_gone_another_up_ends_the_wait() -> None:
    """It asks again, from the same moment on."""
    after = again(moved(DONE, restarts=LAGGING), DONE + timedelta(hours=1), restarts=CLEAN)
    assert (after.window, after.propagation, after.restarts) == ((), "restarts", CLEAN)


def test_restarts_stay_on_record_while_trust_and_signer_stay() -> None:
    """So that another `up` keeps its patches as they are."""
    before = moved(DONE, restarts=CLEAN)
    assert again(before, DONE + timedelta(hours=1)).restarts == CLEAN


def test_restarts_are_forgotten_with_the_next_change() -> None:
    """When that one comes without restarts."""
    after = advance(
        moved(DONE, restarts=CLEAN),
        now=DONE + timedelta(days=2),
        stance="switch a1 b1",
        posture=SWITCH,
        pace=PACE,
        records=RECORDS,
        access=None,
        mesh=True,
    )
    assert after.restarts is None


@pytest.mark.parametrize("made", [None, CLEAN, LAGGING], ids=["none", "clean", "lagging"])
def test_the_ledger_reads_back_what_it_wrote(made: Restarts | None) -> None:
    """Restarts and serial numbers too."""
    written = replace(
        moved(DONE, restarts=made),
        records={**RECORDS, "a1": Record(CertificateRef("a1"), "a", "5eria1")},
    )
    assert parse(written.as_json(), where="here") == written


def test_a_ledger_of_before_has_no_restarts() -> None:
    """What earlier versions wrote is read as it was meant."""
    old = LEDGER.as_json()
    del old["restarts"]
    for record in old["records"].values():
        del record["serial"]
    assert parse(old, where="here") == LEDGER


@pytest.mark.parametrize(
    ("made", "line"),
    [
        (
            CLEAN,
            "CA: 1 workload restarted; no meshed pod is older than 2027-03-01T12:03:00Z.",
        ),
        (
            replace(LAGGING, laggards=tuple(f"shop/{number}" for number in range(7))),
            "CA: 1 workload restarted, but 7 meshed pods are older than 2027-03-01T12:03:00Z: "
            "shop/0, shop/1, shop/2, shop/3, shop/4 and 2 more. Until they are gone, or their "
            "leaves have ended, the next move waits. Restart them and run `pulumi up` again, or "
            "add their workloads to `workloads`.",
        ),
    ],
    ids=["clean", "lagging"],
)
def test_the_outcome_is_told(made: Restarts, line: str) -> None:
    """With the names of a few laggards, and what to do about them."""
    assert restarts.outcome(made) == line


@pytest.mark.parametrize("made", [CLEAN, LAGGING], ids=["clean", "lagging"])
def test_restarts_that_do_not_count_are_not_told_as_if_they_did(made: Restarts) -> None:
    """Secrets that were written after istiod showed them: an interrupted `up` was finished."""
    before, after = (iso(made.shown + timedelta(seconds=number)) for number in (-1, 1))
    assert restarts.outcome(made, [before, iso(made.shown)]) == restarts.outcome(made)
    assert restarts.outcome(made, [before, after]) == (
        "CA: 1 workload restarted at 2027-03-01T12:03:00Z by a `pulumi up` that was interrupted, "
        "and the secrets were written once more since. So the restarts prove nothing of them, and "
        "the next move waits until the leaves have ended, as without `workloads`."
    )
