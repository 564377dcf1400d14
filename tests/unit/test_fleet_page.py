"""The fleet's page in a real browser: what it shows, how it fits, and that it asks for nothing."""

import html
import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from meshca.fleet import COLUMNS, Member
from meshca.fleet_page import page
from meshca.rotation import Phase
from tests.golden.ledgers import DAY, START, walk

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = next((found for name in BROWSERS if (found := shutil.which(name))), None)
NOW = START + 3 * DAY
MEMBERS = [
    Member("organization/aks-istio-ca/east", walk(Phase.DISTRIBUTE), "enabled"),
    Member("organization/aks-istio-ca/west", walk(years=0), "enabled"),
    Member('<b>odd</b> & "quoted"', walk(), "enabled"),
]
"""One in a rotation, one whose issuers have ended, and one whose name looks like markup."""

PROBE = """
<iframe id=page width=%d height=600 srcdoc="%s"></iframe><pre id=found></pre>
<script>
document.getElementById('page').onload = event => {
  const inside = event.target.contentDocument, view = event.target.contentWindow;
  const text = node => node.textContent.trim();
  const colours = node => [view.getComputedStyle(node).backgroundColor,
                           view.getComputedStyle(node).color];
  document.getElementById('found').textContent = JSON.stringify({
    title: inside.title,
    head: [...inside.querySelectorAll('thead th')].map(text),
    rows: [...inside.querySelectorAll('tbody tr')].map(row => [...row.children].map(text)),
    alarms: [...inside.querySelectorAll('.alarms li')].map(text),
    marked: [...inside.querySelectorAll('tbody th')].map(cell => colours(cell)[0]),
    contrast: colours(inside.querySelector('.alarm')),
    bold: inside.querySelectorAll('tbody b').length,
    wide: inside.documentElement.scrollWidth > inside.documentElement.clientWidth,
    requests: view.performance.getEntriesByType('resource').map(entry => entry.name),
    scripts: inside.scripts.length,
  });
};
</script>
"""


@dataclass(frozen=True)
class Seen:
    """What the browser made of the page."""

    title: str
    head: list[str]
    rows: list[list[str]]
    alarms: list[str]
    marked: list[str]
    contrast: list[str]
    bold: int
    wide: bool
    requests: list[str]
    scripts: int


def seen(folder: Path, *, width: int = 1200) -> Seen:
    """The page in a window of that many pixels, as a headless browser renders it."""
    assert BROWSER is not None
    harness = folder / "harness.html"
    harness.write_text(PROBE % (width, html.escape(page(MEMBERS, now=NOW))))
    answer = subprocess.run(
        [
            BROWSER,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={folder / 'profile'}",
            "--virtual-time-budget=5000",
            "--dump-dom",
            harness.as_uri(),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found = re.search(r'<pre id="found">(.*?)</pre>', answer.stdout, re.S)
    assert found is not None, answer.stdout
    return Seen(**json.loads(html.unescape(found[1])))


pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """The page in a wide window."""
    return seen(tmp_path_factory.mktemp("page"))


def test_every_stack_is_a_row(shown: Seen) -> None:
    """The browser shows the headings, and the cells of every stack as the table has them."""
    assert shown.head == [*COLUMNS]
    assert shown.rows == [[*member.cells(NOW)] for member in MEMBERS]


def test_names_are_text_and_no_markup(shown: Seen) -> None:
    """A stack's name that looks like markup is shown as it is, and nothing comes of it."""
    assert shown.rows[2][0] == '<b>odd</b> & "quoted"'
    assert shown.bold == 0


def test_what_needs_attention_stands_out(shown: Seen) -> None:
    """The stack with an ended certificate is named on top, and its row has another colour."""
    [alarm] = shown.alarms
    assert alarm.startswith("organization/aks-istio-ca/west: a1 ended at ")
    calm, alarmed, also_calm = shown.marked
    assert calm == also_calm != alarmed


def test_what_stands_out_can_be_read(shown: Seen) -> None:
    """Text on the alarm's colour has a contrast of 4.5 at least (WCAG 2.2, 1.4.3)."""
    darker, lighter = sorted(luminance(colour) for colour in shown.contrast)
    assert (lighter + 0.05) / (darker + 0.05) >= 4.5


def luminance(colour: str) -> float:
    """The relative luminance of `rgb(r, g, b)` (WCAG 2.2, definitions)."""
    channels = [int(number) / 255 for number in re.findall(r"\d+", colour)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_the_page_needs_nothing_else(shown: Seen) -> None:
    """The page makes no request and runs no script."""
    assert shown.requests == []
    assert shown.scripts == 0


def test_the_page_fits_a_phone(tmp_path: Path) -> None:
    """On 360 pixels the table scrolls in its box; the page itself does not scroll sideways."""
    assert not seen(tmp_path, width=360).wide
