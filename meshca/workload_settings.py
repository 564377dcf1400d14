"""The settings of workloads to restart: one by name, or many by namespace and labels.

Names and labels follow Kubernetes, "Object Names and IDs" (RFC 1123) and "Labels and Selectors":
the API server would refuse a bad one only after the secrets were written.
"""

import re
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints, WithJsonSchema

from .fields import Model, Setting, one_of

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"


class WorkloadKind(StrEnum):
    """What has a pod template and rolls a change of it out by itself."""

    DEPLOYMENT = "Deployment"
    STATEFUL_SET = "StatefulSet"
    DAEMON_SET = "DaemonSet"


_LABEL_PART = r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?"
_LABEL_KEY = rf"({_LABEL}(\.{_LABEL})*/)?(?P<name>{_LABEL_PART})"
_LONGEST_PREFIX, _LONGEST_NAME = 253, 63


def _labels(selector: dict[str, str]) -> dict[str, str]:
    for key, value in selector.items():
        match = re.fullmatch(_LABEL_KEY, key)
        if match is None or len(match["name"]) > _LONGEST_NAME:
            raise ValueError("not a label key")
        if len(key) - len(match["name"]) > _LONGEST_PREFIX + 1:
            raise ValueError("a prefix too long")
        if len(value) > _LONGEST_NAME or not re.fullmatch(f"({_LABEL_PART})?", value):
            raise ValueError("not a label value")
    return selector


class Workload(Model):
    """Workloads of one namespace that are restarted together with a change of trust or signer."""

    namespace: Annotated[
        str,
        StringConstraints(pattern=f"^{_LABEL}$", max_length=63),
        Setting(
            "Namespace of the workloads",
            "1 to 63 lower-case letters, digits and hyphens, a letter or digit at both ends",
        ),
    ]
    kind: Annotated[
        Annotated[WorkloadKind, Field(strict=False)] | None,
        Setting(
            "Kind of the workloads; with a selector, every kind by default",
            one_of(WorkloadKind),
            tuple(WorkloadKind),
        ),
    ] = None
    name: Annotated[
        Annotated[str, StringConstraints(pattern=rf"^{_LABEL}(\.{_LABEL})*$", max_length=253)]
        | None,
        Setting(
            "Name of one workload",
            "1 to 253 lower-case letters, digits, hyphens and dots, "
            "a letter or digit at both ends of each part",
        ),
    ] = None
    selector: Annotated[
        Annotated[
            dict[str, str],
            AfterValidator(_labels),
            WithJsonSchema({"type": "object", "additionalProperties": {"type": "string"}}),
        ]
        | None,
        Setting(
            "Labels that the workloads have; {} selects all of the namespace",
            "an object of labels such as {tier: web}, values in quotes where they are no text",
        ),
    ] = None

    def __str__(self) -> str:
        kind = self.kind or "/".join(WorkloadKind)
        if self.name is not None:
            return f"{kind} {self.namespace}/{self.name}"
        labels = ",".join(f"{key}={value}" for key, value in (self.selector or {}).items())
        return f"{kind} {self.namespace}/[{labels or 'all'}]"
