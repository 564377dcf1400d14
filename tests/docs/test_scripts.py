"""The scripts that the workflows run, on the local cloud; `preview` has test_previews.py."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from lab import layout
from lab.azure import seed
from tests.docs.github import ITSELF, REPOSITORY, TOKEN, Comments, served
from tests.docs.mesh import CONFIGURATION, make_certificates
from tests.engine.workspace import Workspace

SCRIPTS = layout.ROOT / ".github" / "scripts"
TIMEOUT = 180
"""Seconds after which a script counts as hung."""


def run(
    name: str, *arguments: str, cwd: Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """A script as a step runs it; its output and errors together."""
    return subprocess.run(
        [SCRIPTS / name, *arguments],
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


# changed_stacks.py


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A git repository with two stacks, one of which names a certificate."""
    (tmp_path / "certificates").mkdir()
    files = {
        "Pulumi.east.yaml": "certificate: certificates/a.pem\n",
        "Pulumi.west.yaml": "x: y\n",
        "Pulumi.example.yaml": "x: y\n",
        "certificates/a.pem": "a\n",
        "README.md": "text\n",
        "__main__.py": "pass\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    commit(tmp_path)
    return tmp_path


def git(repository: Path, *arguments: str) -> str:
    """Runs git in a repository, as nobody in particular."""
    who = ["-c", "user.name=test", "-c", "user.email=test@example.com"]
    answer = subprocess.run(
        ["git", *who, *arguments], cwd=repository, check=True, capture_output=True, text=True
    )
    return answer.stdout.strip()


def commit(repository: Path) -> None:
    """Commits everything."""
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "--message", "change")


def concerned(repository: Path, *arguments: str, stacks: str = '["east", "west"]') -> list[str]:
    """The stacks that the script names."""
    ended = run("changed_stacks.py", *arguments, cwd=repository, environment={"STACKS": stacks})
    assert ended.returncode == 0, ended.stdout
    return list(json.loads(ended.stdout.splitlines()[-1].removeprefix("stacks=")))


@pytest.mark.parametrize(
    ("changed", "stacks"),
    [
        (["Pulumi.west.yaml"], ["west"]),
        (["certificates/a.pem"], ["east"]),
        (["Pulumi.west.yaml", "certificates/a.pem"], ["east", "west"]),
        (["__main__.py"], ["east", "west"]),
        (["meshca/new.py"], ["east", "west"]),
        (["policies.json"], ["east", "west"]),
        (["README.md"], []),
        (["Pulumi.example.yaml"], []),
        (["docs/meshca/x"], []),
    ],
)
def test_a_change_concerns_the_stacks_it_reaches(
    repository: Path, changed: list[str], stacks: list[str]
) -> None:
    """A stack is concerned by its file, by a certificate it names, and by the program."""
    git(repository, "switch", "--quiet", "--create", "change")
    for name in changed:
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_text("changed\n")
    commit(repository)
    if "Pulumi.west.yaml" not in changed:
        git(repository, "switch", "--quiet", "main")
        (repository / "Pulumi.west.yaml").write_text("changed meanwhile\n")
        commit(repository)
        git(repository, "switch", "--quiet", "change")
    assert concerned(repository, "main", "change") == stacks


@pytest.mark.parametrize("arguments", [(), ("", ""), ("0" * 40, "HEAD")])
def test_without_a_base_every_stack_is_concerned(
    repository: Path, arguments: tuple[str, ...]
) -> None:
    """Started by hand, on a new branch, or by the clock, nothing is left out."""
    assert concerned(repository, *arguments) == ["east", "west"]


def test_a_repository_without_stacks_concerns_none(repository: Path) -> None:
    """Where nobody has listed a stack, as in a fresh copy of this one, nothing is previewed."""
    assert concerned(repository, stacks="") == []


def test_a_stack_without_a_file_is_left_out(repository: Path) -> None:
    """A name too many in STACKS is one line in the log; the other stacks are looked after."""
    environment = {"STACKS": '["gone", "west"]'}
    ended = run("changed_stacks.py", cwd=repository, environment=environment)
    assert ended.returncode == 0
    assert sorted(ended.stdout.splitlines()) == [
        "gone is left out: STACKS names it, but there is no Pulumi.gone.yaml",
        'stacks=["west"]',
    ]


def test_a_certificate_that_moves_away_concerns_its_stack(repository: Path) -> None:
    """A stack that names a file which is renamed is concerned, as if it had been deleted."""
    git(repository, "switch", "--quiet", "--create", "change")
    git(repository, "mv", "certificates/a.pem", "certificates/other.pem")
    commit(repository)
    assert concerned(repository, "main", "change") == ["east"]


# verdict


@pytest.mark.parametrize(
    ("found", "stacks", "previewed", "code"),
    [
        ("success", '["east"]', "success", 0),
        ("success", "[]", "skipped", 0),
        ("success", '["east"]', "skipped", 1),  # a fork
        ("success", '["east"]', "failure", 1),
        ("success", '["east"]', "cancelled", 1),
        ("failure", "", "skipped", 1),
        ("cancelled", "", "skipped", 1),
    ],
)
def test_only_stacks_that_were_previewed_may_be_merged(
    tmp_path: Path, found: str, stacks: str, previewed: str, code: int
) -> None:
    """The verdict is good when every preview was, or when there was nothing to preview."""
    environment = {"FOUND": found, "STACKS": stacks, "PREVIEWED": previewed}
    assert run("verdict", cwd=tmp_path, environment=environment).returncode == code


# install


def test_the_program_finds_what_is_installed(tmp_path: Path) -> None:
    """`install` makes the .venv that Pulumi.yaml names, and puts it on the path of later steps."""
    (tmp_path / "policy").mkdir()
    for name in ("requirements.txt", "policy/requirements.txt"):
        (tmp_path / name).write_text("# what is to be installed\n")
    path = tmp_path / "path"
    ended = run("install", cwd=tmp_path, environment={"GITHUB_PATH": str(path)})
    assert ended.returncode == 0, ended.stdout
    assert path.read_text() == f"{tmp_path}/.venv/bin\n"
    assert (tmp_path / ".venv/bin/python").exists()


# summary


def test_the_summary_grows(tmp_path: Path) -> None:
    """`summary` appends, so that a job can show more than one report."""
    (tmp_path / "report.md").write_text("report\n")
    (tmp_path / "summary").write_text("before\n")
    environment = {"GITHUB_STEP_SUMMARY": str(tmp_path / "summary")}
    assert run("summary", "report.md", cwd=tmp_path, environment=environment).returncode == 0
    assert (tmp_path / "summary").read_text() == "before\nreport\n"


# comment.py

FIRST = "<!-- aks-istio-ca: preview of east -->\nfirst"
SECOND = "<!-- aks-istio-ca: preview of east -->\nsecond"
OTHER = "<!-- aks-istio-ca: preview of west -->\nother"
SOMEBODY = {"login": "somebody", "type": "User"}


@pytest.fixture
def comments() -> Iterator[Comments]:
    """The comments of a pull request, served."""
    with served(Comments()) as found:
        yield found


def commented(
    comments: Comments, folder: Path, *reports: str, token: str = TOKEN, stacks: str = "[]"
) -> int:
    """Runs the script over reports; returns its exit code."""
    names = ["reports/*/report.md"]  # what a shell hands over when nothing matches
    for number, text in enumerate(reports):
        names.append(f"report-{number}.md")
        (folder / names[-1]).write_text(text)
    environment = {
        "GITHUB_API_URL": comments.url,
        "GITHUB_REPOSITORY": REPOSITORY,
        "GITHUB_TOKEN": token,
        "PULL_REQUEST": "7",
        "STACKS": stacks,
        "JOBS": "https://github.example/runs/1",
    }
    return run("comment.py", *names, cwd=folder, environment=environment).returncode


def test_the_first_report_is_added(comments: Comments, tmp_path: Path) -> None:
    """A pull request without a report gets one comment for each stack."""
    comments.add("looks good", user=SOMEBODY)
    assert commented(comments, tmp_path, FIRST, OTHER) == 0
    assert comments.bodies == ["looks good", FIRST, OTHER]


def test_a_later_report_edits_the_comment(comments: Comments, tmp_path: Path) -> None:
    """A report of a stack that has one already replaces it, and touches no other."""
    for text in (OTHER, FIRST):
        comments.add(text)
    assert commented(comments, tmp_path, SECOND) == 0
    assert comments.bodies == [OTHER, SECOND]


def test_a_comment_is_found_on_a_later_page(comments: Comments, tmp_path: Path) -> None:
    """On a pull request with hundreds of comments the report is still edited, not repeated."""
    for number in range(250):
        comments.add(FIRST if number == 210 else f"comment {number}", user=ITSELF)
    assert commented(comments, tmp_path, SECOND) == 0
    assert len(comments.held) == 250
    assert comments.bodies[210] == SECOND


def test_nobodys_words_are_replaced(comments: Comments, tmp_path: Path) -> None:
    """A comment of a person that quotes a report is left alone."""
    comments.add(FIRST, user=SOMEBODY)
    assert commented(comments, tmp_path, SECOND) == 0
    assert comments.bodies == [FIRST, SECOND]


def test_what_is_no_report_is_not_put_anywhere(comments: Comments, tmp_path: Path) -> None:
    """A file with another first line, such as another bot's marker, is refused."""
    comments.add("<!-- somebody else -->\ntext")
    assert commented(comments, tmp_path, "<!-- somebody else -->\nforged") == 1
    assert comments.bodies == ["<!-- somebody else -->\ntext"]


def test_a_stack_without_a_report_is_told_of(comments: Comments, tmp_path: Path) -> None:
    """Where a preview left no report, the comment of an earlier one stands no longer."""
    comments.add(FIRST)
    assert commented(comments, tmp_path, OTHER, stacks='["east", "west"]') == 0
    assert comments.bodies == [
        "<!-- aks-istio-ca: preview of east -->\n## east: the preview did not run\n\n"
        "Its job ended before that; its log says why: https://github.example/runs/1\n",
        OTHER,
    ]


def test_a_long_report_is_cut(comments: Comments, tmp_path: Path) -> None:
    """A report longer than GitHub takes is cut, and says where the rest is."""
    assert commented(comments, tmp_path, f"{FIRST}{'x' * 70_000}") == 0
    [body] = comments.bodies
    assert len(str(body)) < 65_536
    assert str(body).endswith("The rest is in the summary of the job.")


def test_a_refused_request_fails_the_step(comments: Comments, tmp_path: Path) -> None:
    """Without a good token nothing is written and the job fails."""
    assert commented(comments, tmp_path, FIRST, token="wrong") != 0
    assert comments.held == []


# up and drift


def test_up_brings_a_stack_up_until_its_mesh_is_enabled(tmp_path: Path) -> None:
    """One run of `up` on a new stack goes through both passes, and ends with the state in words."""
    mesh = Workspace(tmp_path / "mesh")
    mesh.configure(CONFIGURATION)
    make_certificates(mesh)
    summary = tmp_path / "summary"
    environment = {**mesh.environment, "GITHUB_STEP_SUMMARY": str(summary)}
    ended = run("up", mesh.stack, cwd=mesh.directory, environment=environment)
    assert ended.returncode == 0, ended.stdout
    assert mesh.outputs()["mesh"] == "enabled"
    assert "Phase    steady a1, since " in ended.stdout
    assert summary.read_text().startswith("## test\n```text\nPhase    steady a1")


def test_up_goes_on_until_an_adopted_cluster_has_its_mesh(tmp_path: Path) -> None:
    """Which takes three runs of `pulumi up`: to adopt it, for the add-on, for the mesh."""
    mesh = Workspace(tmp_path / "mesh")
    seed.resource_group(mesh.state, "platform")
    seed.cluster(mesh.state, "platform", "shared", kubernetesVersion="1.33")
    cluster = {**CONFIGURATION["cluster"], "name": "shared", "resourceGroup": "platform"}
    mesh.configure({**CONFIGURATION, "cluster": {**cluster, "existing": True}})
    make_certificates(mesh)
    ended = run("up", mesh.stack, cwd=mesh.directory, environment=mesh.environment)
    assert ended.returncode == 0, ended.stdout
    assert mesh.outputs()["mesh"] == "enabled"


def test_up_gives_up_on_a_mesh_that_stays_pending(tmp_path: Path) -> None:
    """After four runs, with a line that says so, and not as if all were well."""
    for name, text in {
        "scripts/up": (SCRIPTS / "up").read_text(),
        "scripts/preview": "#!/bin/sh\n",
        "bin/pulumi": "#!/bin/sh\n"
        f'echo "$1" >> {tmp_path}/runs\n'
        '[ "$1" = up ] || echo "pending: run \\`pulumi up\\` again to enable it"\n',
    }.items():
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)
    path = os.pathsep.join((str(tmp_path / "bin"), os.environ["PATH"]))
    ended = run(str(tmp_path / "scripts/up"), "shop", cwd=tmp_path, environment={"PATH": path})
    assert ended.returncode == 1
    assert ended.stdout == (
        "The mesh of shop is not enabled after 4 runs of pulumi up: "
        "pending: run `pulumi up` again to enable it\n"
    )
    assert (tmp_path / "runs").read_text().split().count("up") == 4


def test_up_writes_nothing_that_its_preview_refuses(steady: Workspace, tmp_path: Path) -> None:
    """A move that is refused fails the job with the report, before the `up` has begun."""
    mesh = steady.copy(tmp_path / "mesh")
    mesh.want("switch a1 b1")
    with mesh.writes() as written:
        ended = run("up", mesh.stack, cwd=mesh.directory, environment=mesh.environment)
    assert ended.returncode != 0
    assert "| `signs-too-early` |" in ended.stdout
    assert written == []


def test_policies_are_asked_as_configured(steady: Workspace, tmp_path: Path) -> None:
    """What policies.json permits, neither the preview of `up` nor `up` itself refuses."""
    mesh = steady.copy(tmp_path / "mesh")
    mesh.change(
        keyVault={**CONFIGURATION["keyVault"], "secretPermissions": ["get", "list"]},
    )
    permitted = {"narrow-access": {"permissions": ["get", "list"]}}
    (mesh.directory / "policies.json").write_text(json.dumps(permitted))
    ended = run("up", mesh.stack, cwd=mesh.directory, environment=mesh.environment)
    assert ended.returncode == 0, ended.stdout


def test_without_drift_the_night_is_quiet(steady: Workspace, tmp_path: Path) -> None:
    """`drift` ends with 0 for a stack whose cloud is as it was left."""
    mesh = steady.copy(tmp_path / "mesh")
    ended = run("drift", mesh.stack, cwd=mesh.directory, environment=mesh.environment)
    assert ended.returncode == 0, ended.stdout


def disable_rotation(mesh: Workspace) -> None:
    """Turns secret rotation off in the cluster, as with the Azure CLI."""
    with mesh.cloud.instrument() as azure:
        [cluster] = azure.of_kind("Microsoft.ContainerService/managedClusters")
        add_ons = cluster.document["addonProfiles"]
        add_ons["azureKeyvaultSecretsProvider"]["config"]["enableSecretRotation"] = "false"
        azure.put(cluster.id, "Microsoft.ContainerService/managedClusters", cluster.document)


def test_drift_is_found(steady: Workspace, tmp_path: Path) -> None:
    """`drift` fails when somebody has changed what the stack declares, past the program."""
    mesh = steady.copy(tmp_path / "mesh")
    disable_rotation(mesh)
    ended = run("drift", mesh.stack, cwd=mesh.directory, environment=mesh.environment)
    assert ended.returncode != 0
    assert "ManagedCluster" in ended.stdout
