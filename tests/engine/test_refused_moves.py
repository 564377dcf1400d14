"""Every move that could break the mesh is refused before anything registers.

Leaves live for a day in these stacks, so what has to be waited for is far away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from meshca.refusals import iso
from tests.engine import stacks
from tests.engine.conftest import Converged, Step
from tests.engine.workspace import Run, Workspace
from tests.material import Authority

POLL_AND_SLACK = timedelta(minutes=5, seconds=1)
LEAF = timedelta(hours=24)

REASONS = {
    "signs-too-early": "proxies that do not trust its root yet would refuse leaves of the new "
    "signer",
    "retires-too-early": "leaves that chain to a root no longer trusted would still be in use",
    "chain-too-early": "an istiod that reads the new signer with the old chain file would hand "
    "out leaves that nobody can verify",
    "drops-chain-too-early": "an istiod that still signs with the old issuer would hand out "
    "leaves without their issuer",
    "trust-jumps": "roots would be added and dropped (or reordered) in one move: a running "
    "istiod refuses that and takes it at its next restart",
}


@dataclass(frozen=True)
class Move:
    """A move that is refused, with the certificates that each refusal names."""

    start: str
    wanted: str
    refusals: Mapping[str, str]
    first: str | None
    """The move to make first; None when time alone makes it legal."""
    passing: tuple[str, ...] = ()
    """The refusals that time alone lifts although another move has to be made first."""

    def passes(self, identity: str) -> bool:
        """Whether time alone lifts a refusal."""
        return self.first is None or identity in self.passing


MOVES = (
    # No shortcut from a steady phase, whichever later phase it would be.
    Move("steady a1", "switch a1 b1",
         {"signs-too-early": "b", "chain-too-early": "b1"}, "distribute a1 b1"),
    Move("steady a1", "retire a1 b1",
         {"signs-too-early": "b", "retires-too-early": "a", "chain-too-early": "b1",
          "drops-chain-too-early": "a1", "trust-jumps": "a b"}, "distribute a1 b1"),
    Move("steady a1", "steady b1",
         {"signs-too-early": "b", "retires-too-early": "a", "chain-too-early": "b1",
          "drops-chain-too-early": "a1", "trust-jumps": "a b"}, "distribute a1 b1"),
    # The article's rotation of the intermediate in one step.
    Move("steady a1", "steady a2",
         {"chain-too-early": "a2", "drops-chain-too-early": "a1"}, "distribute a1 a2"),
    # Not before every proxy trusts the new root, and not past the switch.
    Move("distribute a1 b1", "switch a1 b1",
         {"signs-too-early": "b", "chain-too-early": "b1"}, None),
    Move("distribute a1 b1", "retire a1 b1",
         {"signs-too-early": "b", "retires-too-early": "a", "chain-too-early": "b1",
          "drops-chain-too-early": "a1", "trust-jumps": "a b"}, "switch a1 b1",
         ("signs-too-early", "chain-too-early", "trust-jumps")),
    # Not before the last leaf of the old issuer has ended, and not back past the distribution.
    Move("switch a1 b1", "retire a1 b1",
         {"retires-too-early": "a", "drops-chain-too-early": "a1"}, None),
    Move("switch a1 b1", "steady b1",
         {"retires-too-early": "a", "drops-chain-too-early": "a1"}, None),
    Move("switch a1 b1", "steady a1",
         {"retires-too-early": "b", "drops-chain-too-early": "b1"}, "distribute a1 b1"),
    # Back from the end only the way that led there.
    Move("retire a1 b1", "distribute a1 b1",
         {"signs-too-early": "a", "chain-too-early": "a1"}, "switch a1 b1"),
    Move("retire a1 b1", "steady a1",
         {"signs-too-early": "a", "retires-too-early": "b", "chain-too-early": "a1",
          "drops-chain-too-early": "b1", "trust-jumps": "b a"}, "switch a1 b1"),
)  # fmt: skip


@pytest.fixture
def reached(
    offline: Converged, root_rotation: dict[str, Step], tmp_path: Path
) -> dict[str, Workspace]:
    """A stack in each stance of the root rotation. Previews leave them as they are."""
    return {"steady a1": offline.stack} | {
        stance: step.after for stance, step in root_rotation.items()
    }


def refused(stack: Workspace, wanted: str, *arguments: str, command: str = "preview") -> Run:
    """How a move ends that is refused; the stack's configuration is as before afterwards."""
    file = stack.stack_file.read_text()
    try:
        stack.want(wanted, **stacks.LONG)
        ended = stack.preview(*arguments) if command == "preview" else stack.up(*arguments)
    finally:
        stack.stack_file.write_text(file)
    assert ended.code != 0
    return ended


def mitigation(move: Move, identity: str, ledger: Mapping[str, Any]) -> str:
    """What a refusal tells to do: another move first, or to wait, and until when."""
    if not move.passes(identity):
        return f"Make the move `{move.first}` first."
    reload_only = identity not in ("signs-too-early", "retires-too-early")
    [last] = [entry["until"] for entry in ledger["window"]][-1:]
    end = datetime.fromisoformat(last) + POLL_AND_SLACK + (timedelta() if reload_only else LEAF)
    why = {
        "signs-too-early": "every proxy has renewed since the root was distributed",
        "retires-too-early": "no leaf under that root can be alive",
        "chain-too-early": "every istiod has read the chain file that carries the new signer",
        "drops-chain-too-early": "every istiod has stopped signing with the old issuer",
        "trust-jumps": "every istiod has taken the roots in force",
    }
    return f"Wait until {iso(end)}: only then {why[identity]}."


@pytest.mark.parametrize("move", MOVES, ids=lambda move: f"{move.start} to {move.wanted}")
def test_a_preview_refuses_the_move(
    move: Move, reached: dict[str, Workspace], authorities: dict[str, Authority]
) -> None:
    """Each rule that it breaks is a line: id, reason, certificates, and what to do instead."""
    stack = reached[move.start]
    ledger = stack.ledger()
    lines = []
    for identity, names in move.refusals.items():
        certificates = "; ".join(
            stacks.reference(name, authorities[name]) for name in names.split()
        )
        reason = REASONS[identity]
        if identity == "trust-jumps" and move.passes(identity):
            reason = f"for an istiod that has not taken the posture in force yet, {reason}"
        what = mitigation(move, identity, ledger)
        lines.append(f"{identity}: {reason} [{certificates}]. {what}")
    assert refused(stack, move.wanted).errors == lines


@pytest.mark.parametrize(
    "arguments", [(), ("--target", "**secret-ca-key", "--target", "**rotation-attempt")]
)
def test_an_up_refuses_the_move_before_anything_registers(
    arguments: tuple[str, ...], rotating: Workspace
) -> None:
    """Neither `--skip-preview` nor `--target` goes around the guard: nothing is even asked for."""
    asked = len(rotating.cloud.requests(outcome=None))
    before = {name: one["modified"] for name, one in rotating.resources().items()}
    ended = refused(rotating, "switch a1 b1", *arguments, command="up")
    assert [line.partition(":")[0] for line in ended.errors] == [
        "signs-too-early",
        "chain-too-early",
    ]
    assert len(rotating.cloud.requests(outcome=None)) == asked
    assert {name: one["modified"] for name, one in rotating.resources().items()} == before
