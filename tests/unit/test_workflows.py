"""The workflows: valid, pinned, and with no more power than each job needs."""

import re
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab import layout
from meshca.settings import Settings

WORKFLOWS = sorted((layout.ROOT / ".github" / "workflows").glob("*.yml"))
SCRIPTS = sorted(path for path in (layout.ROOT / ".github" / "scripts").iterdir() if path.is_file())
LOGS_IN = "Azure/login@"


def read(path: Path) -> dict[str, Any]:
    """A workflow; YAML 1.1 reads the key `on` as true."""
    found = yaml.safe_load(path.read_text())
    return {"on" if key is True else key: value for key, value in found.items()}


JOBS = {
    f"{path.stem}/{name}": job for path in WORKFLOWS for name, job in read(path)["jobs"].items()
}
STEPS = [(where, step) for where, job in JOBS.items() for step in job["steps"]]


def test_actionlint_finds_nothing() -> None:
    """actionlint, built from its Go module, has nothing to say about any workflow."""
    built = subprocess.run(
        ["go", "tool", "-n", "actionlint"],
        cwd=layout.ROOT / "tools" / "actionlint",
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    answer = subprocess.run(
        [built.stdout.strip(), "-no-color", *WORKFLOWS],
        # What .github/actionlint.yaml says of a workflow counts only from here.
        cwd=layout.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (answer.returncode, answer.stdout) == (0, ""), answer.stderr


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_by_commit_and_named_by_version(path: Path) -> None:
    """Every action is a commit, which nobody can move, with its full version beside it."""
    for line in path.read_text().splitlines():
        if "uses:" in line:
            pinned = re.search(r"uses: [\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line)
            assert pinned, line


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_has_no_power_of_its_own(path: Path) -> None:
    """Permissions are given job by job: the workflow as a whole has none."""
    assert read(path)["permissions"] == {}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_no_workflow_runs_foreign_code_with_secrets(path: Path) -> None:
    """Nothing is started by `pull_request_target` or `workflow_run`, which bring secrets along."""
    assert not {"pull_request_target", "workflow_run"} & {*read(path)["on"]}


def test_no_job_can_both_reach_azure_and_write_to_github() -> None:
    """A job that gets a token for Azure has no permission to write anything on GitHub."""
    for where, job in JOBS.items():
        granted = job["permissions"]
        if granted.get("id-token") == "write":
            assert granted == {"contents": "read", "id-token": "write"}, where
        else:
            assert {*granted.values()} - {"read"} <= {"write"}, where
    writers = {
        where: job["permissions"]
        for where, job in JOBS.items()
        if "write" in str(job["permissions"])
    }
    assert {where: granted for where, granted in writers.items() if "id-token" not in granted} == {
        "preview/comment": {"contents": "read", "pull-requests": "write"}
    }


def test_the_job_that_comments_runs_the_base_branch() -> None:
    """The only job that may write to GitHub does not run what the pull request brings."""
    [checkout] = [step for step in JOBS["preview/comment"]["steps"] if "checkout" in str(step)][:1]
    assert checkout["with"]["ref"] == "${{ github.event.pull_request.base.sha }}"


def test_no_checkout_leaves_a_token_behind() -> None:
    """No step after a checkout finds GitHub's token in the git configuration."""
    checkouts = [step for _, step in STEPS if "actions/checkout@" in step.get("uses", "")]
    assert len(checkouts) >= len(JOBS) - 1
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_no_password_logs_in_to_azure() -> None:
    """Every login is by OIDC: an identity's ids, and no secret."""
    logins = [step["with"] for _, step in STEPS if LOGS_IN in step.get("uses", "")]
    assert logins
    for given in logins:
        assert {*given} == {"client-id", "tenant-id", "subscription-id"}
        assert "secrets." not in str(given)


@pytest.mark.parametrize(
    ("job", "environment"),
    [
        ("up/up", "${{ matrix.stack }}"),
        ("preview/preview", "${{ matrix.stack }}-preview"),
        ("drift/drift", "${{ matrix.stack }}-drift"),
    ],
)
def test_each_workflow_has_an_environment_of_its_own(job: str, environment: str) -> None:
    """Looking is not done as `up`, and a reviewer of previews keeps no drift waiting."""
    assert JOBS[job]["environment"] == environment


def test_no_two_runs_move_stacks_at_the_same_time() -> None:
    """Runs of `up` wait for each other, and none that waits is dropped for a later one."""
    assert read(layout.ROOT / ".github" / "workflows" / "up.yml")["concurrency"] == {
        "group": "up",
        "cancel-in-progress": False,
        "queue": "max",
    }
    assert JOBS["up/up"]["strategy"]["max-parallel"] == 1


def test_a_repeated_run_of_up_takes_nothing_back() -> None:
    """`up` runs what the branch says now, not the commit that once started the run."""
    [checkout] = [step for step in JOBS["up/up"]["steps"] if "checkout" in str(step)]
    assert checkout["with"]["ref"] == "${{ github.ref }}"


def test_restarts_that_take_their_time_do_not_run_out_of_it() -> None:
    """`up` may wait for istiod and for workloads as long as configured, within GitHub's limit."""
    metadata = Settings.model_fields["restart_timeout"].metadata
    [longest] = [limit.le for limit in metadata if hasattr(limit, "le")]
    given = timedelta(minutes=JOBS["up/up"]["timeout-minutes"])
    assert 2 * longest < given < timedelta(hours=6)


def test_the_verdict_on_a_pull_request_is_always_given() -> None:
    """The check to require runs whatever became of the previews, and sees what became of them."""
    verdict = JOBS["preview/verdict"]
    assert (verdict["if"], verdict["needs"]) == ("always()", ["stacks", "preview"])
    assert verdict["steps"][-1]["env"] == {
        "FOUND": "${{ needs.stacks.result }}",
        "STACKS": "${{ needs.stacks.outputs.stacks }}",
        "PREVIEWED": "${{ needs.preview.result }}",
    }


def test_the_job_that_comments_knows_every_stack() -> None:
    """So that one whose preview left no report is told of, with where to look."""
    [given] = [step["env"] for step in JOBS["preview/comment"]["steps"] if "run" in step]
    assert given["STACKS"] == "${{ needs.stacks.outputs.stacks }}"
    assert given["JOBS"].endswith("/actions/runs/${{ github.run_id }}")
    assert "stacks" in JOBS["preview/comment"]["needs"]


def test_a_repeated_preview_replaces_its_report() -> None:
    """The report of the attempt before does not make the upload fail."""
    [upload] = [step for _, step in STEPS if "upload-artifact@" in step.get("uses", "")]
    assert upload["with"]["overwrite"] is True


def test_a_stack_is_brought_up_by_one_job_at_a_time() -> None:
    """Runs of `up` for one stack wait for each other, and none is cancelled on its way."""
    assert JOBS["up/up"]["concurrency"] == {
        "group": "up-${{ matrix.stack }}",
        "cancel-in-progress": False,
    }


def test_a_preview_of_a_fork_gets_no_identity() -> None:
    """The job that logs in does not run for a pull request from another repository."""
    condition = "github.event.pull_request.head.repo.full_name == github.repository"
    assert condition in JOBS["preview/preview"]["if"]


def test_no_expression_is_pasted_into_a_script() -> None:
    """What GitHub fills in reaches a command as a variable, never as part of its text."""
    assert [where for where, step in STEPS if "${{" in step.get("run", "")] == []


def test_every_command_is_a_script_that_a_test_runs() -> None:
    """A `run:` step is one line that starts a script, and a test on the local cloud runs it."""
    tests = layout.ROOT / "tests"
    running = [tests / "golden" / "capture.py", *(tests / "docs").glob("test_*.py")]
    tested = "".join(path.read_text() for path in running)
    called = set()
    for where, step in STEPS:
        if "run" in step:
            found = re.match(r"\.github/scripts/([\w.]+)\b[^;&|]*$|\.ci/run$", step["run"])
            assert found, f"{where}: {step['run']}"
            called.add(found[1])
    called.discard(None)
    assert called == {path.name for path in SCRIPTS}
    assert {name for name in called if f'"{name}"' not in tested} == set()


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_can_be_started(path: Path) -> None:
    """Every script is executable and says in its first line what runs it."""
    assert path.stat().st_mode & 0o111
    assert path.read_text().startswith("#!/usr/bin/env ")
