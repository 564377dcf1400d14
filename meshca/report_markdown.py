"""A preview as Markdown: for a comment on the pull request and for the job's summary.

Mermaid pictures and alerts (`> [!CAUTION]`) are GitHub's (docs.github.com, "Basic writing and
formatting syntax"); elsewhere they read as code and as quotes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from meshca import mesh, words
from meshca.preview import ATTEMPT, SECRET, Change, Preview
from meshca.report import way_back
from meshca.report_by_name import drawn_ledger, drawn_settings, ledger_after, posture_of
from meshca.report_refusals import Told, parse
from meshca.secrets import WRITE_ORDER, holds

CALLED = {
    "ManagedCluster": "cluster",
    "Vault": "vault",
    "AccessPolicy": "access policy",
    "RoleAssignment": "role assignment",
    "ResourceGroup": "resource group",
    "PrivateKey": "private key",
    "SelfSignedCert": "root certificate",
    "LocallySignedCert": "issuer certificate",
    "CertRequest": "signing request",
    "Stash": "record of the attempt",
    "Secret": "secret",
}
"""What a resource is called, by the last part of its type."""

DESTROYS = ("delete", "replace")


def marker(stack: str) -> str:
    """The hidden first line of a stack's comment, by which the next one finds and replaces it."""
    return f"<!-- aks-istio-ca: preview of {stack} -->"


def markdown(preview: Preview, *, now: datetime) -> str:
    """The whole report of one stack."""
    stack = preview.stack or "unknown stack"
    parts = [
        f"{marker(stack)}\n## {stack}: {_title(preview)}",
        *_losses(preview.loses),
        *_turned_off(preview),
        *_refusals(preview.refusals),
        *_errors(preview),
        *_violations(preview),
        *_break_glass(preview),
        *_in_words(preview),
        *_pictures(preview),
        *_written(preview),
        *_onward(preview, now),
    ]
    return "\n\n".join(parts) + "\n"


def _title(preview: Preview) -> str:
    if preview.settings is None:
        return "the configuration cannot be used"
    now = preview.ledger.stance if preview.ledger else None
    wanted = preview.settings.stance
    same = now == wanted
    move = f"`{now}` -> `{wanted}`" if now and not same else f"`{wanted}`"
    if preview.loses:
        return f"{move} would destroy what the mesh cannot lose"
    if preview.refusals:
        return f"{move} is refused"
    if not preview.admitted:
        return f"{move} cannot be made"
    if not preview.changes:
        return f"{move}, nothing changes"
    if _lifted(preview):
        return f"{move} by break-glass"
    return f"{move} stays in force" if same else move


def _losses(changes: Sequence[Change]) -> Iterator[str]:
    if changes:
        lines = [
            "> [!CAUTION]",
            "> **This would replace or delete what the mesh cannot lose.** Do not merge.",
            ">",
        ]
        for change in changes:
            why = f", because of {_listed(change.reasons)}" if change.reasons else ""
            lines.append(f"> - {change.operation} {_called(change)}{why}")
        yield "\n".join(lines)


def _turned_off(preview: Preview) -> Iterator[str]:
    """What disabling the mesh deletes; it is no mistake to want that, so the job stays green."""
    wanted = preview.settings is None or preview.settings.cluster.mesh
    if mesh.turns_off(preview.ledger, wanted=wanted):
        title, _, cost = mesh.TURNED_OFF.partition(": ")
        yield f"> [!CAUTION]\n> **{title}:** {cost}"


def _refusals(refusals: Sequence[Told]) -> Iterator[str]:
    if refusals:
        yield "> [!WARNING]\n> Nothing was registered, and nothing would be written."
        yield _table(
            ("refusal", "why", "what to do"),
            (
                (
                    f"`{told.id}`",
                    "<br>".join(_cell(line) for line in (told.reason, *told.certificates)),
                    told.mitigation,
                )
                for told in refusals
            ),
            raw=(1,),
        )


def _errors(preview: Preview) -> Iterator[str]:
    if preview.errors:
        yield "> [!WARNING]\n> The preview failed."
        yield _code("text", preview.errors)
    unexplained = not (preview.refusals or preview.violations or preview.loses)
    if preview.failed and not preview.errors and unexplained:
        yield "> [!WARNING]\n> The preview failed without a word; its job's log may say more."


def _violations(preview: Preview) -> Iterator[str]:
    if preview.violations:
        yield "### Policies"
        yield _table(
            ("policy", "resource", "violation"),
            (
                (
                    f"`{one.policy}`{'' if one.mandatory else ' (advisory)'}",
                    one.urn.rpartition("::")[2],
                    one.message,
                )
                for one in preview.violations
            ),
        )


def _lifted(preview: Preview) -> Sequence[str]:
    """The lines of `words.changes` from OVERRIDE on: the reason, then the refusals it lifts."""
    starts = [number for number, line in enumerate(preview.said) if "OVERRIDE" in line]
    return preview.said[starts[0] :] if starts else ()


def _break_glass(preview: Preview) -> Iterator[str]:
    if lines := _lifted(preview):
        yield (
            "> [!CAUTION]\n> **Break-glass.** `override` admits this move although it is refused."
            f" Reason: {_cell(lines[0].partition(': ')[2])}"
        )
        told = [found for line in lines[1:] if (found := parse(line)) is not None]
        yield _table(
            ("lifted refusal", "the risk taken", "otherwise"),
            ((f"`{one.id}`", one.reason, one.mitigation) for one in told),
        )


def _in_words(preview: Preview) -> Iterator[str]:
    if preview.refusals:
        return
    if preview.settings is not None and preview.settings.active_issuer is not None:
        stance = preview.settings.stance
        yield f"In `{stance.partition(' ')[0]}`, {words.meaning(stance)}."
    said = preview.said[1 : len(preview.said) - len(_lifted(preview))]
    # What turning the mesh off costs stands above, in a block of its own.
    if listed := [*said, *(note for note in preview.notes if note != mesh.TURNED_OFF)]:
        yield "\n".join(f"- {_cell(line.strip())}" for line in listed)


def _pictures(preview: Preview) -> Iterator[str]:
    before = drawn_ledger(preview.ledger) if preview.ledger else None
    after = drawn_settings(preview.settings) if preview.settings else None
    if before is not None and before == after:
        yield "### Chain of trust"
        yield _code("mermaid", [before])
        return
    if before is not None:
        yield "### Chain of trust now"
        yield _code("mermaid", [before])
    if after is not None:
        yield f"### Chain of trust {'after this' if preview.admitted else 'as asked for'}"
        yield _code("mermaid", [after])


def _written(preview: Preview) -> Iterator[str]:
    if preview.refusals or not preview.changes:
        return
    wanted = posture_of(preview.settings) if preview.settings else None
    expected = {name: " ".join(held) for name, held in (holds(wanted) if wanted else {}).items()}
    yield "### What is written"
    yield _table(
        ("", "resource", "change"),
        (
            (_operation(change), _called(change), _difference(change, expected))
            for change in sorted(preview.changes, key=_rank)
        ),
    )


def _operation(change: Change) -> str:
    return f"**{change.operation}**" if change.operation in DESTROYS else change.operation


def _called(change: Change) -> str:
    kind = change.type.rpartition(":")[2]
    called = CALLED.get(kind, kind)
    return called if change.type == ATTEMPT else f"{called} `{change.label}`"


def _difference(change: Change, expected: Mapping[str, str]) -> str:
    """`expected` is what each secret of the posture holds: some is not known to its tags yet."""
    if change.type == ATTEMPT:
        return ""
    if change.type == SECRET and change.operation not in DESTROYS:
        after = change.holds or expected.get(change.label)
        if after is not None and change.held not in (None, after):
            return f"{change.held} -> {after}"
        if after is not None:
            return after if change.held is None else f"{after}, written anew"
    return _listed(change.reasons)


def _rank(change: Change) -> tuple[int, int, str]:
    """Secrets last, in the order in which they are written, after the record of the attempt."""
    label = change.label
    if change.type == SECRET:
        order = WRITE_ORDER.index(label) if label in WRITE_ORDER else len(WRITE_ORDER)
        return (2, order, label)
    return (1 if change.type == ATTEMPT else 0, 0, f"{change.type} {label}")


def _onward(preview: Preview, now: datetime) -> Iterator[str]:
    """The next move and the way back, counted from the end of this `up`."""
    wanted = posture_of(preview.settings) if preview.settings else None
    if preview.settings is None or wanted is None or not preview.admitted:
        return
    after = ledger_after(preview.ledger, preview.settings, wanted, preview.attempt, now=now)
    lines = []
    if (move := after.next_move()) is not None:
        sooner = (
            ", or sooner if restarts show that nothing older is left"
            if preview.settings.workloads
            else ""
        )
        lines.append(f"- on to `{move.stance}`: {_counted(move.not_before, now, sooner)}")
    if (back := way_back(after, now=now)) is not None:
        lines.append(f"- back to `{back.stance}`: {_counted(back.not_before, now)}")
    if lines:
        yield "### Onward"
        yield "\n".join(lines)


def _counted(not_before: datetime, now: datetime, sooner: str = "") -> str:
    if not_before <= now:
        return "legal at once"
    return f"legal {words.span(not_before - now)} after this `up`{sooner}"


# Markdown


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], *, raw: Sequence[int] = ()) -> str:
    """A table; the cells of the columns in `raw` are Markdown already."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for row in rows:
        cells = [cell if n in raw else _cell(cell) for n, cell in enumerate(row)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    """Text that ends neither its cell nor its line, and is no HTML."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _code(language: str, lines: Sequence[str]) -> str:
    return "\n".join([f"```{language}", *lines, "```"])


def _listed(items: Sequence[str]) -> str:
    return ", ".join(f"`{item}`" for item in items)
