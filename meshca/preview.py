"""What `pulumi preview --json` says of a stack, read for a report.

The document lists steps and diagnostics (pulumi pkg/display/json.go, PreviewDigest). It is
complete enough when the preview was refused: the state before, the configuration, and the error.
Violations of policies are not in it; they are in the engine's event log (`--event-log`).
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from meshca import ledger_reading
from meshca import settings as stack_settings
from meshca.ledger import Attempt, Ledger
from meshca.mistakes import SettingsError
from meshca.refusals import Refusal, Refused
from meshca.report_refusals import Told, parse
from meshca.settings import Settings

STACK = "pulumi:pulumi:Stack"
SECRET = "azure-native:keyvault:Secret"
ATTEMPT = "pulumi:index:Stash"
PRECIOUS = frozenset(
    {
        "azure-native:containerservice:ManagedCluster",
        "azure-native:keyvault:Vault",
        # ARM deletes a group with everything in it.
        "azure-native:resources:ResourceGroup",
    }
)
"""What a mesh cannot lose, protected or not."""

UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""What stands for a value that only the `up` will know (sdk/go/common/resource/plugin/rpc.go)."""

_DESTRUCTIVE = frozenset(
    {"delete", "replace", "create-replacement", "delete-replaced", "discard-replaced"}
)
_QUIET = frozenset({"same", "read", "refresh", "discard"})
"""Steps that change nothing."""

_FRAME = (
    "an unhandled error occurred: program exited with non-zero exit code",
    "preview failed",
)
"""What the engine says when somebody else has said why."""

_CONSEQUENCE = "context canceled"
"""How the engine ends what was under way beside an error: never the reason of anything."""


@dataclass(frozen=True, slots=True)
class Change:
    """One step that would change something."""

    operation: str
    urn: str
    protected: bool
    reasons: tuple[str, ...] = ()
    """The properties that differ; for a replacement, those that cannot change in place."""
    held: str | None = None
    holds: str | None = None
    """Of a secret: what its tags say is in it, before and after."""
    label: str = ""
    """Its name in Azure, where it has one of its own; else the program's name for it."""

    @property
    def type(self) -> str:
        """The resource's type."""
        return self.urn.split("::")[2].rpartition("$")[2]

    @property
    def loses(self) -> bool:
        """Whether it replaces or deletes what a mesh cannot lose."""
        return self.operation in _DESTRUCTIVE and (self.protected or self.type in PRECIOUS)


@dataclass(frozen=True, slots=True)
class Violation:
    """A policy that the preview breaks."""

    policy: str
    mandatory: bool
    urn: str
    message: str


@dataclass(frozen=True, slots=True)
class Preview:
    """What one stack would become."""

    stack: str | None
    """None when the preview ended before it came to any resource."""
    ledger: Ledger | None
    """What is in force; None before the first whole `up`."""
    settings: Settings | None
    """What is asked for; None when the configuration cannot be used."""
    attempt: Attempt | None
    changes: tuple[Change, ...]
    said: tuple[str, ...]
    """What the program told about the move, line by line."""
    notes: tuple[str, ...]
    """Other things that the program and the engine told."""
    refusals: tuple[Told, ...]
    errors: tuple[str, ...]
    """Mistakes in the configuration, and every other error, line by line."""
    violations: tuple[Violation, ...]
    failed: bool
    """Whether the engine reported an error, known or not."""

    @property
    def loses(self) -> tuple[Change, ...]:
        """The changes that replace or delete what a mesh cannot lose."""
        return tuple(change for change in self.changes if change.loses)

    @property
    def admitted(self) -> bool:
        """Whether nothing stands in the way of the `up`."""
        broken = any(violation.mandatory for violation in self.violations)
        return not (self.failed or self.refusals or self.errors or self.loses or broken)


def read(document: object, *, where: str, events: Iterable[Mapping[str, Any]] = ()) -> Preview:
    """The preview in decoded JSON, with the violations that the engine's events tell of.

    Raises Refused (`not-a-preview`) when it is not what `pulumi preview --json` prints.
    """
    if not isinstance(document, Mapping) or not {"steps", "diagnostics"} & document.keys():
        raise Refused([_not_a_preview(where)])
    try:
        violations = tuple(_violations(events))
    except _MALFORMED:
        raise Refused([_not_events(where)]) from None
    try:
        return _read(document, violations)
    except _MALFORMED:
        raise Refused([_not_a_preview(where)]) from None


_MALFORMED = (AttributeError, IndexError, KeyError, TypeError, ValueError)
"""What reading something that the engine did not write raises."""


def _read(document: Mapping[str, Any], violations: tuple[Violation, ...]) -> Preview:
    steps: Sequence[Mapping[str, Any]] = document.get("steps") or []
    diagnostics: Sequence[Mapping[str, Any]] = document.get("diagnostics") or []
    errors = [one for one in diagnostics if one["severity"] == "error"]
    said, notes = _told(one for one in diagnostics if one["severity"] != "error")
    lines = list(_error_lines(errors))
    refusals = [told for line in lines if (told := parse(line)) is not None]
    changes = tuple(_change(step) for step in steps if _changes(step))
    lost = {change.urn for change in changes if change.loses}
    outputs = _outputs(steps)
    settings = _settings(document.get("config") or {})
    return Preview(
        stack=steps[0]["urn"].split(":")[2] if steps else None,
        ledger=ledger_reading.parse(outputs.get("rotation"), where="the output `rotation`"),
        settings=settings,
        attempt=_attempt(steps),
        changes=changes,
        said=said,
        notes=notes,
        refusals=tuple(refusals),
        errors=tuple(
            line
            for line in lines
            if parse(line) is None and not any(urn in line for urn in lost) and not _continues(line)
        )
        or (() if errors else tuple(_missing(steps, settings))),
        violations=violations,
        failed=bool(errors),
    )


def _missing(steps: Sequence[Mapping[str, Any]], settings: Settings | None) -> Iterator[str]:
    """What a preview lacks without an error that says why: then it is of something else."""
    if not any(f"::{STACK}::" in step["urn"] for step in steps):
        yield "there is no stack in the preview: `pulumi preview --json` did not come to its end"
    if settings is None:
        yield (
            f"there are no settings `{stack_settings.NAMESPACE}:` in the preview that can be used:"
            " run `pulumi preview --json` in the directory of this program"
        )


def _outputs(steps: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The stack's outputs as they are before the `up`."""
    for step in steps:
        if f"::{STACK}::" in step["urn"]:
            return (step.get("oldState") or {}).get("outputs") or {}
    return {}


def _settings(config: Mapping[str, Any]) -> Settings | None:
    """The settings; secrets in them are blinded. None when there is a mistake in them."""
    try:
        return stack_settings.load(config)
    except SettingsError:
        return None


def _attempt(steps: Sequence[Mapping[str, Any]]) -> Attempt | None:
    """The attempt on record once the `up` has begun."""
    for step in steps:
        if step["urn"].split("::")[2].endswith(ATTEMPT):
            state = step.get("newState") or step.get("oldState") or {}
            return ledger_reading.parse_attempt((state.get("inputs") or {}).get("input"))
    return None


def _changes(step: Mapping[str, Any]) -> bool:
    """Whether a step would change something; components are nothing by themselves."""
    state = step.get("newState") or step.get("oldState") or {}
    return step["op"] not in _QUIET and bool(state.get("custom"))


def _change(step: Mapping[str, Any]) -> Change:
    before, after = step.get("oldState") or {}, step.get("newState") or {}
    reasons = step.get("replaceReasons") or step.get("diffReasons") or ()
    return Change(
        step["op"],
        step["urn"],
        bool(before.get("protect")),
        tuple(dict.fromkeys(reasons)),
        _authority(before),
        _authority(after),
        _label(step["urn"].split("::")[2].rpartition("$")[2], before, after)
        or step["urn"].split("::")[3],
    )


_NAMED_BY = {
    "azure-native:containerservice:ManagedCluster": "resourceName",
    "azure-native:keyvault:Secret": "secretName",
    "azure-native:keyvault:Vault": "vaultName",
    "azure-native:resources:ResourceGroup": "resourceGroupName",
}


def _label(type_: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> str | None:
    for state in (before, after):
        name = (state.get("inputs") or {}).get(_NAMED_BY.get(type_, ""))
        if isinstance(name, str) and name != UNKNOWN:
            return name
    return None


def _authority(state: Mapping[str, Any]) -> str | None:
    """What a secret's tags say is in it; None when they say nothing that can be known yet."""
    tags = (state.get("inputs") or {}).get("tags")
    said = tags.get("authority") if isinstance(tags, Mapping) else None
    return said if isinstance(said, str) and said != UNKNOWN else None


_MOVE = re.compile(r"CA: .*(-> `|stays in force)")
"""The first line of `words.changes`."""


def _told(diagnostics: Iterable[Mapping[str, Any]]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What was said of the move, and what else was said."""
    said: list[str] = []
    notes: list[str] = []
    for diagnostic in diagnostics:
        message = re.sub(r"^(info|warning): ", "", diagnostic["message"])
        # The report counts what comes next for itself, from the state that it shows.
        lines = [
            line.rstrip()
            for line in message.splitlines()
            if line.strip() and not line.startswith("Next: `")
        ]
        (said if lines and _MOVE.match(lines[0]) and not said else notes).extend(lines)
    return tuple(said), tuple(notes)


def _error_lines(errors: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for error in errors:
        for line in error["message"].removeprefix("error: ").splitlines():
            said = line.strip()
            if said and not said.startswith(_FRAME) and not said.endswith(_CONSEQUENCE):
                yield said


def _continues(line: str) -> bool:
    """The second line of the engine's message about a protected resource."""
    return line.startswith("as it is currently marked for protection")


def _violations(events: Iterable[Mapping[str, Any]]) -> Iterator[Violation]:
    for event in events:
        if (found := event.get("policyEvent")) is not None:
            # Markers of colours, and the policy's description before the message itself.
            text = re.sub(r"<\{%.*?%\}>", "", found["message"]).strip()
            yield Violation(
                found["policyName"],
                found["enforcementLevel"] == "mandatory",
                found.get("resourceUrn", ""),
                " ".join(text.partition("\n")[2].split() or text.split()),
            )


def _not_events(where: str) -> Refusal:
    return Refusal(
        "not-a-preview",
        f"the event log that was given with {where} is not one",
        "Give --events what `pulumi preview --event-log FILE` writes.",
    )


def _not_a_preview(where: str) -> Refusal:
    return Refusal(
        "not-a-preview",
        f"{where} is not what `pulumi preview --json` prints",
        "Run `pulumi preview --json > FILE`; a preview that is refused writes it too.",
    )
