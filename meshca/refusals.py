"""Why a bundle or a move is not allowed, in one shape for the console, the ledger and JSON."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any


def iso(moment: datetime) -> str:
    """A moment as users read it: UTC, whole seconds, RFC 3339."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class CertificateRef:
    """A certificate as a refusal names it.

    `sha256` is the fingerprint of the DER in lower-case hex; it and `not_after` are None for a
    certificate that does not exist yet (a root or an issuer that the next `up` will generate).
    """

    name: str
    sha256: str | None = None
    not_after: datetime | None = None
    foreign: bool = False
    """Whether another stack has it, of which only the identity is known."""

    def __str__(self) -> str:
        if self.foreign:
            return self.name
        if self.sha256 is None or self.not_after is None:
            return f"{self.name} (not generated yet)"
        return f"{self.name} (sha256 {self.sha256[:16]}, not after {iso(self.not_after)})"

    def as_json(self) -> dict[str, Any]:
        """Name, fingerprint and end, as JSON values."""
        return {
            "name": self.name,
            "sha256": self.sha256,
            "notAfter": iso(self.not_after) if self.not_after else None,
        }


@dataclass(frozen=True, slots=True)
class Refusal:
    """One reason why something is not allowed, and what to do instead.

    `legal_at` is the earliest moment at which waiting alone makes it legal; None when waiting
    does not help.
    """

    id: str
    reason: str
    mitigation: str
    certificates: tuple[CertificateRef, ...] = ()
    legal_at: datetime | None = None

    def __str__(self) -> str:
        named = "; ".join(str(certificate) for certificate in self.certificates)
        return f"{self.id}: {self.reason}{f' [{named}]' if named else ''}. {self.mitigation}"

    def as_json(self) -> dict[str, Any]:
        """Every field as JSON values, for `--json` and for the pull-request comment."""
        return {
            "id": self.id,
            "reason": self.reason,
            "certificates": [certificate.as_json() for certificate in self.certificates],
            "mitigation": self.mitigation,
            "legalAt": iso(self.legal_at) if self.legal_at else None,
        }


class Refused(Exception):  # noqa: N818 - the field's word for it; `RefusedError` says it twice
    """Something is not allowed. Carries every refusal; its text has one line for each."""

    def __init__(self, refusals: Iterable[Refusal]) -> None:
        self.refusals = tuple(refusals)
        super().__init__("\n".join(str(refusal) for refusal in self.refusals))
