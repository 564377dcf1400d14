"""Every command in the documents, run on the local cloud as a reader would run it.

Each second-level section begins with a mesh that is steady in a1, and may lead anywhere from
there. See tests/golden/documents.py for what the info strings of the blocks mean.
"""

import re
import subprocess
from pathlib import Path

import pytest
from _pytest.mark.structures import ParameterSet

from tests.docs.mesh import ISSUERS
from tests.engine.workspace import Workspace
from tests.golden.documents import DOCUMENTS, README, ROOT, Fence, fences

TIMEOUT = 180
"""Seconds after which a block of commands counts as hung."""


def sections() -> list[ParameterSet]:
    """Every section with commands that a test runs, by document and title."""
    found = []
    for document in DOCUMENTS:
        if document == README:
            continue  # tests/unit/test_docs.py finds each of its commands somewhere else
        blocks = list(fences(document.read_text()))
        for title in dict.fromkeys(block.section for block in blocks if block.runs):
            mine = [block for block in blocks if block.section == title]
            found.append(pytest.param(document.name, mine, id=f"{document.stem}: {title or 'top'}"))
    return found


@pytest.mark.parametrize(("document", "blocks"), sections())
def test_a_section_can_be_followed(
    steady: Workspace, tmp_path: Path, document: str, blocks: list[Fence]
) -> None:
    """The commands of a section, run in order, succeed or are refused, and show what is said."""
    mesh = steady.copy(tmp_path / "mesh")
    (mesh.directory / "policy").symlink_to(ROOT / "policy")
    forget_others(mesh, "".join(block.body for block in blocks))
    output = ""
    for block in blocks:
        place = f"{document}, line {block.line}"
        if block.runs:
            if not block.tags and mesh.ledger()["nextMove"] is not None:
                mesh.wait_for_next_move()
            code, output = run(block.body, mesh)
            if block.refused:
                assert code != 0, f"{place}: not refused\n{output}"
                assert f"{block.refused}: " in output, f"{place}\n{output}"
            else:
                assert code == 0, f"{place}\n{output}"
        elif block.language == "text":
            assert re.search(expected(block.body), output), f"{place}: not in\n{output}"


def forget_others(mesh: Workspace, told: str) -> None:
    """Takes the issuers out of the configuration that a section does not speak of."""
    for issuer in ISSUERS:
        if issuer != "a1" and not re.search(rf"\b{issuer}\b", told):
            for holder in ("issuers", "issuerKeys"):
                mesh.run("config", "rm", "--path", f"{holder}.{issuer}")


def run(commands: str, mesh: Workspace) -> tuple[int, str]:
    """Exit code and output of a block of commands, in the shell that a reader has."""
    ended = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=mesh.directory,
        env={
            **mesh.environment,
            "NO_COLOR": "1",
            "PULUMI_SKIP_CONFIRMATIONS": "true",
            "PULUMI_OPTION_SKIP_PREVIEW": "true",
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    return ended.returncode, ended.stdout


def expected(text: str) -> str:
    """The pattern of what to see: the lines in order, `...` for anything."""
    lines = [re.escape(line.strip()).replace(r"\.\.\.", ".*") for line in text.splitlines()]
    return r"(?:.*\n)*?".join(rf"[^\n]*{line}[^\n]*\n" for line in lines if line)
