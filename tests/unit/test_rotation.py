"""What each phase looks like, and which moves are legal when: one claim a test.

Roots a, b, c; issuers a1, a2 under a, b1 under b, c1 under c. A posture is drawn as
`trust | signer | chain`. P is 7 minutes, W is 24 hours and 7 minutes; times count from the moment
at which the posture in force came about.
"""

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshca.refusals import CertificateRef
from meshca.rotation import (
    Held,
    Intermediate,
    Pace,
    Phase,
    Posture,
    compatible,
    first_step,
    posture,
    stance,
    trust_moves_one_way,
    trust_refusals,
    window_refusals,
)

CHANGED = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)
"""When the posture in force came about, and the one before it ended."""
SECOND = timedelta(seconds=1)
PACE = Pace(timedelta(hours=24), timedelta(minutes=2), timedelta(minutes=5))
P = timedelta(minutes=7)
W = timedelta(hours=24, minutes=7)

ISSUERS = {name: Intermediate(name, name[0]) for name in ("a1", "a2", "b1", "c1")}


def the(text: str) -> Posture:
    """The posture of a stance (`switch a1 b1`) or of a drawing (`a b | b1 | b1 a1`)."""
    if "|" in text:
        trust, signer, chain = (part.split() for part in text.split("|"))
        return Posture(tuple(trust), ISSUERS[signer[0]], tuple(chain))
    phase, *names = text.split()
    return posture(Phase(phase), *(ISSUERS[name] for name in names))


def held(of: str, ended: datetime | None = CHANGED, peer: str | None = None) -> Held:
    """A posture that ended then; None: that is in force."""
    return Held(the(of), PACE, ended, peer)


def refused(
    in_force: str, wanted: str, *others: Held, after: timedelta = timedelta()
) -> dict[str, datetime | None]:
    """The ids of the refusals of a move made so long after CHANGED, and when it becomes legal."""
    entries = [held(in_force, None), *others]
    found = window_refusals(
        entries, the(wanted), now=CHANGED + after, describe=CertificateRef
    ) + trust_refusals(entries, the(wanted), describe=CertificateRef)
    return {refusal.id: refusal.legal_at for refusal in found}


# The phases


@pytest.mark.parametrize(
    ("phase", "drawn"),
    [
        ("steady a1", "a | a1 | a1"),
        ("distribute a1 b1", "a b | a1 | b1 a1"),
        ("switch a1 b1", "a b | b1 | b1 a1"),
        ("retire a1 b1", "b | b1 | b1"),
    ],
)
def test_the_phases_of_a_root_rotation(phase: str, drawn: str) -> None:
    """The table of docs/rotation.md, row by row."""
    assert the(phase) == the(drawn)


@pytest.mark.parametrize(
    ("phase", "drawn"),
    [
        ("steady a1", "a | a1 | a1"),
        ("distribute a1 a2", "a | a1 | a2 a1"),
        ("switch a1 a2", "a | a2 | a2 a1"),
        ("retire a1 a2", "a | a2 | a2"),
    ],
)
def test_the_phases_of_an_intermediate_rotation(phase: str, drawn: str) -> None:
    """The same table with one root: the trust column stays."""
    assert the(phase) == the(drawn)


def test_the_finish_has_the_posture_of_retire() -> None:
    """`retire a1 b1` and `steady b1` are the same four files."""
    assert the("retire a1 b1") == the("steady b1")


def test_a_phase_of_a_rotation_needs_the_issuer_that_follows() -> None:
    """`distribute a1` alone says nothing."""
    with pytest.raises(ValueError, match="the phase distribute needs the issuer that follows"):
        posture(Phase.DISTRIBUTE, ISSUERS["a1"])


def test_a_stance_is_phase_and_issuers() -> None:
    """What overrides, refusals and the ledger call a posture."""
    assert stance(Phase.STEADY, "a1") == "steady a1"
    assert stance(Phase.SWITCH, "a1", "b1") == "switch a1 b1"


def test_the_windows_are_reload_and_renewal() -> None:
    """P is poll and slack; W is a leaf lifetime more."""
    assert (PACE.reload, PACE.renewal) == (P, W)


SPANS = st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=90))
PACES = st.builds(Pace, SPANS, SPANS, SPANS)


@given(PACES, PACES)
def test_the_slower_of_two_paces_waits_for_both(one: Pace, other: Pace) -> None:
    """It is as long as either, in any order, and nothing is slower than itself."""
    slower = one.slower(other)
    assert slower == other.slower(one) == slower.slower(one)
    assert slower.renewal >= max(one.renewal, other.renewal)
    assert one.slower(one) == one


# Root rotation, forward


def test_roots_can_be_distributed_at_once() -> None:
    """a | a1 | a1  ->  a b | a1 | b1 a1: nothing forbids it."""
    assert refused("steady a1", "distribute a1 b1") == {}


def test_the_switch_waits_for_every_proxy_and_every_istiod() -> None:
    """a b | a1 | b1 a1  ->  a b | b1 | b1 a1, while `steady a1` still counts: trust for W, the
    chain for P."""
    assert refused("distribute a1 b1", "switch a1 b1", held("steady a1")) == {
        "signs-too-early": CHANGED + W,
        "chain-too-early": CHANGED + P,
    }


def test_after_p_only_the_proxies_are_waited_for() -> None:
    """The same after P: istiods have read the chain file, proxies may not trust b yet."""
    assert refused("distribute a1 b1", "switch a1 b1", held("steady a1"), after=P) == {
        "signs-too-early": CHANGED + W
    }


def test_one_second_before_w_the_switch_is_still_refused() -> None:
    """The time in the refusal is exact."""
    assert refused("distribute a1 b1", "switch a1 b1", held("steady a1"), after=W - SECOND) == {
        "signs-too-early": CHANGED + W
    }


def test_the_switch_is_legal_when_w_has_passed() -> None:
    """At the very moment that the refusal named."""
    assert refused("distribute a1 b1", "switch a1 b1", held("steady a1"), after=W) == {}


def test_the_old_root_waits_for_its_last_leaf() -> None:
    """a b | b1 | b1 a1  ->  b | b1 | b1, while `distribute` still counts: leaves under a for W,
    istiods that sign with a1 for P."""
    assert refused("switch a1 b1", "retire a1 b1", held("distribute a1 b1")) == {
        "retires-too-early": CHANGED + W,
        "drops-chain-too-early": CHANGED + P,
    }


def test_the_old_root_can_go_when_w_has_passed() -> None:
    """The same after W: no leaf under a can be alive."""
    assert refused("switch a1 b1", "retire a1 b1", held("distribute a1 b1"), after=W) == {}


def test_the_finish_is_legal_at_once() -> None:
    """b | b1 | b1  ->  b | b1 | b1: nothing changes, whatever still counts."""
    assert refused("retire a1 b1", "steady b1", held("switch a1 b1")) == {}


# Intermediate rotation, forward


def test_the_new_intermediate_enters_the_chain_at_once() -> None:
    """a | a1 | a1  ->  a | a1 | a2 a1: nothing forbids it."""
    assert refused("steady a1", "distribute a1 a2") == {}


def test_an_intermediate_switches_after_p() -> None:
    """a | a1 | a2 a1  ->  a | a2 | a2 a1: only the chain file must have been read."""
    before = held("steady a1")
    assert refused("distribute a1 a2", "switch a1 a2", before) == {"chain-too-early": CHANGED + P}
    assert refused("distribute a1 a2", "switch a1 a2", before, after=P) == {}


def test_an_intermediate_retires_after_p() -> None:
    """a | a2 | a2 a1  ->  a | a2 | a2: no istiod may sign with a1 any more."""
    before = held("distribute a1 a2")
    assert refused("switch a1 a2", "retire a1 a2", before) == {"drops-chain-too-early": CHANGED + P}
    assert refused("switch a1 a2", "retire a1 a2", before, after=P) == {}


# Rollbacks


def test_distribute_rolls_back_at_once() -> None:
    """a b | a1 | b1 a1  ->  a | a1 | a1: nobody has signed with b1 yet."""
    assert refused("distribute a1 b1", "steady a1", held("steady a1")) == {}


def test_switch_rolls_back_at_once() -> None:
    """a b | b1 | b1 a1  ->  a b | a1 | b1 a1: every proxy trusts both."""
    assert refused("switch a1 b1", "distribute a1 b1", held("distribute a1 b1")) == {}


def test_after_a_switch_that_was_rolled_back_the_new_root_stays_for_w() -> None:
    """a b | a1 | b1 a1  ->  a | a1 | a1, after `switch`: leaves under b are about."""
    assert refused("distribute a1 b1", "steady a1", held("switch a1 b1")) == {
        "retires-too-early": CHANGED + W,
        "drops-chain-too-early": CHANGED + P,
    }


def test_retire_rolls_back_at_once() -> None:
    """b | b1 | b1  ->  a b | b1 | b1 a1: the old root is trusted again, b1 signs on."""
    assert refused("retire a1 b1", "switch a1 b1", held("switch a1 b1")) == {}


def test_after_retire_the_old_issuer_waits_to_sign_again() -> None:
    """a b | b1 | b1 a1  ->  a b | a1 | b1 a1, after `retire`: proxies that trust b alone would
    refuse it for W, istiods lack a1 in the chain for P."""
    assert refused("switch a1 b1", "distribute a1 b1", held("retire a1 b1")) == {
        "signs-too-early": CHANGED + W,
        "chain-too-early": CHANGED + P,
    }


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("distribute a1 a2", "steady a1"),
        ("switch a1 a2", "distribute a1 a2"),
        ("retire a1 a2", "switch a1 a2"),
    ],
)
def test_an_intermediate_rotation_rolls_back_at_once(before: str, after: str) -> None:
    """Each phase to the one before, right after it came about."""
    assert refused(before, after, held(after)) == {}


def test_another_issuer_can_take_the_place_of_the_one_that_was_to_follow() -> None:
    """a b | a1 | b1 a1  ->  a | a1 | a2 a1: midway, the intermediate is rotated instead."""
    assert refused("distribute a1 b1", "distribute a1 a2", held("steady a1")) == {}


# Jumps


def test_the_articles_intermediate_rotation_is_refused() -> None:
    """a | a1 | a1  ->  a | a2 | a2 in one step: no time helps, since a poll in between tears it."""
    assert refused("steady a1", "steady a2") == {
        "chain-too-early": None,
        "drops-chain-too-early": None,
    }


def test_one_root_for_another_is_refused() -> None:
    """a | a1 | a1  ->  b | b1 | b1: everything speaks against it."""
    assert refused("steady a1", "steady b1") == dict.fromkeys(
        [
            "signs-too-early",
            "retires-too-early",
            "chain-too-early",
            "drops-chain-too-early",
            "trust-jumps",
        ]
    )


def test_the_articles_root_rotation_is_refused() -> None:
    """a b | a1 | a1  ->  b | b1 | b1: leaves under a would meet proxies that trust b alone."""
    assert refused("a b | a1 | a1", "b | b1 | b1") == dict.fromkeys(
        ["retires-too-early", "chain-too-early", "drops-chain-too-early"]
    )


def test_a_switch_without_distribute_is_refused() -> None:
    """a | a1 | a1  ->  a b | b1 | b1 a1: nobody trusts b, no chain file has b1."""
    assert refused("steady a1", "switch a1 b1") == dict.fromkeys(
        ["signs-too-early", "chain-too-early"]
    )


def test_a_retire_without_switch_is_refused() -> None:
    """a b | a1 | b1 a1  ->  b | b1 | b1: a1 signs until that very moment."""
    assert refused("distribute a1 b1", "retire a1 b1") == dict.fromkeys(
        ["retires-too-early", "drops-chain-too-early"]
    )


def test_roots_added_and_dropped_in_one_move_are_refused() -> None:
    """a b | a1 | b1 a1  ->  a c | a1 | c1 a1: a running istiod would not take it."""
    assert refused("distribute a1 b1", "distribute a1 c1") == {"trust-jumps": None}


def test_roots_that_change_places_are_refused() -> None:
    """a b | a1 | a1  ->  b a | a1 | a1: istiod up to 1.29 compares text."""
    assert refused("a b | a1 | a1", "b a | a1 | a1") == {"trust-jumps": None}


def test_a_root_out_of_the_middle_is_refused() -> None:
    """a b c | a1 | a1  ->  a c | a1 | a1: the shorter text is not within the longer one."""
    assert refused("a b c | a1 | a1", "a c | a1 | a1") == {"trust-jumps": None}


def test_a_jump_over_an_istiod_that_lags_is_refused_until_it_has_polled() -> None:
    """a | a1 | a1  ->  a c | a1 | c1 a1, within P of `distribute a1 b1`: an istiod that still has
    a b would refuse a c, now and ever after."""
    before = held("distribute a1 b1")
    assert refused("steady a1", "distribute a1 c1", before) == {"trust-jumps": CHANGED + P}
    assert refused("steady a1", "distribute a1 c1", before, after=P) == {}


# What counts, and for how long


def test_the_latest_of_the_offending_postures_decides() -> None:
    """Two that lack b: the move is legal when the second has left its window."""
    earlier = held("steady a1", CHANGED - timedelta(hours=3))
    later = held("steady a2", CHANGED - timedelta(hours=2))
    assert refused("distribute a1 b1", "switch a1 b1", later, earlier) == {
        "signs-too-early": CHANGED - timedelta(hours=2) + W
    }


def test_what_has_left_its_window_counts_no_longer() -> None:
    """A posture that ended W ago is as if it never was."""
    assert refused("distribute a1 b1", "switch a1 b1", held("steady a1", CHANGED - W)) == {}


def test_a_posture_in_force_leaves_no_window() -> None:
    """Waiting does not help against what stays."""
    assert held("steady a1", None).leaves_trust_window() is None
    assert held("steady a1", None).leaves_chain_window() is None


def test_each_posture_leaves_by_its_own_pace() -> None:
    """A mesh whose leaves live an hour waits an hour and P."""
    quick = Held(the("steady a1"), Pace(timedelta(hours=1), PACE.poll, PACE.slack), CHANGED)
    assert refused("distribute a1 b1", "switch a1 b1", quick) == {
        "signs-too-early": CHANGED + timedelta(hours=1) + P,
        "chain-too-early": CHANGED + P,
    }


def test_a_refusal_names_what_is_missing_and_until_when() -> None:
    """`signs-too-early` names the root that is not trusted yet."""
    [signs, chain] = window_refusals(
        [held("distribute a1 b1", None), held("steady a1")],
        the("switch a1 b1"),
        now=CHANGED,
        describe=CertificateRef,
    )
    assert [reference.name for reference in signs.certificates] == ["b"]
    assert [reference.name for reference in chain.certificates] == ["b1"]
    assert signs.mitigation == (
        "Wait until 2027-03-02T12:07:00Z: only then every proxy has renewed since the root was "
        "distributed."
    )


def test_a_refusal_that_time_does_not_lift_gives_the_advice() -> None:
    """What to do first, as the caller found it."""
    [first, *_] = window_refusals(
        [held("steady a1", None)],
        the("switch a1 b1"),
        now=CHANGED,
        describe=CertificateRef,
        advice="Make the move `distribute a1 b1` first.",
    )
    assert first.mitigation == "Make the move `distribute a1 b1` first."


def test_a_jump_names_every_root_concerned() -> None:
    """Those before and those after, each once."""
    [jump] = trust_refusals(
        [held("distribute a1 b1", None)], the("distribute a1 c1"), describe=CertificateRef
    )
    assert [reference.name for reference in jump.certificates] == ["a", "b", "c"]


# Peers


def test_a_peer_that_does_not_trust_the_root_blocks_the_switch() -> None:
    """Here a b | a1 | b1 a1  ->  a b | b1 | b1 a1; west is in a | a1 | a1 and stays there."""
    assert refused(
        "distribute a1 b1", "switch a1 b1", held("steady a1", None, "west"), after=W
    ) == {"signs-too-early": None}


def test_the_refusal_names_the_peers_to_move_first() -> None:
    """And what they must do."""
    peers = [held("steady a1", None, "west"), held("steady a1", None, "east")]
    entries = [held("distribute a1 b1", None), *peers]
    [refusal] = window_refusals(entries, the("switch a1 b1"), now=CHANGED, describe=CertificateRef)
    assert refusal.mitigation == "First make these stacks trust the root of the signer: east, west."


def test_a_peer_that_signs_under_the_root_blocks_its_retirement() -> None:
    """Here a b | b1 | b1 a1  ->  b | b1 | b1; west is in a b | a1 | b1 a1 and stays there."""
    peer = held("distribute a1 b1", None, "west")
    [refusal] = window_refusals(
        [held("switch a1 b1", None), peer],
        the("retire a1 b1"),
        now=CHANGED,
        describe=CertificateRef,
    )
    assert (refusal.id, refusal.legal_at) == ("retires-too-early", None)
    assert refusal.mitigation == "First make these stacks move off that root: west."


def test_what_a_peer_has_left_is_waited_for() -> None:
    """West was in `steady a1` until CHANGED: its proxies trust b W later."""
    entries = [
        held("distribute a1 b1", None),
        held("distribute a1 b1", None, "west"),
        held("steady a1", CHANGED, "west"),
    ]
    [refusal] = window_refusals(entries, the("switch a1 b1"), now=CHANGED, describe=CertificateRef)
    assert (refusal.id, refusal.legal_at) == ("signs-too-early", CHANGED + W)
    assert refusal.mitigation.endswith("(stacks west too).")


def test_the_chains_and_the_roots_files_of_peers_are_their_own_affair() -> None:
    """A peer with another chain and other roots in another order blocks nothing by them."""
    peer = held("b a | b1 | b1", None, "west")
    assert refused("switch a1 b1", "distribute a1 b1", peer) == {}


def test_moves_of_a_fleet_in_the_right_order_are_legal() -> None:
    """All distribute; after W all switch, one by one; after W all retire, one by one."""
    for peer in ("distribute a1 b1", "switch a1 b1"):
        west = held(peer, None, "west")
        assert refused("distribute a1 b1", "switch a1 b1", west, after=W) == {}
    for peer in ("switch a1 b1", "retire a1 b1"):
        west = held(peer, None, "west")
        assert refused("switch a1 b1", "retire a1 b1", west, after=W) == {}


# Three roots


def test_a_third_root_can_join_two() -> None:
    """a b | b1 | b1 a1  ->  a b c | b1 | c1 b1 a1: trust only grows."""
    assert refused("switch a1 b1", "a b c | b1 | c1 b1 a1", held("distribute a1 b1")) == {}


def test_the_signer_of_a_third_root_waits_for_its_trust() -> None:
    """a b c | b1 | c1 b1  ->  a b c | c1 | c1 b1, right after the third root came."""
    assert refused("a b c | b1 | c1 b1", "a b c | c1 | c1 b1", held("switch a1 b1")) == {
        "signs-too-early": CHANGED + W,
        "chain-too-early": CHANGED + P,
    }


def test_a_second_rotation_may_begin_a_poll_after_the_first_ended() -> None:
    """b | b1 | b1  ->  b c | b1 | c1 b1, after `switch a1 b1`: only istiods that still have a b
    are waited for, not the proxies."""
    before = held("switch a1 b1")
    assert refused("steady b1", "distribute b1 c1", before) == {"trust-jumps": CHANGED + P}
    assert refused("steady b1", "distribute b1 c1", before, after=P) == {}


# The rules by themselves


@pytest.mark.parametrize(
    ("before", "after", "one_way"),
    [
        ("a", "a b", True),
        ("a b", "a", True),
        ("a b", "b", True),
        ("a b", "a b", True),
        ("a", "b", False),
        ("a b", "b a", False),
        ("a b", "b c", False),
        ("a c", "a b c", False),
        ("b", "a b c", True),
    ],
)
def test_trust_moves_one_way_when_one_list_stands_in_the_other(
    before: str, after: str, one_way: bool
) -> None:
    """In order and unbroken, as istiod up to 1.29 finds one text in the other."""
    assert trust_moves_one_way(tuple(before.split()), tuple(after.split())) is one_way


ROOTS = st.lists(st.sampled_from("abcd"), min_size=1, max_size=4, unique=True).map(tuple)


@given(ROOTS, ROOTS)
def test_trust_moves_one_way_both_ways(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    """What may be done may be undone."""
    assert trust_moves_one_way(one, other) == trust_moves_one_way(other, one)


@given(ROOTS, ROOTS)
def test_trust_that_moves_one_way_is_a_subset(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    """So istiod since 1.30, which compares sets, takes it too."""
    if trust_moves_one_way(one, other):
        assert set(one) <= set(other) or set(other) <= set(one)


ALL = [
    stance(phase, one, other if phase is not Phase.STEADY else None)
    for phase, one, other in product(Phase, ISSUERS, ISSUERS)
    if one != other
]


@given(st.sampled_from(ALL), st.sampled_from(ALL))
def test_two_postures_are_compatible_when_a_move_between_them_breaks_nothing(
    one: str, other: str
) -> None:
    """`compatible` is the predicate that `window_refusals` takes apart, and so is symmetric."""
    refusals = window_refusals([held(one, None)], the(other), now=CHANGED, describe=CertificateRef)
    assert compatible(the(one), the(other)) == (not refusals)
    assert compatible(the(one), the(other)) == compatible(the(other), the(one))


# The way there

CANDIDATES = {
    name: the(name)
    for name in (
        *("steady a1", "steady a2", "steady b1"),
        *(
            stance(phase, one, other)
            for phase in (Phase.DISTRIBUTE, Phase.SWITCH, Phase.RETIRE)
            for one, other in (("a1", "b1"), ("a1", "a2"), ("b1", "a1"), ("a2", "a1"))
        ),
    )
}


@pytest.mark.parametrize(
    ("current", "wanted", "first"),
    [
        ("steady a1", "steady b1", "distribute a1 b1"),
        ("steady a1", "switch a1 b1", "distribute a1 b1"),
        ("steady a1", "steady a2", "distribute a1 a2"),
        ("distribute a1 b1", "retire a1 b1", "switch a1 b1"),
        ("switch a1 b1", "steady a1", "distribute a1 b1"),
        ("retire a1 b1", "distribute a1 b1", "switch a1 b1"),
    ],
)
def test_the_first_step_leads_towards_the_wanted_posture(
    current: str, wanted: str, first: str
) -> None:
    """The shortest way there, of which the reader is told the first move."""
    assert first_step(the(current), the(wanted), CANDIDATES) == first


def test_a_legal_move_needs_no_other_first() -> None:
    """None: make it."""
    assert first_step(the("steady a1"), the("distribute a1 b1"), CANDIDATES) is None


def test_there_may_be_no_way() -> None:
    """None: no sequence of the given postures leads to a root that none of them trusts."""
    assert first_step(the("steady a1"), the("steady c1"), CANDIDATES) is None


@given(st.sampled_from(sorted(CANDIDATES)), st.sampled_from(sorted(CANDIDATES)))
def test_given_time_every_first_step_is_legal(current: str, wanted: str) -> None:
    """With nothing else in the window, the guard admits the move that it advises."""
    first = first_step(the(current), the(wanted), CANDIDATES)
    assert first is None or refused(current, first) == {}
