"""A preview as Markdown: captured ones against golden files, and what each part is to say.

tests/golden/capture.py says where the previews come from; tests/docs/test_previews.py makes them
afresh and compares.
"""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshca import __main__ as command
from meshca import preview
from meshca.preview import Change
from meshca.refusals import CertificateRef, Refusal, Refused
from meshca.report_markdown import markdown, marker
from meshca.report_refusals import Told, parse
from meshca.rotation import Phase
from tests.golden.render import NAMES, PREVIEWS, kept, read, rendered

REFUSED = {"mistake", "policy", "replaces-cluster", "skipped-phase", "too-early", "unfinished"}


@pytest.mark.parametrize("name", NAMES)
def test_reports_are_as_they_were_reviewed(name: str) -> None:
    """A report is the golden file, word for word; `python -m tests.golden.render` renews it."""
    assert rendered(name) == (PREVIEWS / f"{name}.md").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_nothing_that_was_captured_holds_a_private_key(name: str) -> None:
    """Neither a captured preview nor its report holds a private key, or anything of one."""
    found = (PREVIEWS / f"{name}.json").read_text() + rendered(name)
    assert "PRIVATE KEY" not in found
    assert "BEGIN" not in found


@pytest.mark.parametrize("name", NAMES)
def test_a_report_fails_when_its_preview_does(name: str) -> None:
    """What `report` makes of a preview agrees with how the engine's own run ended."""
    assert read(name).admitted is (kept(name)["code"] == 0) is (name not in REFUSED)


@pytest.mark.parametrize("name", NAMES)
def test_the_first_line_finds_the_comment_again(name: str) -> None:
    """Every report of a stack begins with the same hidden line."""
    assert rendered(name).splitlines()[0] == "<!-- aks-istio-ca: preview of shop -->"
    assert marker("shop") == "<!-- aks-istio-ca: preview of shop -->"


def test_a_preview_without_a_step_is_of_the_stack_that_was_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where a plug-in or a policy pack does not start, the report is that of the stack as named."""
    file = tmp_path / "preview.json"
    file.write_text('{"diagnostics": [{"severity": "error", "message": "no such plug-in"}]}')
    assert command.main(["report", "--preview", str(file), "--stack", "shop"]) == 1
    first, title, *_ = capsys.readouterr().out.splitlines()
    assert (first, title.partition(":")[0]) == (marker("shop"), "## shop")


@pytest.mark.parametrize(
    ("name", "secrets"),
    [
        ("first", {"root-cert": "a", "ca-key": "a1", "cert-chain": "a1", "ca-cert": "a1"}),
        ("distribute", {"root-cert": "a -> a b", "cert-chain": "a1 -> b1 a1"}),
        ("generated", {"root-cert": "a -> a b", "cert-chain": "a1 -> b1 a1"}),
        ("switch", {"ca-key": "a1 -> b1", "ca-cert": "a1 -> b1"}),
        ("retire", {"root-cert": "a b -> b", "cert-chain": "b1 a1 -> b1"}),
        ("finish", {}),
        ("unchanged", {}),
        ("enable-mesh", {}),
    ],
)
def test_what_is_written_is_told_secret_by_secret(name: str, secrets: dict[str, str]) -> None:
    """The table shows each secret that is written, and what is in it before and after, in order."""
    rows = re.findall(r"^\| \w+ \| secret `([\w-]+)` \| (.*) \|$", rendered(name), re.M)
    assert rows == [*secrets.items()]


@pytest.mark.parametrize(
    ("name", "pictures"),
    [("distribute", 2), ("skipped-phase", 2), ("unchanged", 1), ("first", 1), ("mistake", 1)],
)
def test_pictures_show_before_and_after(name: str, pictures: int) -> None:
    """There is a picture of what is in force and one of what is asked for, where they differ."""
    assert rendered(name).count("```mermaid") == pictures


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("skipped-phase", ["signs-too-early", "chain-too-early"]),
        ("too-early", ["signs-too-early", "chain-too-early"]),
        ("unfinished", ["move-unfinished"]),
    ],
)
def test_refusals_are_told_with_what_to_do(name: str, ids: list[str]) -> None:
    """Every refusal of a refused preview is in the report by id, with its mitigation."""
    found = read(name)
    assert [told.id for told in found.refusals] == ids
    for told in found.refusals:
        assert told.mitigation in rendered(name)


def test_a_refused_preview_promises_nothing() -> None:
    """A refused move has no table of what is written, and no next move."""
    for heading in ("What is written", "Onward"):
        assert heading not in rendered("too-early")


def test_the_next_move_is_told_with_its_time() -> None:
    """An admitted move says what comes after it and how long after, and how to go back."""
    told = rendered("distribute").partition("### Onward")[2].split("\n\n")[1].splitlines()
    assert told == [
        "- on to `switch a1 b1`: legal 24h5m after this `up`",
        "- back to `steady a1`: legal at once",
    ]


def test_break_glass_is_loud() -> None:
    """An override is a caution with its reason, and every refusal it lifts is told as a risk."""
    found = rendered("break-glass")
    assert "> [!CAUTION]\n> **Break-glass.**" in found
    assert "Reason: The key of a1 leaked, incident 4711" in found
    assert re.findall(r"^\| `([a-z-]+)` \| an istiod", found, re.M) == [
        "chain-too-early",
        "drops-chain-too-early",
    ]


def test_replacing_the_cluster_is_loud() -> None:
    """A plan to replace the cluster is a caution that names the property it comes from."""
    assert "> - replace cluster `mesh`, because of `dnsPrefix`" in rendered("replaces-cluster")


def test_disabling_the_mesh_is_loud_and_no_failure() -> None:
    """What AKS deletes then is a caution, told once; to want that is nobody's mistake."""
    found = rendered("disable-mesh")
    assert "> [!CAUTION]\n> **Mesh disabled:** AKS deletes Istio's custom resources" in found
    assert found.count("aks-istio-ingress") == 1
    assert read("disable-mesh").admitted


def test_a_group_is_lost_with_everything_in_it() -> None:
    """Deleting a resource group counts as deleting cluster and vault, protected or not."""
    group = "azure-native:resources:ResourceGroup"
    assert Change("delete", f"urn:pulumi:shop::aks-istio-ca::{group}::group-g", False).loses


def test_a_loss_is_not_admitted_though_the_engine_allows_it() -> None:
    """With `--ignore-protect` the engine reports no error; the report still does."""
    found = replace(read("replaces-cluster"), failed=False, errors=())
    assert found.loses
    assert not found.admitted


@pytest.mark.parametrize("operation", ["delete", "replace", "delete-replaced"])
def test_whatever_destroys_something_protected_is_a_loss(operation: str) -> None:
    """Deleting or replacing counts for what is protected, and for vault and cluster always."""
    [change] = read("replaces-cluster").loses
    root = change.urn.replace(change.type, "tls:index/selfSignedCert:SelfSignedCert")
    for urn, protected, lost in (
        (change.urn, True, True),
        (change.urn, False, True),
        (root, True, True),
        (root, False, False),
    ):
        assert replace(change, operation=operation, urn=urn, protected=protected).loses is lost
    assert not replace(change, operation="update").loses


def test_a_policy_that_is_broken_is_told() -> None:
    """A violation, which the JSON preview leaves out, comes from the engine's events."""
    [violation] = read("policy").violations
    assert (violation.policy, violation.mandatory) == ("narrow-access", True)
    assert "| `narrow-access` | access | it permits list on secrets" in rendered("policy")


def test_an_advisory_violation_admits_the_move() -> None:
    """An advisory policy is told as such and fails nothing."""
    found = read("policy")
    [violation] = found.violations
    mild = replace(found, violations=(replace(violation, mandatory=False),), failed=False)
    assert mild.admitted
    assert "`narrow-access` (advisory)" in markdown(mild, now=datetime.now(UTC))


def test_a_mistake_is_told_as_the_program_words_it() -> None:
    """A mistake in the stack file is shown line by line, and is not taken for a refusal."""
    assert read("mistake").refusals == ()
    assert 'aks-istio-ca:leafTtl: "1 day" is not allowed' in rendered("mistake")


def test_a_failure_without_words_is_still_a_failure() -> None:
    """When only the engine's frame is left of an error, the report says where to look."""
    document = {"steps": [], "diagnostics": [{"severity": "error", "message": "preview failed\n"}]}
    found = preview.read(document, where="x")
    assert not found.admitted
    assert "its job's log may say more" in markdown(found, now=datetime.now(UTC))


def test_restarts_may_come_sooner() -> None:
    """With workloads to restart, the time to the next move is told as the latest."""
    found = read("distribute")
    assert found.settings is not None
    restarting = found.settings.model_copy(update={"workloads": ["one"]})
    told = markdown(replace(found, settings=restarting), now=datetime.now(UTC))
    assert "or sooner if restarts show that nothing older is left" in told


def test_an_interrupted_attempt_counts_in_what_comes_next() -> None:
    """Where a switch was interrupted and is taken back, leaves of its issuer may be about."""
    found = read("switch")
    assert found.settings is not None
    assert found.attempt is not None
    back = found.settings.model_copy(update={"rotation_phase": Phase.DISTRIBUTE})
    taken_back = replace(found, settings=back)
    later = datetime.now(UTC) + timedelta(days=1)
    assert found.ledger is not None
    assert found.attempt.base == found.ledger.serial
    assert "back to `steady a1`: legal 3s after this `up`" in markdown(taken_back, now=later)
    untried = replace(taken_back, attempt=None)
    assert "back to `steady a1`: legal at once" in markdown(untried, now=later)


@pytest.mark.parametrize("document", [[], "x", {}, {"rotation": {}}])
def test_other_json_is_refused(document: object) -> None:
    """JSON that is no preview is refused, not reported as one without changes."""
    with pytest.raises(Refused, match="not-a-preview: x is not what"):
        preview.read(document, where="x")


@pytest.mark.parametrize(
    "document",
    [
        {"steps": [{}]},
        {"steps": [{"urn": 1}]},
        {"steps": [1]},
        {"steps": {"a": 1}},
        {"steps": [], "config": [1]},
        {"diagnostics": [{}]},
        {"diagnostics": [{"severity": "error"}]},
        {"diagnostics": [{"severity": "info", "message": None}]},
    ],
)
def test_a_malformed_preview_is_refused(document: object) -> None:
    """JSON that only begins like a preview is refused in one line."""
    with pytest.raises(Refused, match=r"\Anot-a-preview: x is not what[^\n]*\Z"):
        preview.read(document, where="x")


@pytest.mark.parametrize("event", [{"policyEvent": {}}, {"policyEvent": {"message": 1}}])
def test_a_malformed_event_log_is_refused(event: dict[str, Any]) -> None:
    """A policy event without its message is told of the event log, not of the preview."""
    with pytest.raises(Refused, match=r"\Anot-a-preview: the event log that was given with x"):
        preview.read(kept("policy")["preview"], where="x", events=[event])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"config": {}}, "there are no settings `aks-istio-ca:` in the preview"),
        ({"config": {"other:size": {"value": "1"}}}, "there are no settings `aks-istio-ca:`"),
        ({"steps": []}, "there is no stack in the preview"),
    ],
)
def test_a_preview_of_something_else_is_not_admitted(change: dict[str, Any], told: str) -> None:
    """Without a stack or without settings there is nothing to admit, though nothing failed."""
    found = preview.read({**kept("unchanged")["preview"], **change}, where="x")
    assert not found.admitted
    assert told in markdown(found, now=datetime.now(UTC))


TEXT = st.text("abcdefghij -,;()`0123456789", min_size=1, max_size=40).map(str.strip).filter(bool)
NAMED = st.builds(
    CertificateRef,
    st.from_regex(r"[a-z][a-z0-9-]{0,9}", fullmatch=True),
    st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
    st.datetimes(
        timezones=st.just(UTC), min_value=datetime(2020, 1, 1), max_value=datetime(2100, 1, 1)
    ),
)


@given(TEXT, TEXT, st.lists(st.one_of(NAMED, st.builds(CertificateRef, st.just("a1"))), max_size=3))
def test_a_refusal_is_read_back(
    reason: str, mitigation: str, certificates: list[CertificateRef]
) -> None:
    """What a refusal's text is made of can be told apart again."""
    refusal = Refusal("some-id", reason, f"Do {mitigation}.", tuple(certificates))
    named = tuple(str(certificate) for certificate in certificates)
    assert parse(str(refusal)) == Told("some-id", reason, f"Do {mitigation}.", named)


@pytest.mark.parametrize(
    "line",
    [
        'aks-istio-ca:leafTtl: "1 day" is not allowed; allowed: a duration',
        "unable to replace resource",
        "Status=403 Code=Forbidden. Grant access.",
        "",
    ],
)
def test_other_lines_are_no_refusals(line: str) -> None:
    """Mistakes and errors of others are not taken for refusals."""
    assert parse(line) is None


def test_a_refusal_is_found_behind_the_engines_words() -> None:
    """A refusal out of a resource hook is read past what the engine puts before it."""
    line = 'Preview failed: before hook "x" failed: move-unfinished: it may have. Finish it.'
    assert parse(line) == Told("move-unfinished", "it may have", "Finish it.")


def saved(name: str, folder: Path) -> list[str]:
    """A captured preview as files, and the arguments that name them."""
    found = kept(name)
    (folder / "preview.json").write_text(json.dumps(found["preview"]))
    (folder / "events.json").write_text("\n".join(map(json.dumps, found["events"])))
    return ["--preview", str(folder / "preview.json"), "--events", str(folder / "events.json")]


@pytest.mark.parametrize(("name", "code"), [("unchanged", 0), ("too-early", 1), ("policy", 1)])
def test_the_command_prints_the_report_and_fails_with_the_preview(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, code: int
) -> None:
    """`report --preview` prints Markdown whatever it says, and its exit code is the verdict."""
    assert command.main(["report", *saved(name, tmp_path)]) == code
    assert capsys.readouterr().out == rendered(name)


def test_a_preview_that_was_never_written_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An empty file, as a `pulumi` that failed at once leaves it, is one line and exit code 1."""
    (tmp_path / "preview.json").write_text("")
    assert command.main(["report", "--preview", str(tmp_path / "preview.json")]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("not-json: ")


def test_the_golden_files_cover_every_phase() -> None:
    """A reviewer of the golden files sees what a preview of each phase looks like."""
    stances = {found.settings.stance for found in map(read, NAMES) if found.settings}
    assert {stance.partition(" ")[0] for stance in stances} == {*Phase}
