"""What a completed `up` records, what of the past still counts, and what is read back."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshca.ledger import (
    PROPAGATION,
    Access,
    Attempt,
    Ledger,
    Record,
    Restarts,
    advance,
    pending_attempt,
)
from meshca.ledger_reading import parse, parse_attempt, peer_window
from meshca.plan import unfinished
from meshca.refusals import CertificateRef, Refused
from meshca.rotation import Held, Intermediate, Pace, Phase, Posture, posture, stance

NOW = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
PACE = Pace(DAY, timedelta(minutes=2), timedelta(minutes=5))
ISSUERS = {name: Intermediate(name, name[0]) for name in ("a1", "a2", "b1")}
RECORDS = {
    **{root: Record(CertificateRef(root, root * 64, NOW + 900 * DAY)) for root in "ab"},
    **{
        name: Record(CertificateRef(name, "f" * 64, NOW + 400 * DAY), issuer.root)
        for name, issuer in ISSUERS.items()
    },
}


def the(text: str) -> Posture:
    """The posture of a stance such as `switch a1 b1`."""
    phase, *names = text.split()
    return posture(Phase(phase), *(ISSUERS[name] for name in names))


def up(ledger: Ledger | None, to: str, at: datetime = NOW, **more: Any) -> Ledger:
    """The ledger after an `up` that completed `to` at that moment."""
    given: dict[str, Any] = {"pace": PACE, "records": RECORDS, "access": None, "mesh": True, **more}
    return advance(ledger, now=at, stance=to, posture=the(to), **given)


def attempt(ledger: Ledger, to: str) -> Attempt:
    """What an `up` records before it writes."""
    return Attempt(ledger.serial, to, the(to))


STEADY = up(None, "steady a1")
DISTRIBUTE = up(STEADY, "distribute a1 b1", NOW + DAY)
SWITCH = up(DISTRIBUTE, "switch a1 b1", NOW + 3 * DAY)


def window(ledger: Ledger) -> list[tuple[Posture, datetime | None]]:
    """What counts, and when it ended."""
    return [(entry.posture, entry.until) for entry in ledger.window]


# What a completed `up` records


def test_the_first_ledger_has_an_empty_window() -> None:
    """Nothing was in force before, for all that is known."""
    assert (STEADY.serial, STEADY.since, STEADY.window) == (1, NOW, ())


def test_a_move_puts_the_posture_before_it_into_the_window() -> None:
    """It was in force until the `up` that replaced it was complete."""
    assert window(DISTRIBUTE) == [(the("steady a1"), NOW + DAY)]
    assert (DISTRIBUTE.serial, DISTRIBUTE.since) == (2, NOW + DAY)


def test_an_up_without_change_leaves_the_ledger_as_it_is() -> None:
    """Byte for byte, whenever it runs."""
    again = up(DISTRIBUTE, "distribute a1 b1", NOW + 5 * DAY)
    assert json.dumps(again.as_json()) == json.dumps(DISTRIBUTE.as_json())


def test_what_has_left_its_window_is_dropped_with_the_next_move() -> None:
    """`steady a1` ended two days before the switch."""
    assert window(SWITCH) == [(the("distribute a1 b1"), NOW + 3 * DAY)]


def test_what_still_counts_is_kept_with_the_next_move() -> None:
    """Moves within a day of each other fill the window."""
    ledger = up(DISTRIBUTE, "steady a1", NOW + DAY + HOUR)
    assert window(ledger) == [
        (the("steady a1"), NOW + DAY),
        (the("distribute a1 b1"), NOW + DAY + HOUR),
    ]


def test_the_finish_changes_the_stance_and_nothing_else() -> None:
    """`retire a1 b1` and `steady b1` are one posture."""
    retired = up(SWITCH, "retire a1 b1", NOW + 5 * DAY)
    finished = up(retired, "steady b1", NOW + 6 * DAY)
    assert finished == replace(retired, stance="steady b1")


def test_what_is_in_the_window_stays_on_record() -> None:
    """Also when the configuration has dropped it, so that a refusal can name it."""
    known = {name: RECORDS[name] for name in ("b", "b1")}
    ledger = up(SWITCH, "steady b1", NOW + 5 * DAY, records=known)
    assert ledger.records.keys() == {"a", "a1", "b", "b1"}


def test_what_counts_no_longer_is_forgotten() -> None:
    """With the next move after its window has passed."""
    known = {name: RECORDS[name] for name in ("b", "b1", "a", "a2")}
    retired = up(SWITCH, "retire a1 b1", NOW + 5 * DAY)
    ledger = up(retired, "distribute b1 a2", NOW + 9 * DAY, records=known)
    assert window(ledger) == [(the("retire a1 b1"), NOW + 9 * DAY)]
    assert ledger.records.keys() == known.keys()


# Pace


def test_a_shorter_leaf_life_keeps_counting_the_longer_one() -> None:
    """Leaves that were issued until then live on: the posture in force enters the window too."""
    quick = replace(PACE, leaf_ttl=HOUR)
    ledger = up(STEADY, "steady a1", NOW + DAY, pace=quick)
    assert ledger.window == (Held(the("steady a1"), PACE, NOW + DAY),)
    assert ledger.pace == quick


def test_a_shorter_leaf_life_in_a_move_counts_the_longer_one_for_both() -> None:
    """Leaves of the new posture were issued with the longer life, too."""
    ledger = up(STEADY, "distribute a1 b1", NOW + DAY, pace=replace(PACE, leaf_ttl=HOUR))
    assert ledger.window == (
        Held(the("steady a1"), PACE, NOW + DAY),
        Held(the("distribute a1 b1"), PACE, NOW + DAY),
    )


def test_a_longer_leaf_life_needs_no_entry() -> None:
    """The posture in force counts with the new pace."""
    slow = replace(PACE, leaf_ttl=3 * DAY)
    ledger = up(STEADY, "steady a1", NOW + DAY, pace=slow)
    assert ledger.held() == (Held(the("steady a1"), slow),)


# Interrupted moves


def test_an_attempt_is_pending_until_a_completed_up_has_settled_it() -> None:
    """Its base is the serial of the ledger that it started from."""
    started = attempt(DISTRIBUTE, "switch a1 b1")
    assert pending_attempt(DISTRIBUTE, started) == started
    finished = up(DISTRIBUTE, "switch a1 b1", NOW + 3 * DAY, attempt=started)
    assert pending_attempt(finished, started) is None


def test_taking_a_move_back_puts_the_attempt_into_the_window() -> None:
    """Its files may have been read; from now on they are not."""
    started = attempt(DISTRIBUTE, "switch a1 b1")
    ledger = up(DISTRIBUTE, "distribute a1 b1", NOW + 3 * DAY, attempt=started)
    assert window(ledger) == [(the("switch a1 b1"), NOW + 3 * DAY)]
    assert (ledger.since, ledger.posture) == (DISTRIBUTE.since, DISTRIBUTE.posture)


def test_taking_a_move_back_settles_it() -> None:
    """Otherwise the next move would be refused as if it were still unfinished."""
    started = attempt(DISTRIBUTE, "switch a1 b1")
    ledger = up(DISTRIBUTE, "distribute a1 b1", NOW + 3 * DAY, attempt=started)
    assert pending_attempt(ledger, started) is None


def test_finishing_a_move_counts_no_attempt() -> None:
    """What it wrote is in force."""
    started = attempt(DISTRIBUTE, "switch a1 b1")
    ledger = up(DISTRIBUTE, "switch a1 b1", NOW + 3 * DAY, attempt=started)
    assert window(ledger) == [(the("distribute a1 b1"), NOW + 3 * DAY)]


def test_an_attempt_of_before_counts_no_longer() -> None:
    """Its ledger has moved on."""
    old = attempt(STEADY, "distribute a1 b1")
    ledger = up(DISTRIBUTE, "distribute a1 b1", NOW + 3 * DAY, attempt=old)
    assert ledger == DISTRIBUTE


@pytest.mark.parametrize("to", ["switch a1 b1", "steady a1"])
def test_an_interrupted_move_may_be_finished_or_taken_back(to: str) -> None:
    """`distribute` was interrupted on the way from `steady`... finish it, or go back."""
    ledger = STEADY if to == "steady a1" else DISTRIBUTE
    started = attempt(ledger, to)
    assert unfinished(ledger, started, attempt(ledger, to)) is None


def test_another_move_over_an_interrupted_one_is_refused() -> None:
    """The refusal names what to finish and what to go back to."""
    refusal = unfinished(
        DISTRIBUTE, attempt(DISTRIBUTE, "switch a1 b1"), attempt(DISTRIBUTE, "steady a1")
    )
    assert refusal is not None
    assert (refusal.id, refusal.legal_at) == ("move-unfinished", None)
    assert refusal.mitigation == (
        "Set the configuration to `switch a1 b1` and run `pulumi up` to finish it, or to "
        "`distribute a1 b1` to take it back; then make this move."
    )


def test_a_stance_of_the_same_posture_finishes_an_interrupted_move() -> None:
    """`steady b1` is what `retire a1 b1` was about to write."""
    started = attempt(SWITCH, "retire a1 b1")
    assert unfinished(SWITCH, started, attempt(SWITCH, "steady b1")) is None


def test_before_the_first_ledger_nothing_is_unfinished() -> None:
    """No mesh reads the secrets yet."""
    first = Attempt(0, "steady a1", the("steady a1"))
    other = Attempt(0, "steady a2", the("steady a2"))
    assert unfinished(None, first, other) is None


def test_a_mixed_ledger_keeps_its_posture() -> None:
    """Only a part was written: the ledger says so and stays where it was."""
    mixed = DISTRIBUTE.with_mixed("switch a1 b1")
    assert (mixed.posture, mixed.mixed) == (DISTRIBUTE.posture, "switch a1 b1")
    assert mixed.as_json()["state"] == "mixed"


def test_a_completed_up_ends_the_mixture() -> None:
    """In whichever direction."""
    mixed = DISTRIBUTE.with_mixed("switch a1 b1")
    assert up(mixed, "distribute a1 b1", NOW + 2 * DAY).mixed is None


# Restarts as evidence

SHOWN = NOW + 3 * DAY + timedelta(minutes=10)
DONE = SHOWN + timedelta(minutes=10)
MADE = Restarts("digest", SHOWN, ("Deployment shop/web",))
WRITTEN = {"root-cert": "2027-03-01T12:00:00Z", "cert-chain": "2027-03-04T12:05:00Z"}


def test_restarts_empty_the_window() -> None:
    """What was in force before every istiod showed the new files is nowhere in use."""
    ledger = up(DISTRIBUTE, "switch a1 b1", DONE, restarts=MADE, written=WRITTEN)
    assert (ledger.window, ledger.propagation) == ((), "restarts")


def test_restarts_empty_the_window_of_an_attempt_that_was_taken_back() -> None:
    """The attempt ended before they were made."""
    started = attempt(DISTRIBUTE, "switch a1 b1")
    ledger = up(
        DISTRIBUTE, "distribute a1 b1", DONE, attempt=started, restarts=MADE, written=WRITTEN
    )
    assert ledger.window == ()


def test_restarts_of_an_earlier_move_prove_nothing_about_this_one() -> None:
    """A change of the chain leaves trust and signer alone, so no restart is made for it; those on
    record came before it, and istiods may lag."""
    before = up(STEADY, "steady a1", DONE, restarts=MADE, written={})
    ledger = up(before, "distribute a1 a2", DONE + HOUR, restarts=MADE, written={})
    assert window(ledger) == [(the("steady a1"), DONE + HOUR)]
    assert ledger.propagation == "waiting"


def test_restarts_that_came_before_a_secret_was_written_prove_nothing() -> None:
    """An `up` that takes a move back may find the restarts of before the attempt."""
    written = {**WRITTEN, "ca-key": "2027-03-04T12:11:00Z"}
    started = attempt(DISTRIBUTE, "switch a1 b1")
    ledger = up(
        DISTRIBUTE, "distribute a1 b1", DONE, attempt=started, restarts=MADE, written=written
    )
    assert window(ledger) == [(the("switch a1 b1"), DONE)]


def test_restarts_do_not_shorten_the_leaves_of_a_longer_life() -> None:
    """A pod that was restarted before the life became shorter has a leaf of the longer one."""
    quick = replace(PACE, leaf_ttl=HOUR)
    ledger = up(DISTRIBUTE, "switch a1 b1", DONE, pace=quick, restarts=MADE, written=WRITTEN)
    assert ledger.window == (Held(the("switch a1 b1"), PACE, DONE),)


def test_restarts_with_laggards_tell_since_when_the_posture_is_in_force() -> None:
    """Every istiod showed it, so nothing else was handed out since; the window has to pass."""
    lagging = replace(MADE, laggards=("shop/old",))
    ledger = up(DISTRIBUTE, "switch a1 b1", DONE, restarts=lagging, written=WRITTEN)
    assert window(ledger) == [(the("distribute a1 b1"), SHOWN)]


# What comes next


@pytest.mark.parametrize(
    ("ledger", "next_stance", "not_before"),
    [
        (DISTRIBUTE, "switch a1 b1", DISTRIBUTE.since + PACE.renewal),
        (SWITCH, "retire a1 b1", SWITCH.since + PACE.renewal),
        (up(SWITCH, "retire a1 b1", NOW + 5 * DAY), "steady b1", NOW + 5 * DAY),
        (
            up(STEADY, "distribute a1 a2", NOW + DAY),
            "switch a1 a2",
            NOW + DAY + PACE.reload,
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_next_move_and_when(ledger: Ledger, next_stance: str, not_before: datetime) -> None:
    """The next phase of the rotation, when its windows have passed."""
    move = ledger.next_move()
    assert move is not None
    assert (move.stance, move.not_before) == (next_stance, not_before)


def test_in_a_steady_phase_nothing_comes_next() -> None:
    """The next rotation is the operator's to begin."""
    assert STEADY.next_move() is None


@pytest.mark.parametrize("first", [True, False])
def test_the_next_move_is_that_of_the_issuer_in_force(first: bool) -> None:
    """A record that stays of an earlier certificate with the same name does not stand for it."""
    earlier = {"old": Record(CertificateRef("b1", "e" * 64, NOW), "a")}
    both = [earlier, DISTRIBUTE.records] if first else [DISTRIBUTE.records, earlier]
    ledger = replace(DISTRIBUTE, records={**both[0], **both[1]})
    move = ledger.next_move()
    assert move is not None
    assert move.not_before == DISTRIBUTE.since + PACE.renewal


# Peers


def test_all_that_counts_in_a_peer_counts_here() -> None:
    """The posture in force and the window, under the peer's name."""
    assert peer_window(DISTRIBUTE.as_json(), peer="west") == [
        Held(the("distribute a1 b1"), PACE, None, "west"),
        Held(the("steady a1"), PACE, NOW + DAY, "west"),
    ]


def test_a_peer_without_a_ledger_has_nothing_that_counts() -> None:
    """Its mesh is not there yet."""
    assert peer_window(None, peer="west") == []


def test_what_a_peer_generated_is_another_thing_than_what_is_called_so_here() -> None:
    """Two stacks that generate a root `a` have two roots."""
    own = Intermediate("generated:a1:0", "generated:a:0")
    shown = posture(Phase.STEADY, own)
    records = {
        "generated:a:0": Record(CertificateRef("a")),
        "generated:a1:0": Record(CertificateRef("a1"), "generated:a:0"),
    }
    ledger = replace(STEADY, posture=shown, records=records)
    [entry] = peer_window(ledger.as_json(), peer="west")
    assert entry.posture.trust == ("west/generated:a:0",)
    assert entry.posture.signer == Intermediate("west/generated:a1:0", "west/generated:a:0")
    assert entry.posture.chain == ("west/generated:a1:0",)


def test_the_refusal_of_a_peers_ledger_names_the_stack() -> None:
    """So that it is clear whose state to look at."""
    with pytest.raises(Refused, match="the output `rotation` of stack west is not a ledger"):
        peer_window({"version": 1}, peer="west")


# Reading back

MOMENTS = st.datetimes(
    min_value=datetime(2000, 1, 1),
    max_value=datetime(2100, 1, 1),
    timezones=st.just(UTC),
).map(lambda moment: moment.replace(microsecond=0))
SPANS = st.integers(0, 90 * 86400).map(lambda seconds: timedelta(seconds=seconds))
PACES = st.builds(Pace, SPANS, SPANS, SPANS)
ALL = [
    stance(phase, one, other if phase is not Phase.STEADY else None)
    for phase in Phase
    for one in ISSUERS
    for other in ISSUERS
    if one != other
]
TEXTS = st.text(min_size=1, max_size=20)
RESTARTS = st.builds(
    Restarts,
    TEXTS,
    MOMENTS,
    st.lists(TEXTS, max_size=2).map(tuple),
    st.lists(TEXTS, max_size=2).map(tuple),
)


@st.composite
def ledgers(draw: st.DrawFn) -> Ledger:
    """Any ledger that this program may have written."""
    now = draw(st.sampled_from(ALL))
    past = draw(st.lists(st.tuples(st.sampled_from(ALL), PACES, MOMENTS), max_size=3))
    return Ledger(
        serial=draw(st.integers(1, 1000)),
        stance=now,
        posture=the(now),
        since=draw(MOMENTS),
        pace=draw(PACES),
        window=tuple(Held(the(name), pace, until) for name, pace, until in past),
        records=RECORDS,
        access=draw(st.none() | st.builds(Access, TEXTS, TEXTS)),
        mesh=draw(st.booleans()),
        propagation=draw(st.sampled_from(PROPAGATION)),
        override=draw(st.none() | st.fixed_dictionaries({"move": TEXTS, "reason": TEXTS})),
        mixed=draw(st.none() | st.sampled_from(ALL)),
        written=draw(st.dictionaries(TEXTS, st.just("2027-03-01T12:00:00Z"), max_size=2)),
        restarts=draw(st.none() | RESTARTS),
    )


def as_pulumi_returns(value: object) -> Any:
    """An output as a StackReference hands it back: every number a float, what is null gone."""
    if isinstance(value, Mapping):
        return {key: as_pulumi_returns(each) for key, each in value.items() if each is not None}
    if isinstance(value, list):
        return [as_pulumi_returns(each) for each in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


@given(ledgers())
def test_a_ledger_is_read_back_as_it_was(ledger: Ledger) -> None:
    """Through JSON and through Pulumi, which makes every number a float and drops nulls."""
    written = json.loads(json.dumps(ledger.as_json()))
    assert parse(written, where="here") == ledger
    assert parse(as_pulumi_returns(written), where="here") == ledger


@given(ledgers())
def test_a_peer_reads_what_the_ledger_holds(ledger: Ledger) -> None:
    """Its window is that of the ledger, posture by posture."""
    read = peer_window(as_pulumi_returns(ledger.as_json()), peer="west")
    assert [replace(entry, peer=None) for entry in read] == list(ledger.held())


@given(st.integers(0, 99), st.sampled_from(ALL))
def test_an_attempt_is_read_back_as_it_was(base: int, name: str) -> None:
    """The same for what is recorded before the first write."""
    recorded = Attempt(base, name, the(name))
    assert parse_attempt(as_pulumi_returns(recorded.as_json())) == recorded


def test_no_output_is_no_ledger() -> None:
    """And no attempt."""
    assert parse(None, where="here") is None
    assert parse_attempt(None) is None


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", "steady a1 b1"])
)
JUNK = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


def places(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value inside a JSON value."""
    inside: list[tuple[Any, ...]] = []
    if isinstance(value, dict):
        inside = [place for key in value for place in places(value[key], (*path, key))]
    elif isinstance(value, list):
        inside = [place for at, each in enumerate(value) for place in places(each, (*path, at))]
    return [path, *inside]


def put(value: Any, path: tuple[Any, ...], junk: object) -> Any:
    """The JSON value with something else at that path."""
    if not path:
        return junk
    copy = value.copy()
    copy[path[0]] = put(value[path[0]], path[1:], junk)
    return copy


@st.composite
def damaged(draw: st.DrawFn) -> Any:
    """A ledger's JSON with junk somewhere in it, or something missing."""
    value = draw(ledgers()).as_json()
    if draw(st.booleans()):
        return put(value, draw(st.sampled_from(places(value))), draw(JUNK))
    del value[draw(st.sampled_from(sorted(value)))]
    return value


UNREADABLE = r"\Aledger-unreadable: [^\n]+\Z"


def reading(read: Callable[[], object]) -> object:
    """What is read; the refusal if it is refused in one line; anything else is raised."""
    try:
        return read()
    except Refused as refused:
        return str(refused)


@given(JUNK.filter(lambda junk: junk is not None))
def test_junk_is_refused_as_unreadable(junk: object) -> None:
    """In one line, and nothing else is raised."""
    with pytest.raises(Refused, match=UNREADABLE):
        parse(junk, where="here")


@given(damaged())
def test_a_damaged_ledger_is_refused_as_unreadable_or_read_as_a_ledger(value: object) -> None:
    """Where the damage leaves a ledger (another name, another time), that is written and read."""
    found = reading(lambda: parse(value, where="here"))
    if isinstance(found, Ledger):
        assert parse(found.as_json(), where="here") == found
    else:
        assert found is None or re.match(UNREADABLE, str(found))


@given(damaged() | JUNK)
def test_a_damaged_ledger_of_a_peer_is_refused_or_read(value: object) -> None:
    """The same for peers; what is read has an end for every posture that is not in force."""
    found = reading(lambda: peer_window(value, peer="west"))
    if isinstance(found, list):
        assert all(entry.until is None or entry.leaves_trust_window() for entry in found)
    else:
        assert re.match(UNREADABLE, str(found))


@given(JUNK)
def test_a_junk_attempt_is_refused_as_unreadable(junk: object) -> None:
    """The state could have been edited by hand."""
    if junk is not None:
        with pytest.raises(Refused, match="the recorded attempt is not a ledger"):
            parse_attempt(junk)


@pytest.mark.parametrize(
    ("path", "junk", "why"),
    [
        (("version",), 2, "that a newer version of this program wrote"),
        (("serial",), 1.5, "TypeError: not a whole number"),
        (("serial",), True, "TypeError: not a whole number"),
        (("mesh",), 1, "TypeError: not true or false"),
        (("posture", "trust"), "ab", "TypeError: not a list"),
        (("posture", "chain"), [], "ValueError: empty"),
        (("posture", "signer", "root"), "", "TypeError: not a text"),
        (("pace", "poll"), -1, "ValueError: below zero"),
        (("pace", "poll"), 10**12, "ValueError: 1000000000000 seconds are no pace"),
        (("since",), "2027-03-01T12:00:00", "names no time zone"),
        (("stance",), "switch a1", "ValueError: stance 'switch a1'"),
        (("stance",), "switch a1 z9", r"no record of \['z9'\]"),
        (("records", "b1", "root"), None, r"no record of \['b1'\]"),
        (("propagation",), "hearsay", "propagation 'hearsay'"),
    ],
)
def test_what_is_wrong_with_a_ledger_is_said(path: tuple[str, ...], junk: object, why: str) -> None:
    """In the words of the first thing that could not be read."""
    with pytest.raises(Refused, match=why):
        parse(put(DISTRIBUTE.as_json(), path, junk), where="the output `rotation`")
