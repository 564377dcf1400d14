"""A stack's outputs told in words: `python -m meshca report LEDGER.json`."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from meshca import __main__ as command
from meshca import report, words
from meshca.ledger import Restarts
from meshca.refusals import Refused
from meshca.report import Outputs
from meshca.rotation import Phase
from tests.golden.ledgers import A2, PACE, START, walk

HOUR = timedelta(hours=1)
SINCE = START + timedelta(days=2)
"""When the second posture of a walk came into force."""


def told(outputs: Outputs, *, after: timedelta = HOUR) -> dict[str, list[str]]:
    """The report by label, `after` the second posture of a walk came into force."""
    found: dict[str, list[str]] = {}
    label = ""
    for line in report.lines(outputs, now=SINCE + after):
        label = line[:9].strip() or label
        found.setdefault(label, []).append(line[9:])
    return found


def distributing() -> Outputs:
    """A mesh in `distribute a1 b1`."""
    return Outputs(walk(Phase.DISTRIBUTE))


def test_the_phase_is_told_by_name_and_by_meaning() -> None:
    """A report says which phase is in force, since when, and what that means."""
    assert told(distributing())["Phase"] == [
        "distribute a1 b1, since 2027-03-03T12:00:00Z",
        "a1 still signs, while b1 and its root reach every proxy",
    ]


@pytest.mark.parametrize("phase", Phase)
def test_every_phase_has_a_meaning(phase: Phase) -> None:
    """No phase is told without words, and its words name the issuer that signs."""
    following = () if phase is Phase.STEADY else ("new",)
    signer = "old" if phase in (Phase.STEADY, Phase.DISTRIBUTE) else "new"
    assert f"{signer} " in words.meaning(" ".join((phase, "old", *following)))


def test_signer_and_trust_are_told_with_fingerprint_and_end() -> None:
    """A report names who signs and who is trusted, each certificate beyond doubt."""
    said = told(distributing())
    assert said["Signs"] == ["a1 (sha256 6131000000000000, not after 2029-02-28T12:00:00Z)"]
    assert [line.split()[0] for line in said["Trusts"]] == ["a", "b"]
    assert [line.split()[0] for line in said["Chain"]] == ["b1", "a1"]


def test_what_lingers_is_told_until_when() -> None:
    """A posture that still counts is told with the moment at which it does no longer."""
    assert told(distributing())["Lingers"] == [
        "leaves of a1, and proxies that trust a only, until 2027-03-04T12:07:00Z"
    ]


def test_what_has_ended_lingers_no_more() -> None:
    """A posture whose window has passed is not told, though the ledger still lists it."""
    outputs = distributing()
    assert outputs.ledger is not None
    assert outputs.ledger.window
    assert "Lingers" not in told(outputs, after=PACE.renewal)


def test_the_next_move_is_told_with_the_time_left() -> None:
    """Before its time, the next move is told with the moment and how far off it is."""
    assert told(distributing())["Next"] == [
        "switch a1 b1, not before 2027-03-04T12:07:00Z (in 23h7m)"
    ]


def test_the_next_move_is_told_as_legal_in_time() -> None:
    """From its time on, the next move is told as legal."""
    assert told(distributing(), after=PACE.renewal)["Next"] == [
        "switch a1 b1, legal since 2027-03-04T12:07:00Z"
    ]


def test_in_a_steady_phase_nothing_is_next() -> None:
    """Outside a rotation the report does not invent a move, nor a way back."""
    said = told(Outputs(walk()))
    assert said["Next"] == ["nothing is under way"]
    assert "Back" not in said


@pytest.mark.parametrize(
    ("phases", "back"),
    [
        ([Phase.DISTRIBUTE], "steady a1"),
        ([Phase.DISTRIBUTE, Phase.SWITCH], "distribute a1 b1"),
        ([Phase.DISTRIBUTE, Phase.SWITCH, Phase.RETIRE], "switch a1 b1"),
    ],
)
def test_each_phase_can_be_taken_back_at_once(phases: list[Phase], back: str) -> None:
    """The move back from each phase of a rotation that went by the clock is legal at once."""
    ledger = walk(*phases)
    move = report.way_back(ledger, now=ledger.since)
    assert move is not None
    assert (move.stance, move.not_before) == (back, ledger.since)


def test_the_way_back_waits_when_it_would_break_something() -> None:
    """Going back twice in a row waits: from the second step on, proxies may lack the old root."""
    ledger = walk(Phase.DISTRIBUTE, Phase.SWITCH, Phase.RETIRE)
    again = replace(
        walk(Phase.DISTRIBUTE, Phase.SWITCH),
        window=(*ledger.window, ledger.held()[0].__class__(ledger.posture, PACE, ledger.since)),
    )
    move = report.way_back(again, now=ledger.since)
    assert move is not None
    assert move.not_before == ledger.since + PACE.renewal


def test_the_first_end_is_told() -> None:
    """A report says which certificate in use ends first, and how soon."""
    assert told(Outputs(walk(years=1)))["Ends"] == [
        "a1 first, at 2028-02-29T12:00:00Z (in 362 days)"
    ]


def test_an_end_that_has_passed_is_told_loudly() -> None:
    """A certificate in use that has ended is not told as if it were to come."""
    assert told(Outputs(walk(years=1)), after=timedelta(days=400))["Ends"] == [
        "a1 ended at 2028-02-29T12:00:00Z: ROTATE NOW"
    ]


def test_a_mixed_ledger_says_what_to_do() -> None:
    """After a targeted `up` the report says what was begun and how to finish it."""
    outputs = Outputs(walk().with_mixed("distribute a1 b1"))
    assert told(outputs)["Mixed"] == [
        "`distribute a1 b1` was written in part: run `pulumi up` without --target"
    ]


def test_break_glass_is_told_with_its_reason() -> None:
    """The override that admitted the move in force stays visible."""
    override = {"move": "steady a1 -> steady a2", "reason": "the key of a1 leaked"}
    outputs = Outputs(replace(walk(Phase.STEADY, to=A2), override=override))
    assert told(outputs)["Override"] == ["steady a1 -> steady a2: the key of a1 leaked"]


def test_restarts_are_told_with_the_pods_that_escaped() -> None:
    """A report says what was restarted as evidence, and names each pod that is older."""
    made = Restarts("0" * 16, SINCE, ("Deployment shop/web",), ("shop/old-1", "shop/old-2"))
    assert told(Outputs(replace(walk(Phase.DISTRIBUTE), restarts=made)))["Restarts"] == [
        "1 workload, when every istiod showed the change, at 2027-03-03T12:00:00Z",
        "older: shop/old-1",
        "older: shop/old-2",
    ]


def test_a_stack_before_its_first_issuer_says_what_to_sign() -> None:
    """Without a ledger the report says so, and which requests wait for the offline root."""
    found = {"mesh": "pending: no issuer is active yet", "certificates": {}, "csrs": {"a1": "..."}}
    said = told(report.read(found, where="x"))
    assert said["Phase"] == ["none yet: no `pulumi up` has written a whole set of secrets"]
    assert said["Pending"] == ["a1: sign what the output `csrs` holds"]


@pytest.mark.parametrize("wrapped", [lambda ledger: ledger, lambda ledger: {"rotation": ledger}])
def test_a_ledger_is_read_alone_or_among_all_outputs(
    wrapped: Callable[[object], object],
) -> None:
    """`pulumi stack output rotation` and `pulumi stack output --json` are both understood."""
    ledger = walk(Phase.DISTRIBUTE)
    assert report.read(wrapped(ledger.as_json()), where="x").ledger == ledger


@pytest.mark.parametrize("found", [[], 7, "text", {}, {"url": "x"}])
def test_other_json_is_refused(found: object) -> None:
    """JSON that is neither is refused by name, not told as an empty mesh."""
    with pytest.raises(Refused, match=r"not-outputs: x holds no ledger"):
        report.read(found, where="x")


def test_the_command_reads_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`python -m meshca report FILE` prints the report and ends with 0."""
    file = tmp_path / "outputs.json"
    file.write_text(json.dumps({"rotation": walk().as_json(), "mesh": "enabled"}))
    assert command.main(["report", str(file)]) == 0
    assert (
        capsys.readouterr().out.splitlines()[0] == "Phase    steady a1, since 2027-03-01T12:00:00Z"
    )


def test_the_command_refuses_a_missing_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that is not there is one line on stderr and exit code 1."""
    assert command.main(["report", str(tmp_path / "none.json")]) == 1
    assert capsys.readouterr().err == (
        f"not-json: {tmp_path}/none.json cannot be read (No such file or directory). Give the "
        "file that `pulumi ... --json` wrote, or `-` for standard input.\n"
    )


def test_an_empty_file_is_told_as_what_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file into which a `pulumi` that failed wrote nothing is told as empty."""
    file = tmp_path / "outputs.json"
    file.write_text("\n")
    assert command.main(["report", str(file)]) == 1
    assert capsys.readouterr().err == (
        f"not-json: {file} is empty: `pulumi` wrote nothing. Run `pulumi` again, and read what it "
        "says on standard error.\n"
    )


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_what_powershell_redirects_is_read(tmp_path: Path, encoding: str) -> None:
    """UTF-16, and UTF-8 with a byte order mark, are read as UTF-8 is."""
    file = tmp_path / "outputs.json"
    file.write_text(json.dumps(walk().as_json()), encoding=encoding)
    assert command.main(["report", str(file)]) == 0


def test_bytes_that_are_no_text_are_not_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A binary file is refused as no text, without a byte of it."""
    file = tmp_path / "outputs.json"
    file.write_bytes(b"{\xff\xfe}")
    assert command.main(["report", str(file)]) == 1
    assert f"{file} cannot be read (it is not text)" in capsys.readouterr().err


@pytest.mark.parametrize("wrapped", [lambda ledger: ledger, lambda ledger: {"rotation": ledger}])
def test_a_damaged_file_is_exported_again(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    wrapped: Callable[[object], object],
) -> None:
    """A ledger that is damaged in a file says nothing of the state, which is to be left alone."""
    file = tmp_path / "outputs.json"
    file.write_text(json.dumps(wrapped({**walk().as_json(), "stance": "x"})))
    assert command.main(["report", str(file)]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("ledger-unreadable: ")
    assert line.endswith("Export it again: `pulumi stack output rotation --json`.")


def test_the_events_go_with_a_preview(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--events` without `--preview` is wrong usage, and not passed over."""
    file = tmp_path / "outputs.json"
    file.write_text(json.dumps(walk().as_json()))
    with pytest.raises(SystemExit) as stopped:
        command.main(["report", str(file), "--events", "events.json"])
    assert stopped.value.code == 2
    assert "--events goes with --preview" in capsys.readouterr().err
