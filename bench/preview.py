"""What `pulumi preview` of the program costs, when nothing changes and in a rotation."""

from collections.abc import Iterator
from pathlib import Path

import yaml

from bench.timing import Ratio, alternating
from lab import layout
from tests.engine.workspace import Workspace

EMPTY_PROGRAM = "import pulumi\n"
AT_MOST = 2.0


def preview(directory: Path) -> Iterator[Ratio]:
    """Previews of the dev stack, over one of an empty Python program on the same engine."""
    empty = Workspace(directory / "empty", program=EMPTY_PROGRAM)
    empty.done()
    dev = yaml.safe_load((layout.ROOT / "Pulumi.dev.yaml").read_text())["config"]
    steady = Workspace(directory / "steady")
    steady.converge(dev)
    rotating = steady.copy(directory / "rotating")
    rotating.change(
        roots={"a": {"generated": {}}, "b": {"generated": {}}},
        issuers={"a1": {"root": "a"}, "b1": {"root": "b"}},
        rotationPhase="distribute",
        nextIssuer="b1",
    )
    rotating.done()
    base, unchanged, in_rotation = alternating(
        lambda: empty.run("preview"), lambda: steady.run("preview"), lambda: rotating.run("preview")
    )
    yield Ratio("preview, nothing changes / empty program", unchanged, base, AT_MOST)
    yield Ratio("preview, in a rotation / empty program", in_rotation, base, AT_MOST)
