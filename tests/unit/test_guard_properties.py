"""The guard over random edits of the configuration: what holds for all of them.

A history is a list of edits. Each is planned as `pulumi up` would plan it, over the ledger that
the ones before have left, and then completes or is killed half-way. Certificates are real.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from meshca import plan as planning
from meshca.ledger import Attempt, Ledger, Record, advance
from meshca.ledger_reading import parse, peer_window
from meshca.material import Material
from meshca.members import members
from meshca.plan import Plan, unfinished
from meshca.refusals import Refusal, Refused
from meshca.rotation import Held, Posture, posture, trust_refusals, window_refusals
from meshca.settings import Settings, SettingsError, load
from tests.material import NOW, YEAR, Authority, authority, key

SECOND = timedelta(seconds=1)

ROOTS = ("root-a", "root-b", "root-c")
ISSUERS = ("issuer-a1", "issuer-a2", "issuer-b1", "issuer-c1")
EXPECTED_ROOT = dict(zip(ISSUERS, ("root-a", "root-a", "root-b", "root-c"), strict=True))
ENDING = "issuer-a1-ending"


@cache
def made(name: str) -> Authority:
    """The offline certificate of that name; one of the issuers ends within three days."""
    number = (*ROOTS, *ISSUERS, ENDING).index(name)
    private = key("P-256", 2000 + number)
    if name in ROOTS:
        return authority(name, private=private)
    root = made(EXPECTED_ROOT[name.removesuffix("-ending")])
    end = NOW + (timedelta(days=3) if name == ENDING else YEAR)
    return authority(name, under=root, private=private, end=end)


@dataclass(frozen=True)
class Edit:
    """A configuration, how long after the one before it came, and whether its `up` completes."""

    config: Mapping[str, Any]
    after: timedelta
    completes: bool

    def files(self) -> Material:
        """The certificates that the configuration names."""

        def named(what: str) -> dict[str, Any]:
            return {
                name: made(entry["certificate"].removesuffix(".pem")).certificate
                for name, entry in self.config[what].items()
                if "certificate" in entry
            }

        return Material(named("roots"), named("issuers"), {})


OFFLINE_ROOTS = {name: {"certificate": f"{name}.pem"} for name in ROOTS}
OFFLINE_ISSUERS = {
    name: {"root": root, "certificate": f"{name}.pem"} for name, root in EXPECTED_ROOT.items()
}
Stance = tuple[str, ...]
Change = Callable[[dict[str, Any]], dict[str, Any]]


def configuration(stance: Stance) -> dict[str, Any]:
    """A configuration of offline certificates in that stance."""
    phase, active, *following = stance
    return {
        "rotationPhase": phase,
        "activeIssuer": active,
        **({"nextIssuer": following[0]} if following else {}),
        "roots": OFFLINE_ROOTS,
        "issuers": OFFLINE_ISSUERS,
        "cluster": {"name": "mesh", "resourceGroup": "group", "revisions": ["asm-1-30"]},
        "keyVault": {"name": "mesh-ca", "accessModel": "rbac"},
    }


def near(stance: Stance) -> list[Stance]:
    """The phases before and after, for every issuer that may follow; and the same once more."""
    phase, active, *following = stance
    if phase == "steady":
        others = [name for name in ISSUERS if name != active]
        return [stance, *(("distribute", active, other) for other in others)]
    pair = (active, *following)
    return {
        "distribute": [stance, ("switch", *pair), ("switch", *pair), ("steady", active)],
        "switch": [stance, ("retire", *pair), ("steady", *following), ("distribute", *pair)],
        "retire": [stance, ("steady", *following), ("switch", *pair)],
    }[phase]


PAIRS = st.tuples(st.sampled_from(ISSUERS), st.sampled_from(ISSUERS))
ANYWHERE = st.one_of(
    st.tuples(st.just("steady"), st.sampled_from(ISSUERS)),
    st.builds(
        lambda phase, pair: (phase, *pair),
        st.sampled_from(["distribute", "switch", "retire"]),
        PAIRS,
    ),
)
DELAYS = st.sampled_from(
    [timedelta(minutes=1), timedelta(minutes=7), timedelta(hours=13), timedelta(hours=25)]
)


@st.composite
def walks(draw: st.DrawFn, spoilt: st.SearchStrategy[Change] | None = None) -> list[Edit]:
    """Edits that go on or back by one phase, now and then astray, from a first completed `up` on.
    `spoilt` is what is done to every configuration but the first."""
    stance: Stance = ("steady", draw(st.sampled_from(ISSUERS)))
    edits = [Edit(configuration(stance), timedelta(0), completes=True)]
    for _ in range(draw(st.integers(2, 7))):
        stance = draw(st.sampled_from(near(stance)))
        stray = draw(st.integers(0, 5)) == 5
        config = configuration(draw(ANYWHERE) if stray else stance)
        for change in draw(st.lists(spoilt, max_size=2)) if spoilt is not None else []:
            config = change(config)
        completes = draw(st.sampled_from([True, True, True, False]))
        edits.append(Edit(config, draw(DELAYS), completes))
    return edits


def putting(path: tuple[str, ...], value: Any) -> Change:
    """Puts something at a path of the configuration; None takes away what is there."""
    return lambda config: _put(config, path, value)


def _put(config: Mapping[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    first, *rest = path
    inside = _put(config.get(first, {}), tuple(rest), value) if rest else value
    return {
        **{key: each for key, each in config.items() if key != first},
        **({} if inside is None else {first: inside}),
    }


@st.composite
def changes(draw: st.DrawFn) -> Change:
    """What a person may do to a configuration, in order or not."""
    root, issuer = draw(st.sampled_from(ROOTS)), draw(st.sampled_from(ISSUERS))
    choices: list[tuple[tuple[str, ...], Any]] = [
        (("roots", root), None),
        (("roots", root), {}),
        (("roots", root), {"generated": {}}),
        (("issuers", issuer), None),
        (("issuers", issuer), {"root": root}),
        (("issuers", issuer, "root"), root),
        *((("issuers", issuer, "certificate"), f"{name}.pem") for name in (ENDING, *ISSUERS)),
        (("issuers", issuer, "certificate"), None),
        (("activeIssuer",), None),
        (("nextIssuer",), issuer),
        (("leafTtl",), "1h"),
        (("leafTtl",), "90d"),
        (("slack",), "1s"),
        (("cluster", "revisions"), ["asm-1-19"]),
        (("cluster", "rotationPollInterval"), "12h"),
        (("keyVault",), None),
        (("override",), draw(OVERRIDES)),
    ]
    path, value = draw(st.sampled_from(choices))
    return putting(path, value)


OVERRIDES = st.builds(
    lambda before, after: {
        "move": f"{' '.join(before)} -> {' '.join(after)}",
        "reason": "the key of the issuer may be known to others",
    },
    ANYWHERE,
    ANYWHERE,
)
TIDY = walks()
"""Histories of phases and issuers over one set of offline certificates."""
WILD = walks(changes())
"""The same with everything else changed, too."""

Answer = Plan | tuple[Refusal, ...] | None

FEW = settings(max_examples=40)


@dataclass(frozen=True)
class Event:
    """An edit that could be read, and what the guard made of it."""

    edit: Edit
    wanted: Settings
    files: Material
    ledger: Ledger | None
    now: datetime
    answer: Answer

    def again(self, **changed: Any) -> Answer:
        """The guard's answer once more, perhaps at another time."""
        given = {"ledger": self.ledger, "now": self.now, **changed}
        return judged(self.wanted, self.files, **given)


def judged(wanted: Settings, files: Material, **given: Any) -> Answer:
    """The plan, or why there is none; anything but a refusal is an error."""
    try:
        return planning.plan(wanted, files, **given)
    except Refused as refused:
        return refused.refusals


def history(edits: list[Edit]) -> Iterator[Event]:
    """What comes of the edits, one after the other."""
    now, ledger, recorded = NOW, None, None
    for edit in edits:
        now += edit.after
        try:
            wanted = load({f"aks-istio-ca:{key}": value for key, value in edit.config.items()})
        except SettingsError:
            continue
        files = edit.files()
        answer = judged(wanted, files, ledger=ledger, now=now)
        yield Event(edit, wanted, files, ledger, now, answer)
        if isinstance(answer, Plan):
            ledger, recorded = up(answer, ledger, recorded, now, edit.completes)


def up(
    admitted: Plan, ledger: Ledger | None, recorded: Attempt | None, now: datetime, completes: bool
) -> tuple[Ledger | None, Attempt | None]:
    """Records the attempt, and completes it or is killed (as components/attempt.py has it)."""
    if admitted.moves and unfinished(ledger, recorded, admitted.attempt) is not None:
        return ledger, recorded
    recorded = admitted.attempt if admitted.moves else recorded
    if not completes:
        return ledger, recorded
    after = advance(
        ledger,
        now=now,
        stance=admitted.stance,
        posture=admitted.posture,
        pace=admitted.pace,
        records={
            identity: Record(member.reference, member.root)
            for identity, member in admitted.members.items()
        },
        access=None,
        mesh=True,
        attempt=recorded,
        override=admitted.override,
        uncertain=admitted.uncertain,
    )
    return after, recorded


@FEW
@given(WILD)
def test_the_guard_is_total(edits: list[Edit]) -> None:
    """Whatever is configured, in whatever order, `load` raises a SettingsError or the guard gives
    a plan, nothing, or refusals that are one line each."""
    for event in history(edits):
        if isinstance(event.answer, tuple):
            assert event.answer
            assert all("\n" not in str(refusal) for refusal in event.answer)


@FEW
@given(WILD)
def test_the_guard_is_a_function(edits: list[Edit]) -> None:
    """Asked twice, it answers the same."""
    for event in history(edits):
        assert event.again() == event.answer


@FEW
@given(TIDY)
def test_what_was_completed_is_no_move_any_more(edits: list[Edit]) -> None:
    """Planning the same configuration again is admitted and writes nothing, at any later time."""
    for event in history(edits):
        if isinstance(event.answer, Plan):
            after, _ = up(event.answer, event.ledger, None, event.now, completes=True)
            for later in (timedelta(0), timedelta(hours=5), timedelta(days=3)):
                again = event.again(ledger=after, now=event.now + later)
                assert isinstance(again, Plan)
                assert not again.moves


@FEW
@given(TIDY)
def test_the_time_in_a_refusal_is_exact(edits: list[Edit]) -> None:
    """A second earlier the same refusal stands, at that time it is gone; when all that refuse
    name a time, the move is admitted at the latest of them."""
    for event in history(edits):
        if not isinstance(event.answer, tuple):
            continue
        timed = [refusal for refusal in event.answer if refusal.legal_at is not None]
        for refusal in timed:
            assert refusal.legal_at is not None
            before = event.again(now=max(event.now, refusal.legal_at - SECOND))
            at = event.again(now=refusal.legal_at)
            assert isinstance(before, tuple)
            assert (refusal.id, refusal.legal_at) in {(one.id, one.legal_at) for one in before}
            assert not isinstance(at, tuple) or refusal.id not in {
                one.id for one in at if one.legal_at is not None
            }
        if len(timed) == len(event.answer):
            last = max(refusal.legal_at for refusal in timed if refusal.legal_at is not None)
            assert isinstance(event.again(now=last), Plan)


@FEW
@given(TIDY)
def test_the_plan_asks_the_guard_that_was_proven(edits: list[Edit]) -> None:
    """A move is refused by the rules of the predicate exactly when `window_refusals` and
    `trust_refusals`, which the exhaustive search explores, refuse it."""
    rules = {
        *("signs-too-early", "retires-too-early", "chain-too-early", "drops-chain-too-early"),
        "trust-jumps",
    }
    for event in history(edits):
        if event.ledger is None:
            continue
        answer = event.answer if isinstance(event.answer, tuple) else ()
        wanted = _wanted(event)
        held = event.ledger.held() if wanted != event.ledger.posture else ()
        found = [
            *window_refusals(held, wanted, now=event.now, describe=event.ledger.describe),
            *trust_refusals(held, wanted, describe=event.ledger.describe),
        ]
        assert {(one.id, one.legal_at) for one in found} == {
            (one.id, one.legal_at) for one in answer if one.id in rules
        }


def _wanted(event: Event) -> Posture:
    """The posture that the configuration asks for."""
    known = members(event.wanted, event.files, now=event.now)
    names = (event.wanted.active_issuer, event.wanted.next_issuer)
    issuers = [known[name].intermediate for name in names if name is not None]
    return posture(event.wanted.rotation_phase, *issuers)


NEW_NAMES = {
    **{name: f"anchor-{number}" for number, name in enumerate(reversed(ROOTS))},
    **{name: f"signer-{number}" for number, name in enumerate(reversed(ISSUERS))},
}


def renamed(value: Any) -> Any:
    """The same configuration with other names for roots and issuers, and the same files."""
    if isinstance(value, Mapping):
        return {
            NEW_NAMES.get(key, key): each if key == "certificate" else renamed(each)
            for key, each in value.items()
        }
    return NEW_NAMES.get(value, value) if isinstance(value, str) else value


def told(answer: Answer, names: Mapping[str, str]) -> list[str]:
    """What the reader is told, with these names in the place of those."""
    if not isinstance(answer, tuple):
        lines = [answer.stance if answer else ""]
    else:
        lines = [str(refusal) for refusal in answer]
    for old, new in names.items():
        lines = [line.replace(old, new) for line in lines]
    return lines


@FEW
@given(TIDY)
def test_the_guard_does_not_depend_on_names(edits: list[Edit]) -> None:
    """With offline roots and issuers renamed throughout, it says the same about the other names."""
    other = [replace(edit, config=renamed(edit.config)) for edit in edits]
    for one, two in zip(history(edits), history(other), strict=True):
        assert told(one.answer, NEW_NAMES) == told(two.answer, {})


@FEW
@given(TIDY)
def test_the_ledger_of_any_history_is_read_back(edits: list[Edit]) -> None:
    """Whatever was admitted and completed."""
    for event in history(edits):
        if event.ledger is not None:
            assert parse(event.ledger.as_json(), where="here") == event.ledger


@FEW
@given(TIDY, TIDY)
def test_peers_only_ever_add_refusals(edits: list[Edit], theirs: list[Edit]) -> None:
    """What is refused without peers is refused with them."""
    ledgers = [event.ledger for event in history(theirs) if event.ledger is not None]
    peers: list[Held] = [
        entry for ledger in ledgers[-1:] for entry in peer_window(ledger.as_json(), peer="west")
    ]
    for event in history(edits):
        with_peers = event.again(peers=peers)
        if isinstance(event.answer, tuple):
            assert isinstance(with_peers, tuple)
            assert {one.id for one in event.answer} <= {one.id for one in with_peers}
