"""What `verify` finds and what it finds it in: the words of its judgement."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from meshca.cluster_facts import IstiodPod, MeshedPod
from meshca.evidence import Seen


class Severity(StrEnum):
    """How bad a finding is; in order."""

    OK = "ok"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


EXIT_CODES: Mapping[Severity, int] = {
    Severity.OK: 0,
    Severity.INFO: 0,
    Severity.WARNING: 3,
    Severity.ERROR: 4,
}
"""By the worst finding. 1 means that nothing could be judged, 2 that the command is wrong."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found: what it is, what it concerns, and the command that repairs it.

    `names` are all that are concerned; `detail` names a few of them.
    """

    check: str
    id: str
    severity: Severity
    detail: str
    repair: str | None = None
    names: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Every field as JSON values."""
        return {
            "check": self.check,
            "id": self.id,
            "severity": str(self.severity),
            "detail": self.detail,
            "repair": self.repair,
            "names": list(self.names),
        }


@dataclass(frozen=True, slots=True)
class Place:
    """What commands are to be pasted for: names where they are known, placeholders elsewhere."""

    group: str = "GROUP"
    cluster: str = "CLUSTER"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was read from a cluster."""

    now: datetime
    istiods: tuple[IstiodPod, ...]
    seen: Seen
    mount_failures: Mapping[str, str] = field(default_factory=dict)
    driver_arguments: tuple[str, ...] | None = None
    """How the Secrets Store CSI driver was started; None where it cannot be seen."""
    pods: tuple[MeshedPod, ...] = ()


def worst(findings: Sequence[Finding]) -> Severity:
    """The highest severity."""
    order = list(Severity)
    return max((finding.severity for finding in findings), key=order.index, default=Severity.OK)
