"""What Azure answers when it refuses: an HTTP status, a code and a message.

The text has the shape in which azure-native 3.x prints such an answer, so that a message seen in
the lab can be searched for as it stands. `UnmodelledError` is the lab's own: it names what Azure
has and the lab does not, and is never to be confused with a refusal by Azure.
"""

from __future__ import annotations


class AzureError(Exception):
    """A refusal by ARM or Key Vault. `status` is the HTTP status, `code` Azure's error code.

    `after_effect`: the request took effect all the same, as when a long-running operation fails
    after its PUT was accepted.
    """

    def __init__(self, status: int, code: str, message: str, *, after_effect: bool = False) -> None:
        super().__init__(f'Status={status} Code="{code}" Message="{message}"')
        self.status = status
        self.code = code
        self.message = message
        self.after_effect = after_effect


class UnmodelledError(Exception):
    """Azure may well accept this, but the lab does not model it and so will not pretend to."""

    code = "Unmodelled"

    def __init__(self, what: str) -> None:
        super().__init__(f"the lab does not model {what}")


def not_found(resource_id: str) -> AzureError:
    """Return ARM's answer for a resource id that names nothing."""
    return AzureError(404, "ResourceNotFound", f"The Resource '{resource_id}' was not found.")
