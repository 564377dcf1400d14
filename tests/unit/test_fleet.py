"""The fleet: a row for each stack, what needs attention, and the exit code that says so."""

import json
import os
import stat
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from meshca import __main__ as command
from meshca import fleet, fleet_backend, new_files
from meshca.fleet import Member
from meshca.ledger import Ledger
from meshca.refusals import Refused
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
    """A stack whose ledger is not readable has the id in its row, and the sentence as concern."""
    one = fleet.member("west", {**outputs(None), "rotation": {"version": 99}})
    assert one is not None
    assert one.cells(SINCE)[:3] == ("west", "ledger-unreadable", "")
    [(stack, told)] = fleet.concerns([one], now=SINCE)
    assert (stack, told.partition(":")[0]) == ("west", "ledger-unreadable")


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
        '--verbose) echo \'{"url":"postgres://me:hush@db.example/pulumi?key=hush"}\' ;;\n'
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
    captured = capsys.readouterr()
    assert captured.out.splitlines()[-1].split() == ["north", "unreadable"]
    assert "north: its outputs cannot be read: no stack named north" in captured.err


@pytest.mark.parametrize("found", ["{}", '{"url": "https://example.com"}'])
def test_a_stack_that_is_asked_for_is_not_dropped(
    backend: Path, capsys: pytest.CaptureFixture[str], found: str
) -> None:
    """`fleet STACK` of a stack that was never brought up has a row, a concern, and exit code 1."""
    (backend / "west.json").write_text(found)
    assert command.main(["fleet", "west"]) == 1
    captured = capsys.readouterr()
    assert captured.out.splitlines()[1].split() == ["west", "no", "outputs"]
    assert captured.err.startswith("west: it has no outputs of this program: bring it up")


def test_a_backend_without_a_mesh_is_not_green(
    backend: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where nothing is seen, one line names the backend without its password, and no page is
    written."""
    (backend / "website.json").write_text("{}")
    page = tmp_path / "fleet.html"
    assert command.main(["fleet", "--html", str(page)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(
        "no-mesh: the backend postgres://db.example/pulumi has no stack with outputs of this"
    )
    assert not page.exists()


BROKEN = [
    ("echo what", "printed no JSON"),
    ("printf '\\377'", "printed no JSON"),
    ("echo null", "printed no"),
    ("echo 'error: the state is corrupt' >&2; exit 1", "the state is corrupt"),
    ("printf 'error: \\377' >&2; exit 1", "\ufffd"),
    ("exit 1", "it gave no reason"),
    ("exec sleep 60", "did not answer within"),
]
"""What a `pulumi` may do in place of an answer, and what is said of it."""


def broken(backend: Path, does: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts another `pulumi` in place of the one that works."""
    if "sleep" in does:
        monkeypatch.setattr(fleet_backend, "TIMEOUT", 0.5)
    (backend.parent / "pulumi").write_text(f"#!/bin/sh\n{does}\n")


@pytest.mark.parametrize(("does", "told"), BROKEN)
def test_a_list_that_cannot_be_had_is_one_line(
    backend: Path,
    does: str,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whatever `pulumi stack ls` does, `fleet` says `no-backend` and why; the CLI is there."""
    broken(backend, does, monkeypatch)
    assert command.main(["fleet"]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("no-backend: ")
    assert told in line
    assert "Install" not in line


@pytest.mark.parametrize("listed", ['["west"]', '[{"title": "west"}]', "{}"])
def test_a_list_of_something_else_is_no_list(
    backend: Path, listed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """JSON that lists no stacks is `no-backend`."""
    (backend.parent / "pulumi").write_text(f"#!/bin/sh\necho '{listed}'\n")
    assert command.main(["fleet"]) == 1
    assert "`pulumi stack ls` printed no list" in capsys.readouterr().err


@pytest.mark.parametrize(("does", "told"), BROKEN)
def test_outputs_that_cannot_be_had_are_one_row(
    backend: Path,
    does: str,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whatever `pulumi stack output` does for one stack, the stack has a row and a concern."""
    broken(backend, does, monkeypatch)
    assert command.main(["fleet", "west"]) == 1
    captured = capsys.readouterr()
    assert captured.out.splitlines()[1].split() == ["west", "unreadable"]
    [line] = captured.err.splitlines()
    assert line.startswith("west: its outputs cannot be read: ")
    assert told in line


def test_without_pulumi_the_command_says_what_it_needs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a `pulumi` on PATH `fleet` is one line that says to install it, and exit code 1."""
    monkeypatch.setenv("PATH", "")
    assert command.main(["fleet"]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("no-backend: the stacks of the backend")
    assert "Install the Pulumi CLI" in line


def test_a_page_that_cannot_be_written_is_refused(
    backend: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--html` into a directory that is not there is one line, not a traceback."""
    (backend / "west.json").write_text(json.dumps(outputs(walk(years=100))))
    assert command.main(["fleet", "--html", str(tmp_path / "none" / "page.html")]) == 1
    assert "cannot-write" in capsys.readouterr().err


def test_a_page_is_whole_or_the_older_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the new page cannot be written to its end, the old one is as it was, alone."""
    page = tmp_path / "fleet.html"
    page.write_text("old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Refused, match=f"cannot-write: {page} cannot be written: No space left"):
        new_files.replace(page, "new")
    assert [(path, path.read_text()) for path in tmp_path.iterdir()] == [(page, "old")]


def test_a_page_keeps_its_permissions(tmp_path: Path) -> None:
    """Whoever could read the old page can read the new one, through a link to it too."""
    page, link = tmp_path / "page", tmp_path / "link"
    page.write_text("old")
    page.chmod(0o640)
    link.symlink_to(page)
    new_files.replace(link, "new")
    assert (page.read_text(), link.is_symlink()) == ("new", True)
    assert stat.S_IMODE(page.stat().st_mode) == 0o640


def test_a_page_may_go_to_what_is_no_file(tmp_path: Path) -> None:
    """`--html /dev/null` and the like are written to, not replaced."""
    new_files.replace(Path(os.devnull), "new")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
