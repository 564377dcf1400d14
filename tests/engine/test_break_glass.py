"""Break-glass: one refused move is admitted, loudly, and the permission is useless afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine import stacks
from tests.engine.conftest import Converged
from tests.engine.workspace import Run, Workspace
from tests.material import Authority

MOVE = "steady a1 -> steady a2"
REASON = "a1 is compromised, incident 4711"
OVERRIDE = {"move": MOVE, "reason": REASON}
WARNING = f"  OVERRIDE admits this move although it is refused: {REASON}"


@pytest.fixture(scope="module")
def replaced(
    offline: Converged, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Workspace, Run, Run, list[str]]:
    """The article's rotation of the intermediate in one step: the stack, preview, up, writes."""
    stack = offline.stack.copy(tmp_path_factory.mktemp("break-glass") / "stack")
    stack.want("steady a2", override=OVERRIDE, **stacks.LONG)
    preview = stack.preview()
    with stack.writes() as writes:
        up = stack.done()
    return stack, preview, up, writes


def test_preview_and_up_warn_of_it(
    replaced: tuple[Workspace, Run, Run, list[str]], authorities: dict[str, Authority]
) -> None:
    """Both show the reason, and every refusal that it lifts, as a warning on the stack."""
    _, preview, up, _ = replaced
    for shown in (preview, up):
        assert "    warning: CA: `steady a1` -> `steady a2`\n" in shown.output
        assert WARNING in shown.said
        lifted = shown.said[shown.said.index(WARNING) + 1 :]
        assert [line.strip().partition(":")[0] for line in lifted] == [
            "chain-too-early",
            "drops-chain-too-early",
        ]
        assert stacks.reference("a2", authorities["a2"]) in lifted[0]


def test_the_ledger_keeps_the_reason(replaced: tuple[Workspace, Run, Run, list[str]]) -> None:
    """The output `rotation` tells by which override the posture in force came about."""
    stack, *_ = replaced
    assert stack.ledger()["stance"] == "steady a2"
    assert stack.ledger()["override"] == OVERRIDE


def test_the_certificate_is_written_last(
    replaced: tuple[Workspace, Run, Run, list[str]],
) -> None:
    """Until then a running istiod finds a key that does not match, and keeps the old set."""
    *_, writes = replaced
    assert writes == ["secrets/ca-key", "secrets/cert-chain", "secrets/ca-cert"]


def test_it_is_refused_once_the_move_is_made(
    replaced: tuple[Workspace, Run, Run, list[str]], tmp_path: Path
) -> None:
    """An override that is left in the configuration stops the next preview."""
    stack = replaced[0].copy(tmp_path / "stack")
    refused = stack.preview()
    assert refused.code != 0
    assert refused.errors == [
        f"override-useless: the override admits `{MOVE}`, but this is `steady a2 -> steady a2`. "
        "Remove `override` from the stack configuration: it is for one refused move only."
    ]


def test_it_admits_no_other_move(rotating: Workspace) -> None:
    """The refusals of the move that is wanted stay, beside one of the override itself."""
    rotating.want("steady b1", override=OVERRIDE)
    refused = rotating.preview()
    assert refused.code != 0
    assert [line.partition(":")[0] for line in refused.errors] == [
        "signs-too-early",
        "retires-too-early",
        "chain-too-early",
        "drops-chain-too-early",
        "trust-jumps",
        "override-useless",
    ]


def test_it_is_refused_where_nothing_refuses_the_move(rotating: Workspace) -> None:
    """What is legal needs no permission: an override must not lie around."""
    override = {"move": "steady a1 -> distribute a1 b1", "reason": REASON}
    rotating.want("distribute a1 b1", override=override)
    refused = rotating.preview()
    assert refused.code != 0
    assert refused.errors == [
        "override-useless: the override admits `steady a1 -> distribute a1 b1`, which nothing "
        "refuses. Remove `override` from the stack configuration: it is for one refused move only."
    ]
