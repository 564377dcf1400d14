"""A running mesh whose CA is a stack of the program, moved by `pulumi up` under traffic.

Time is compressed as in tests.mesh.stage, but here the guard itself keeps the windows: leaf
lifetime, poll and slack are the stack's configuration, and each move waits for the moment that
the ledger of the one before it names.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lab import engine
from lab.azure import data_plane, faults, seed
from lab.mesh.mesh import Mesh
from lab.mesh.traffic import Phase
from meshca import certificates
from tests.engine import stacks
from tests.engine.workspace import Workspace, wait_until
from tests.material import Authority

ISSUERS: Final = ("a1", "a2", "b1", "b2")
"""Each under the root that its first letter names."""

LEAF_TTL: Final = 8.0
"""Seconds; half of it is what an istiod may take to come back before a leaf ends."""

SLACK: Final = 2.0
"""Seconds: room for a round of polls that fails, as there is with the defaults."""

POLL: Final = 1.0

RATE: Final = 400.0
"""Requests per second, over all pods."""

RENEWAL: Final = LEAF_TTL / 2 + POLL
"""Seconds in which every proxy asks for a new leaf: agents do at half of its life."""

CONFIG: Final[Mapping[str, Any]] = {
    "leafTtl": f"{LEAF_TTL:.0f}s",
    "slack": f"{SLACK:.0f}s",
    "issuers": stacks.issuer_settings(ISSUERS),
    "cluster": {"revisions": ["asm-1-29"], "rotationPollInterval": f"{POLL:.0f}s"},
}

_MOVES: Final = 8
"""More than any stance is away from the next steady one."""


def sibling(issuer: str) -> str:
    """Return another issuer under the same root."""
    return next(one for one in ISSUERS if one[0] == issuer[0] and one != issuer)


def foreign(issuer: str) -> str:
    """Return an issuer under another root."""
    return next(one for one in ISSUERS if one[0] != issuer[0])


def serial(authority: Authority) -> str:
    """Return a certificate's serial number as istiod's log prints it."""
    return f"{authority.certificate.serial_number:x}"


@dataclass
class EngineStage:
    """A stack, the mesh that lives on its cloud, and the material of its roots and issuers."""

    stack: Workspace
    mesh: Mesh
    authorities: Mapping[str, Authority]

    @property
    def state(self) -> Path:
        """The local cloud's directory."""
        return self.stack.state

    # -- where it stands -------------------------------------------------------------------------

    @property
    def signer(self) -> str:
        """The name of the issuer that signs, of a stack at rest."""
        return str(self.stack.ledger()["signer"]["name"])

    def signs(self, issuer: str) -> bool:
        """Tell whether every istiod signs with this issuer and nothing else."""
        return set(self.mesh.signers()) == {serial(self.authorities[issuer])}

    def assert_rests_on(self, issuer: str) -> None:
        """Assert that ledger, vault, every istiod and the mesh's trust agree on one issuer."""
        assert self.stack.ledger()["stance"] == f"steady {issuer}"
        held = certificates.parse_key(self.stack.secret("ca-key")["value"], where="ca-key")
        assert certificates.same_key(self.authorities[issuer].certificate, held)
        self.mesh.wait_for(lambda: self.signs(issuer), f"every istiod to sign with {issuer}")
        root = self.authorities[issuer[0]].pem
        self.mesh.wait_for(lambda: self.mesh.trust() == root, f"the trust to be {issuer[0]} alone")

    # -- moves -----------------------------------------------------------------------------------

    def move(self, stance: str) -> None:
        """Configure a stance and run `pulumi up`; the move must be legal by now."""
        self.stack.want(stance)
        self.stack.done()

    def rotate(self, old: str, new: str, *, handshakes: int = 0) -> list[Phase]:
        """Go through the four phases; each of the three that write has so many handshakes."""
        phases = []
        for stance in (f"distribute {old} {new}", f"switch {old} {new}", f"retire {old} {new}"):
            with self.mesh.phase(stance) as counted:
                self.move(stance)
                self.wait_for_handshakes(counted, handshakes)
                self.stack.wait_for_next_move()
            phases.append(counted)
        with self.mesh.phase(f"steady {new}") as counted:
            self.move(f"steady {new}")
        return [*phases, counted]

    def wait_for_handshakes(self, counted: Phase, handshakes: int) -> None:
        """Let a phase go on until it has counted so many."""
        self.mesh.wait_for(
            lambda: counted.handshakes >= handshakes, f"{handshakes} handshakes", 120.0
        )

    def finish(self) -> None:
        """Bring a stack to rest from wherever a test has left it, along its own next moves."""
        faults.clear(self.state)
        self.grant()
        for _ in range(_MOVES):
            move = self.stack.ledger()["nextMove"]
            if move is None:
                break
            wait_until(move["notBefore"])
            self.move(move["stance"])
        self.stack.wait_for_window()
        self.mesh.wait_until_ready()

    # -- faults ----------------------------------------------------------------------------------

    @contextmanager
    def paused_after_write(self, number: int) -> Iterator[None]:
        """`pulumi up`, held after its secret number `number` (from 1); goes on after the block."""
        ended: list[str] = []

        def up() -> None:
            run = self.stack.up()
            ended.append("" if run.code == 0 else run.output)

        fault = faults.pause(self.state, "secrets/write", first=number)
        running = threading.Thread(target=up, name="pulumi up")
        running.start()
        try:
            assert faults.wait_until_struck(self.state, fault), "\n".join(ended)
            yield
        finally:
            faults.release(self.state, fault)
            running.join()
        assert ended == [""], "\n".join(ended)

    def kill_after_write(self, number: int) -> None:
        """`pulumi up` whose engine dies by SIGKILL after a write of a secret that it made.

        Azure has taken the write, the state does not know of it; then `pulumi cancel`, as the
        next command would ask for.
        """
        fault = faults.pause(self.state, "secrets/write", first=number)
        with self.stack.up_in_background():
            assert faults.wait_until_struck(self.state, fault)
        faults.release(self.state, fault)
        self.stack.run("cancel", "--yes")

    def poll_and_renew(self) -> None:
        """Let every istiod read what the vault holds now, and every proxy renew from it."""
        self.mesh.poll()
        self.mesh.let_pass(RENEWAL)

    def restart_istiods(self) -> None:
        """Delete every istiod at once; return when new ones serve."""
        gone = {each.name for each in self.mesh.istiods}
        self.mesh.restart_istiod()
        self.mesh.wait_for(
            lambda: self.mesh.is_ready and gone.isdisjoint(each.name for each in self.mesh.istiods),
            "new istiods",
        )

    def calls(self, fault: int) -> int:
        """Return how many calls have met a fault, or come too early or too late for it."""
        return next(each.calls for each in faults.all_(self.state) if each.number == fault)

    def revoke(self) -> None:
        """Take from the add-on's identity what the program has granted."""
        self._set_access([])

    def grant(self) -> None:
        """Give it back."""
        self._set_access(["get"])

    def _set_access(self, permissions: list[str]) -> None:
        (cluster,) = data_plane.mesh(self.state)
        assert cluster.identity is not None
        seed.access_policy(
            self.state,
            stacks.CLUSTER["resourceGroup"],
            stacks.VAULT["name"],
            cluster.identity,
            permissions,
        )


@contextmanager
def stage() -> Iterator[EngineStage]:
    """Converge a stack in `steady a1`, start its mesh with two istiods; stop and remove all."""
    with (
        converged() as (stack, authorities),
        Mesh(stack.state, istiods=2, leaf_ttl=LEAF_TTL, rate=RATE) as mesh,
    ):
        mesh.wait_until_ready()
        yield EngineStage(stack, mesh, authorities)


@contextmanager
def converged(**changes: Any) -> Iterator[tuple[Workspace, Mapping[str, Authority]]]:
    """Make a stack in `steady a1` whose mesh is enabled and not yet running; remove all of it.

    `changes` of the configuration are as `stacks.changed` takes them. With the stack come the
    roots and issuers that it names.
    """
    engine.prepare()
    # Not pytest's own folder: Envoy's sockets need a short path, and it is not kept.
    directory = Path(tempfile.mkdtemp(prefix="mesh-"))
    try:
        authorities = stacks.make_authorities(ISSUERS)
        stack = Workspace(directory / "s")
        stacks.write_certificates(authorities, stack.directory)
        stack.configure(stacks.changed(stacks.offline(**CONFIG), **changes))
        stacks.set_keys(stack, authorities, ISSUERS)
        for _ in range(2):
            stack.done()
        yield stack, authorities
    finally:
        shutil.rmtree(directory)
