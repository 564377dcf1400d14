"""The preview script on a real stack, against the reports that were reviewed."""

import re
from pathlib import Path

import pytest

from tests.golden.capture import Captured, life
from tests.golden.render import NAMES, PREVIEWS, kept


@pytest.fixture(scope="module")
def previews(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Captured]:
    """Every preview of a stack's life, made by `.github/scripts/preview` on the local cloud."""
    return {one.name: one for one in life(tmp_path_factory.mktemp("previews"))}


def without_chance(report: str) -> str:
    """A report without what differs from run to run: fingerprints and moments."""
    report = re.sub(r"sha256 [0-9a-f]{16}", "sha256 ...", report)
    return re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "MOMENT", report)


@pytest.mark.parametrize("name", NAMES)
def test_the_script_reports_as_was_reviewed(previews: dict[str, Captured], name: str) -> None:
    """A preview made now gives the report in the golden file; `tests.golden.capture` renews it."""
    golden = (PREVIEWS / f"{name}.md").read_text()
    assert without_chance(previews[name].report) == without_chance(golden)


@pytest.mark.parametrize("name", NAMES)
def test_the_script_ends_as_the_preview_does(previews: dict[str, Captured], name: str) -> None:
    """The script's exit code, which decides over the pull request, is that of the captured run."""
    assert previews[name].code == kept(name)["code"]


def test_every_preview_has_a_report(previews: dict[str, Captured]) -> None:
    """No golden file is left of a preview that is no longer made, and none is missing."""
    assert sorted(previews) == NAMES
    assert sorted(path.stem for path in Path(PREVIEWS).glob("*.md")) == NAMES
