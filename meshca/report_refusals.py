"""Refusals read back from the text in which `pulumi preview` shows them."""

import re
from dataclasses import dataclass

_CERTIFICATE = r"[^\[\];]+ \((?:sha256 [0-9a-f]{16}, not after [^)]+|not generated yet)\)"
_REFUSAL = re.compile(
    r"(?P<id>[a-z]+(?:-[a-z]+)*): (?P<reason>.+?)"
    rf"(?: \[(?P<certificates>{_CERTIFICATE}(?:; {_CERTIFICATE})*)\])?"
    r"\. (?P<mitigation>[A-Z`].*)"
)
_HOOK = re.compile(r'^.*?\bbefore hook "[^"]*" failed: ')
"""What the engine puts before the message of a resource hook."""


@dataclass(frozen=True, slots=True)
class Told:
    """A refusal as text: what `str(Refusal)` is made of."""

    id: str
    reason: str
    mitigation: str
    certificates: tuple[str, ...] = ()


def parse(line: str) -> Told | None:
    """The refusal in one line of the program's output; None when the line is something else."""
    found = _REFUSAL.fullmatch(_HOOK.sub("", line.strip()))
    if found is None:
        return None
    certificates = found["certificates"]
    return Told(
        found["id"],
        found["reason"],
        found["mitigation"],
        tuple(certificates.split("; ")) if certificates else (),
    )
