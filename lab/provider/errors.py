"""How a provider says no, with an explicit gRPC code.

The code matters: the engine takes INTERNAL, UNKNOWN and DATA_LOSS to mean that the resource may be
corrupt, and anything else as a plain refusal (facts: pulumi.md 2.2).
"""

from __future__ import annotations

from collections.abc import Sequence

import grpc

from lab.provider.values import Properties


class ProviderError(Exception):
    """A refusal. The message goes to the user as it stands and must hold no secret."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class PartialFailureError(ProviderError):
    """The write took place but did not end well: the engine keeps the state and reports why.

    The engine records `outputs` under `resource_id`, shows the reasons, and updates the resource
    on the next run instead of creating it.
    """

    def __init__(self, resource_id: str, outputs: Properties, reasons: Sequence[str]) -> None:
        super().__init__(grpc.StatusCode.UNKNOWN, "; ".join(reasons))
        self.resource_id = resource_id
        self.outputs = outputs
        self.reasons = tuple(reasons)
