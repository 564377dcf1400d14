"""Asking Azure in the names of its own API."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import pulumi

CLIENT_CONFIG = "azure-native:authorization:getClientConfig"
"""The function that says who is logged in."""


async def ask(token: str, **arguments: str) -> dict[str, Any]:
    """What a function of the provider answers. Raises a plain Exception when it fails.

    Unlike that of the SDK's typed functions, the answer also holds what the SDK knows nothing of,
    and no preview waits for the import of a whole module of the SDK.
    """
    # With its version, as the SDK asks: the engine would otherwise start a second provider.
    options = pulumi.InvokeOptions(version=version("pulumi-azure-native"))
    answer: Any = await pulumi.runtime.invoke_async(token, dict(arguments), options)
    return dict(answer)
