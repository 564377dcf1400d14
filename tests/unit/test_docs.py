"""The documents against the code: pictures, refusals, links, and how commands are marked."""

import ast
import re
from pathlib import Path

import pytest

from tests.golden.documents import (
    DOCUMENTS,
    LANGUAGES,
    README,
    ROOT,
    TAGS,
    anchors,
    fences,
    links,
    with_pictures,
)

ROTATION = ROOT / "docs" / "rotation.md"
TROUBLESHOOTING = ROOT / "docs" / "troubleshooting.md"
VERIFY = "## What verify finds\n"


@pytest.fixture(params=DOCUMENTS, ids=lambda document: str(document.relative_to(ROOT)))
def document(request: pytest.FixtureRequest) -> Path:
    """Each document in turn."""
    path: Path = request.param
    return path


def test_pictures_are_what_the_code_draws(document: Path) -> None:
    """No picture in a document has drifted from the code; `python -m tests.golden.draw` mends."""
    text = document.read_text()
    assert with_pictures(text) == text


def test_the_runbook_shows_every_phase() -> None:
    """docs/rotation.md has a picture of each phase of a root and of an intermediate rotation."""
    shown = re.findall(r"<!-- picture: (\w+ \w+) -->\n```mermaid", ROTATION.read_text())
    assert shown == [
        *("root steady", "root distribute", "root switch", "root retire"),
        *("intermediate distribute", "intermediate switch", "intermediate retire"),
    ]


def test_blocks_follow_the_convention(document: Path) -> None:
    """Every fenced block has a language, and a block of commands is marked in a known way."""
    for fence in fences(document.read_text()):
        assert fence.language in LANGUAGES, f"{document.name}, line {fence.line}"
        known = {tag.partition("=")[0] for tag in fence.tags} <= TAGS
        assert known, f"{document.name}, line {fence.line}: {fence.tags}"


def commands(text: str) -> set[str]:
    """The commands in a document's blocks of commands, one by one and without comments."""
    blocks = [fence for fence in fences(text) if fence.language == "sh"]
    lines = [line.partition(" #")[0] for fence in blocks for line in fence.body.splitlines()]
    return {part.strip() for line in lines for part in line.split("&&") if part.strip()}


def test_the_commands_of_the_readme_are_run_elsewhere() -> None:
    """Every command of the README is a target of make, or a command of a document that is run."""
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    known = {f"make {target}" for target in targets} | {". .lab/env"}
    for document in DOCUMENTS:
        if document != README:
            known |= commands(document.read_text())
    assert commands(README.read_text()) - known == set()


def test_links_lead_somewhere(document: Path) -> None:
    """Every relative link names a file of the repository, and an anchor that is in it."""
    for link in links(document.read_text()):
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), f"{document.name}: {link}"
        if anchor:
            assert anchor in anchors(target.read_text()), f"{document.name}: {link}"


def refusal_ids() -> set[str]:
    """Every id that the code can refuse with."""
    found = set()
    for source in sorted([*(ROOT / "meshca").glob("*.py"), *(ROOT / "components").glob("*.py")]):
        tree = ast.parse(source.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                found |= _ids_of_call(node, source.name)
            elif isinstance(node, ast.Assign):
                targets = [name for target in node.targets for name in ast.walk(target)]
                if any(isinstance(one, ast.Name) and one.id == "identity" for one in targets):
                    found |= set().union(*map(_ids, ast.walk(node.value)))
    return found


def _ids_of_call(call: ast.Call, source: str) -> set[str]:
    if not (isinstance(call.func, ast.Name) and call.func.id in ("Refusal", "Rule", "_refused")):
        return set()
    [given] = [word.value for word in call.keywords if word.arg == "id"] or call.args[:1]
    # Where the id is a variable, it is one that is assigned or handed over as a text elsewhere.
    known = _ids(given) or ast.unparse(given) in ("identity", "rule.id")
    assert known, f"{source}, line {call.lineno}"
    return _ids(given)


def _ids(node: ast.AST) -> set[str]:
    """The node's text as the only member, when it is one that can be an id."""
    text = node.value if isinstance(node, ast.Constant) else None
    return {text} if isinstance(text, str) and re.fullmatch(r"[a-z]+(-[a-z]+)*", text) else set()


def finding_ids() -> set[str]:
    """Every id that `python -m meshca verify` can find, but for `...-ok`."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / "meshca" / "verify.py").read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("Finding", "self._found"):
            found |= set().union(*map(_ids, ast.walk(node.args[1])))
        elif isinstance(node, ast.FunctionDef) and node.name == "_cause":
            returned = [one.value for one in ast.walk(node) if isinstance(one, ast.Return)]
            found |= {
                id_ for one in returned if isinstance(one, ast.Tuple) for id_ in _ids(one.elts[0])
            }
    return found


def explained_ids(*, findings: bool = False) -> list[str]:
    """The ids in the first column of the tables of docs/troubleshooting.md, without findings."""
    before, _, section = TROUBLESHOOTING.read_text().partition(VERIFY)
    of_verify, _, after = section.partition("\n## ")
    text = of_verify if findings else before + after
    return re.findall(r"^\| `([a-z-]+)` \|", text, re.M)


def test_every_finding_is_explained_once() -> None:
    """docs/troubleshooting.md has an entry for each finding of `verify`, and for no other."""
    assert sorted(explained_ids(findings=True)) == sorted(finding_ids())


def test_every_refusal_is_explained() -> None:
    """docs/troubleshooting.md has an entry for each id that the code can refuse with."""
    assert refusal_ids() - {*explained_ids()} == set()


def test_no_refusal_is_explained_that_is_none() -> None:
    """docs/troubleshooting.md has an entry for no other id, and none twice."""
    assert sorted(explained_ids()) == sorted(refusal_ids() & {*explained_ids()})


def test_blocks_are_refused_with_ids_that_exist(document: Path) -> None:
    """A block that is to be refused names an id of the code, or the key of a setting."""
    for fence in fences(document.read_text()):
        if fence.refused is not None:
            known = fence.refused in refusal_ids() or fence.refused.startswith("aks-istio-ca:")
            assert known, f"{document.name}, line {fence.line}"
