"""Renders the captured previews afresh: `python -m tests.golden.render`."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from meshca import preview
from meshca.preview import Preview
from meshca.report_markdown import markdown

PREVIEWS = Path(__file__).resolve().parent / "previews"
NAMES = sorted(path.stem for path in PREVIEWS.glob("*.json"))


def kept(name: str) -> dict[str, Any]:
    """A captured preview as `tests.golden.capture` keeps it."""
    return dict(json.loads((PREVIEWS / f"{name}.json").read_text()))


def read(name: str) -> Preview:
    """A captured preview, read for a report."""
    found = kept(name)
    return preview.read(found["preview"], where=name, events=found["events"])


def rendered(name: str) -> str:
    """The report of a captured preview, at the moment at which it was captured."""
    return markdown(read(name), now=datetime.fromisoformat(kept(name)["at"]))


def main() -> None:
    """Writes every report, in place of what was there."""
    for name in NAMES:
        (PREVIEWS / f"{name}.md").write_text(rendered(name))


if __name__ == "__main__":
    main()
