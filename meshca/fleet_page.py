"""The fleet as one HTML page that needs nothing else: no script, no font, no request."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from html import escape

from meshca.fleet import COLUMNS, SOON, Member, concerns
from meshca.refusals import iso

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --alarm: #b3261e; --on-alarm: #fff; }
@media (prefers-color-scheme: dark) { :root { --alarm: #f2b8b5; --on-alarm: #601410; } }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 80rem; padding: 1rem; }
h1 { font-size: 1.5rem; margin: 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .4rem .8rem; border-bottom: 1px solid var(--line); }
thead th { white-space: nowrap; }
tbody th { font-weight: 600; }
.alarm { background: var(--alarm); color: var(--on-alarm); }
ul.alarms { padding: .6rem 2rem; border-radius: .4rem; }
"""


def page(members: Sequence[Member], *, now: datetime, within: timedelta = SOON) -> str:
    """The whole page, for a file."""
    found = concerns(members, now=now, within=within)
    alarmed = {stack for stack, _ in found}
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in COLUMNS)
    rows = "\n".join(_row(one, now, alarm=one.stack in alarmed) for one in members)
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Mesh CAs</title>
<style>{_STYLE}</style>
<h1>Mesh CAs</h1>
<p>{len(members)} {"stack" if len(members) == 1 else "stacks"}, as of {iso(now)}.</p>
{_alarms(found)}
<div class="scroll"><table>
<thead><tr>{head}</tr></thead>
<tbody>
{rows}
</tbody>
</table></div>
</html>
"""


def _alarms(found: Sequence[tuple[str, str]]) -> str:
    if not found:
        return "<p>Nothing needs attention.</p>"
    items = "".join(
        f"<li><strong>{escape(stack)}</strong>: {escape(concern)}</li>" for stack, concern in found
    )
    return f'<ul class="alarms alarm">{items}</ul>'


def _row(one: Member, now: datetime, *, alarm: bool) -> str:
    stack, *cells = one.cells(now)
    rest = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
    marked = ' class="alarm"' if alarm else ""
    return f'<tr><th scope="row"{marked}>{escape(stack)}</th>{rest}</tr>'
