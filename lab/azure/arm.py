"""What ARM checks for every resource alike: tags, groups, locations, and its bookkeeping."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from lab.azure import ids
from lab.azure.account import CALLER_CLIENT_ID
from lab.azure.errors import AzureError
from lab.azure.resource import normal_location
from lab.azure.store import Document, Stored, Transaction

_MAX_TAGS = 50


def existing_group(transaction: Transaction, name: str) -> Stored:
    """Return the resource group; AzureError (404, ResourceGroupNotFound) when there is none."""
    found = transaction.find(ids.resource_group(name))
    if found is None:
        raise AzureError(
            404, "ResourceGroupNotFound", f"Resource group '{name}' could not be found."
        )
    return found


def tracked(transaction: Transaction, inputs: Mapping[str, Any], kind: str, name: str) -> Document:
    """Return the properties that every tracked resource has, after ARM's checks of them."""
    existing_group(transaction, str(inputs["resourceGroupName"]))
    return {
        "name": name,
        "type": kind,
        "location": normal_location(str(inputs["location"])),
        **tags(inputs),
    }


def tags(inputs: Mapping[str, Any], limit: int = _MAX_TAGS) -> Document:
    """Return the tags, if any: at most `limit`, names to 512 and values to 256 characters."""
    given: Mapping[str, str] = inputs.get("tags") or {}
    if len(given) > limit:
        raise AzureError(
            400, "InvalidTagsCount", f"{len(given)} tags given; the maximum is {limit}."
        )
    for name, value in given.items():
        if len(name) > 512 or len(value) > 256:
            raise AzureError(400, "InvalidTag", f"The tag '{name[:40]}' or its value is too long.")
    return {"tags": dict(given)} if given else {}


def system_data(before: Document | None) -> Document:
    """Return ARM's record of who wrote a resource and when; the creation stays as it was."""
    now = timestamp()
    created = (before or {}).get("systemData", {})
    return {
        "systemData": {
            "createdAt": created.get("createdAt", now),
            "createdBy": CALLER_CLIENT_ID,
            "createdByType": "Application",
            "lastModifiedAt": now,
            "lastModifiedBy": CALLER_CLIENT_ID,
            "lastModifiedByType": "Application",
        }
    }


def timestamp() -> str:
    """Return the time now as ARM writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
