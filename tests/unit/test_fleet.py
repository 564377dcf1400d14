"""The fleet: a row for each stack, what needs attention, and the exit code that says so."""

import json
import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from meshca import __main__ as command
from meshca import fleet
from meshca.fleet import Member
from meshca.ledger import Ledger
from meshca.rotation import Phase
from tests.golden.ledgers import DAY, START, walk

SINCE = START + 2 * DAY
"""When the second posture of a walk came into force."""


def outputs(ledger: Ledger | None) -> dict[str, object]:
    """What a stack with this ledger exports."""
    rotation = {"rotation": ledger.as_json()} if ledger else {}
    return {"mesh": "enabled", "certificates": {}, "csrs": {}, **rotation}


def test_a_row_tells_where_a_mesh_stands() -> None:
    """A row holds phase, signer, roots, mesh, what ends first, and the next move with its time."""
    one = fleet.member("org/p/west", outputs(walk(Phase.DISTRIBUTE)))
    assert one is not None
    assert one.cells(SINCE) == (
        "org/p/west",
        "distribute a1 b1",
        "a1",
        "a, b",
        "enabled",
        "a1 2029-02-28 (in 728 days)",
        "switch a1 b1, not before 2027-03-04T12:07:00Z (in 24h7m)",
    )


def test_a_stack_without_a_ledger_is_told_as_such() -> None:
    """A stack whose first whole `up` is to come has a row that says so."""
    one = fleet.member("west", {"mesh": "pending: no issuer is active yet", "certificates": {}})
    assert one is not None
    assert one.cells(SINCE)[:2] == ("west", "no ledger yet")
    assert fleet.concerns([one], now=SINCE) == []


@pytest.mark.parametrize("found", [{}, {"url": "x"}, {"mesh": "x"}, [], None])
def test_stacks_of_other_programs_are_left_out(found: object) -> None:
    """A stack that exports none of this program's outputs is no member of the fleet."""
    assert fleet.member("other", found) is None


def test_a_ledger_that_cannot_be_read_needs_attention() -> None:
    """A stack whose ledger is not readable keeps its row, and is a concern."""
    one = fleet.member("west", {**outputs(None), "rotation": {"version": 99}})
    assert one is not None
    assert one.problem is not None
    assert [stack for stack, _ in fleet.concerns([one], now=SINCE)] == ["west"]


@pytest.mark.parametrize(
    ("left", "told"),
    [
        (timedelta(days=31), None),
        (timedelta(days=30), "a1 ends at 2028-02-29T12:00:00Z, in 30 days: rotate"),
        (timedelta(seconds=1), "a1 ends at 2028-02-29T12:00:00Z, in 1s: rotate"),
        (timedelta(0), "a1 ended at 2028-02-29T12:00:00Z: rotate now"),
        (timedelta(days=-9), "a1 ended at 2028-02-29T12:00:00Z: rotate now"),
    ],
)
def test_what_ends_within_thirty_days_needs_attention(left: timedelta, told: str | None) -> None:
    """A certificate in use that ends within 30 days, or has ended, is a concern."""
    one = Member("west", walk(years=1))
    first = one.first_end()
    assert first is not None
    assert first.not_after is not None
    found = fleet.concerns([one], now=first.not_after - left)
    assert found == ([("west", told)] if told else [])


def test_what_is_not_in_use_needs_no_attention() -> None:
    """The end of an issuer that the posture does not use is nobody's concern."""
    ledger = walk(years=1)
    lasting = {
        identity: replace(
            record, certificate=replace(record.certificate, not_after=SINCE + 999 * DAY)
        )
        if identity in ledger.posture.members()
        else record
        for identity, record in ledger.records.items()
    }
    one = Member("west", replace(ledger, records=lasting))
    assert fleet.concerns([one], now=START + 360 * DAY) == []


def test_a_mixed_ledger_needs_attention() -> None:
    """A stack whose last `up` was targeted is a concern."""
    one = Member("west", walk().with_mixed("distribute a1 b1"))
    assert one.cells(SINCE)[1] == "steady a1 (mixed)"
    [(_, told)] = fleet.concerns([one], now=SINCE)
    assert "`distribute a1 b1` was written in part" in told


def test_the_table_lines_up() -> None:
    """Every column of the table begins at the same place in every line."""
    members = [Member("a", walk(), "enabled"), Member("a-long-name", walk(Phase.DISTRIBUTE))]
    lines = list(fleet.table(members, now=SINCE))
    at = lines[0].index("SIGNER")
    assert [line[at : at + 2] for line in lines[1:]] == ["a1", "a1"]


@pytest.fixture
def backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `pulumi` on PATH that shows the stacks put into a directory, one JSON file each."""
    stacks = tmp_path / "stacks"
    stacks.mkdir()
    script = tmp_path / "pulumi"
    script.write_text(
        "#!/bin/sh\n"
        f"cd {stacks} || exit 1\n"
        'case "$2" in\n'
        "ls) printf '['; sep=; for f in *.json; do\n"
        '  printf \'%s{"name":"%s"}\' "$sep" "${f%.json}"; sep=,; done; echo "]" ;;\n'
        'output) cat "$5.json" 2>/dev/null || { echo "error: no stack named $5" >&2; exit 1; } ;;\n'
        "esac\n"
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return stacks


def test_the_command_shows_every_stack_of_the_backend(
    backend: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`fleet` lists this program's stacks and no other, and ends with 0 when all is well."""
    for name in ("east", "west"):
        (backend / f"{name}.json").write_text(json.dumps(outputs(walk(years=100))))
    (backend / "website.json").write_text('{"url": "https://example.com"}')
    assert command.main(["fleet"]) == 0
    captured = capsys.readouterr()
    assert [line.split()[0] for line in captured.out.splitlines()] == ["STACK", "east", "west"]
    assert captured.err == ""


def test_the_command_fails_when_something_ends_soon(
    backend: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`fleet` ends with 1, and says on stderr which certificate of which stack ends."""
    (backend / "west.json").write_text(json.dumps(outputs(walk())))
    assert command.main(["fleet", "--days", "36500"]) == 1
    assert capsys.readouterr().err.startswith("west: a1 ends at 2029-02-28T12:00:00Z, in ")


def test_the_command_can_be_asked_for_one_stack(
    backend: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`fleet STACK` asks for that stack only, and fails when it cannot be read."""
    (backend / "west.json").write_text(json.dumps(outputs(walk(years=100))))
    assert command.main(["fleet", "west"]) == 0
    assert command.main(["fleet", "north"]) == 1
    assert "north: its outputs cannot be read: no stack named north" in capsys.readouterr().err


def test_without_pulumi_the_command_says_what_it_needs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a `pulumi` on PATH `fleet` is one line on stderr and exit code 1."""
    monkeypatch.setenv("PATH", "")
    assert command.main(["fleet"]) == 1
    assert capsys.readouterr().err.startswith("no-backend: the stacks of the backend")


def test_a_page_that_cannot_be_written_is_refused(
    backend: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--html` into a directory that is not there is one line, not a traceback."""
    (backend / "west.json").write_text(json.dumps(outputs(walk(years=100))))
    assert command.main(["fleet", "--html", str(tmp_path / "none" / "page.html")]) == 1
    assert "cannot-write" in capsys.readouterr().err
