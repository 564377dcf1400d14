"""One mesh by the clock: two istiods and three proxies, each step at a time of its own.

The search keeps sets and knows no clock. Here are the things themselves: an istiod reads one file
after the other, proxies hold one leaf until they renew, windows end when their time has come. A
run checks every thing against the sets, and every pair of proxies against each other.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from random import Random

from meshca.bundle import CA_CERT, CA_KEY, CERT_CHAIN, ROOT_CERT
from meshca.rotation import trust_moves_one_way
from meshca.secrets import WRITE_ORDER
from tests.unit.model.cast import POSTURES, Stance, files, root_of
from tests.unit.model.guard import Guard
from tests.unit.model.mesh import Mesh, proxies, working
from tests.unit.model.moves import Act, Step, steps

Files = dict[str, tuple[str, ...]]

READ = 6
"""P: within this many ticks a mount is renewed, from the first file read on."""
LEAF = 9
"""A proxy renews before its leaf is this old."""


@dataclass
class Istiod:
    """A replica: what is mounted, since when, and what it works with (None: it does not start)."""

    mounted: Files
    read_at: int
    loaded: Files | None
    reading: Files = field(default_factory=dict)
    reading_since: int = 0

    def read(self, vault: Files, file: str, now: int) -> None:
        """Reads one file; with the last one, the mount is renewed and istiod looks at it."""
        if not self.reading:
            self.reading_since = now
        self.reading[file] = vault[file]
        if len(self.reading) == len(WRITE_ORDER):
            self.mounted, self.read_at, self.reading = self.reading, self.reading_since, {}
            running = self.loaded is not None
            if _sound(self.mounted) and (not running or self._may_follow()):
                self.loaded = self.mounted

    def _may_follow(self) -> bool:
        assert self.loaded is not None
        return trust_moves_one_way(self.loaded[ROOT_CERT], self.mounted[ROOT_CERT])

    def restart(self) -> None:
        """Starts with what is mounted, or does not."""
        self.loaded = self.mounted if _sound(self.mounted) else None


def _sound(mounted: Files) -> bool:
    [cert] = mounted[CA_CERT]
    return mounted[CA_KEY] == (cert,) and root_of(cert) in mounted[ROOT_CERT]


@dataclass
class Proxy:
    """What came with the last renewal, and when that was."""

    given: Files
    renewed_at: int

    def accepts(self, leaf: Files) -> bool:
        """Whether the peer's leaf comes with its issuer, under a root that is trusted."""
        [signer] = leaf[CA_CERT]
        return signer in leaf[CERT_CHAIN] and root_of(signer) in self.given[ROOT_CERT]


class MeshByTheClock:
    """Two istiods, three proxies, one vault, one stack, and the sets that should hold them all."""

    def __init__(self, guard: Guard, wanted: Sequence[Stance], chance: Random) -> None:
        self.sets = Mesh(wanted[0])
        self.made: set[tuple[Stance, Stance]] = set()
        """The moves that were completed."""
        self._patience = chance.choice((0, 0.5, 0.9, 0.98))
        """How likely it is that nobody moves when they could begin to."""
        self._guard = guard
        self._wanted = wanted
        self._chance = chance
        self._now = 0
        self._vault = files(POSTURES[wanted[0]])
        self._istiods = [Istiod(self._vault, 0, self._vault) for _ in range(2)]
        self._proxies = [Proxy(self._vault, 0) for _ in range(3)]
        self._ended: list[int] = []
        """When each mark of the sets came about."""

    def run(self, length: int) -> Iterator[None]:
        """Takes so many steps at random; yields after each."""
        acts = (self._tick, self._up, self._poll, self._restart, self._renew)
        for act in self._chance.choices(acts, weights=(3, 6, 6, 1, 1), k=length):
            act()
            yield

    def faults(self) -> Iterator[str]:
        """What is wrong, and what the sets do not hold."""
        loaded = [one.loaded for one in self._istiods if one.loaded is not None]
        for held in loaded:
            if (held[ROOT_CERT], held[CA_CERT][0]) not in working(self.sets):
                yield f"the sets do not hold an istiod with {held}"
        trusts, leaves = proxies(self.sets)
        for proxy in self._proxies:
            trust, signer = proxy.given[ROOT_CERT], proxy.given[CA_CERT][0]
            if trust not in trusts or root_of(signer) not in leaves:
                yield f"the sets do not hold a proxy with {proxy.given}"
        for one, other in permutations(self._proxies, 2):
            if not one.accepts(other.given):
                yield f"{one} does not accept the leaf of {other}"

    def _tick(self) -> None:
        """A tick passes. Who is due acts before it does; windows that it closes close."""
        for istiod in self._istiods:
            if self._now + 1 - istiod.read_at >= READ:
                self._read_on(istiod, finish=True)
        if any(self._now + 1 - istiod.read_at >= READ for istiod in self._istiods):
            return self._tick()  # a poll that began long ago renewed nothing: poll again
        for proxy in self._proxies:
            if self._now + 1 - proxy.renewed_at >= LEAF:
                self._renew_from_any(proxy)
        self._now += 1
        self._close_windows()
        return None

    def _close_windows(self) -> None:
        for at, ended in enumerate(self._ended):
            if ended + READ == self._now:
                self._follow(Act.POLLED, at)
        while self._ended and self._ended[0] + READ + LEAF <= self._now:
            self._follow(Act.RENEWED, 0)
            self._ended.pop(0)

    def _follow(self, act: Act, at: int) -> None:
        """Takes the step of the sets that closes a window, which must be the oldest of its kind."""
        fresh = [number for number, mark in enumerate(self.sets.marks) if mark.fresh]
        assert at == (fresh[0] if act is Act.POLLED else 0), "windows close in order"
        self.sets = next(
            after for step, after in steps(self.sets, self._guard, ()) if step.act is act
        )

    def _up(self) -> None:
        """An `up` takes its next step, or is taken back, or one begins."""
        options = [
            (step, after)
            for step, after in steps(self.sets, self._guard, self._wanted, restarts=False)
            if step.act not in (Act.POLLED, Act.RENEWED)
            and (step.act is not Act.TAKE_BACK or self._chance.random() < 0.1)
            and (step.act is not Act.BEGIN or self._chance.random() > self._patience)
        ]
        if options:
            self._take(*self._chance.choice(options))

    def _take(self, step: Step, after: Mesh) -> None:
        if step.act is Act.WRITE:
            assert self.sets.attempt is not None
            self._write(step.about, self.sets.attempt)
        if step.act in (Act.COMPLETE, Act.TAKE_BACK):
            for file in WRITE_ORDER:
                self._write(file, after.force)
            self._ended.append(self._now)
            self.made.add((self.sets.force, after.force))
        self.sets = after

    def _write(self, file: str, stance: Stance) -> None:
        self._vault = {**self._vault, file: files(POSTURES[stance])[file]}

    def _poll(self) -> None:
        self._read_on(self._chance.choice(self._istiods), finish=self._chance.random() < 0.1)

    def _read_on(self, istiod: Istiod, *, finish: bool) -> None:
        """Reads the next file, or all that are left."""
        left = [file for file in WRITE_ORDER if file not in istiod.reading]
        self._chance.shuffle(left)
        for file in left if finish else left[:1]:
            istiod.read(self._vault, file, self._now)

    def _restart(self) -> None:
        """One istiod starts anew; the other one runs, as a disruption budget has it."""
        one, other = self._chance.sample(self._istiods, 2)
        if other.loaded is not None:
            one.restart()

    def _renew(self) -> None:
        self._renew_from_any(self._chance.choice(self._proxies))

    def _renew_from_any(self, proxy: Proxy) -> None:
        loaded = [one.loaded for one in self._istiods if one.loaded is not None]
        proxy.given, proxy.renewed_at = self._chance.choice(loaded), self._now
