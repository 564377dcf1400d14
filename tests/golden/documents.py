"""What the tests know of the documents: fenced blocks, generated pictures, links.

The convention of fenced blocks. Commands are in blocks whose info string begins with `sh`:

- `sh` alone is run by a test on the local cloud and has to succeed; before it is run, the test
  waits until the stack's next move is legal;
- `sh now` is run without that wait;
- `sh refused=ID` is run without it too, and has to be refused with that id;
- `sh azure` needs Azure or a cluster and is not run;
- `sh ci` is run by `.ci/run` itself or stands for it.

A `text` block that follows a block of commands is what to see: its lines are found in the output
in that order, `...` standing for anything.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from meshca.picture import phases
from meshca.rotation import Phase

ROOT = Path(__file__).resolve().parent.parent.parent
README = ROOT / "README.md"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
LANGUAGES = {"sh", "text", "yaml", "json", "mermaid", "python"}
TAGS = {"azure", "ci", "now", "refused"}

_FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<body>.*?)^```$", re.M | re.S)
_HEADING = re.compile(r"^(#{1,6}) (.+)$", re.M)
_PICTURE = re.compile(r"<!-- picture: (\w+) (\w+) -->\n.*?<!-- end of picture -->", re.S)
_LINK = re.compile(r"\]\((?!https?:)([^)\s]+)\)")
_ROTATIONS = {
    "root": phases("a1", "a", "b1", "b"),
    "intermediate": phases("a1", "a", "a2", "a"),
}


@dataclass(frozen=True)
class Fence:
    """One fenced block, and the second-level section that it is in."""

    language: str
    tags: tuple[str, ...]
    body: str
    line: int
    section: str

    @property
    def refused(self) -> str | None:
        """The id that its commands are to be refused with."""
        found = [tag.partition("=")[2] for tag in self.tags if tag.startswith("refused=")]
        return found[0] if found else None

    @property
    def runs(self) -> bool:
        """Whether a test runs it."""
        return self.language == "sh" and not {"azure", "ci"} & {*self.tags}


def fences(text: str) -> Iterator[Fence]:
    """Every fenced block of a document, in order."""
    for found in _FENCE.finditer(text):
        language, *tags = found["info"].split() or [""]
        above = re.findall(r"^## (.+)$", _outside_fences(text[: found.start()]), re.M)
        line = text.count("\n", 0, found.start()) + 1
        yield Fence(language, tuple(tags), found["body"], line, above[-1] if above else "")


def with_pictures(text: str) -> str:
    """The document with every picture between its markers as the code draws it."""

    def drawn(found: re.Match[str]) -> str:
        picture = _ROTATIONS[found[1]][Phase(found[2])]
        head = f"<!-- picture: {found[1]} {found[2]} -->"
        return f"{head}\n```mermaid\n{picture}\n```\n<!-- end of picture -->"

    return _PICTURE.sub(drawn, text)


def anchors(text: str) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    titles = [title for _, title in _HEADING.findall(_outside_fences(text))]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def links(text: str) -> list[str]:
    """The targets of the links that lead to another place in the repository."""
    return _LINK.findall(_outside_fences(text))


def _outside_fences(text: str) -> str:
    return _FENCE.sub("", text)
