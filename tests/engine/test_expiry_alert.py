"""The alert on secrets that are about to end, on the local cloud."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.engine import stacks
from tests.engine.workspace import Workspace
from tests.material import Authority

ACTION_GROUP = (
    "/subscriptions/1/resourceGroups/ops/providers/Microsoft.Insights/actionGroups/on-call"
)
KIND = "Microsoft.EventGrid/eventSubscriptions"


@pytest.fixture(scope="module")
def alerted(
    authorities: Mapping[str, Authority], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Workspace, list[str]]:
    """A stack with an alert after its first `up`, and what that wrote, in order."""
    stack = Workspace(tmp_path_factory.mktemp("alerted") / "stack")
    stacks.write_certificates(authorities, stack.directory)
    stack.configure(stacks.offline(expiryAlert={"actionGroups": [ACTION_GROUP]}))
    stacks.set_keys(stack, authorities)
    with stack.writes() as writes:
        stack.done()
    return stack, writes


def subscription(stack: Workspace) -> dict[str, Any]:
    """The only event subscription of the cloud, as ARM shows it."""
    with stack.cloud.glance() as azure:
        [found] = azure.of_kind(KIND)
    return dict(found.document)


def test_the_alert_is_there_before_the_first_secret(
    alerted: tuple[Workspace, list[str]],
) -> None:
    """Key Vault tells only of versions that are made while somebody listens."""
    _, writes = alerted
    first = next(number for number, one in enumerate(writes) if one.startswith("secrets/"))
    assert writes.index("eventSubscriptions/write") < first


def test_the_alert_is_on_the_four_secrets_of_the_vault(
    alerted: tuple[Workspace, list[str]],
) -> None:
    """Near their end and at it, whatever else the vault holds."""
    found = subscription(alerted[0])
    assert found["topic"].endswith("/vaults/mesh-vault")
    assert found["filter"]["includedEventTypes"] == [
        "Microsoft.KeyVault.SecretNearExpiry",
        "Microsoft.KeyVault.SecretExpired",
    ]
    [only] = found["filter"]["advancedFilters"]
    assert (only["key"], sorted(only["values"])) == (
        "subject",
        ["ca-cert", "ca-key", "cert-chain", "root-cert"],
    )


def test_the_alert_tells_the_action_groups(alerted: tuple[Workspace, list[str]]) -> None:
    """As an Azure Monitor alert of the configured severity."""
    destination = subscription(alerted[0])["destination"]
    assert destination["endpointType"] == "MonitorAlert"
    assert (destination["actionGroups"], destination["severity"]) == ([ACTION_GROUP], "Sev2")


def test_another_up_changes_nothing(alerted: tuple[Workspace, list[str]], tmp_path: Path) -> None:
    """Once the mesh is on."""
    copy = alerted[0].copy(tmp_path / "stack")
    copy.done()
    preview = copy.preview("--expect-no-changes")
    assert preview.code == 0, preview.output


def test_every_certificates_end_is_an_output(alerted: tuple[Workspace, list[str]]) -> None:
    """Of roots and issuers alike, in use or not."""
    found = alerted[0].outputs()["certificates"]
    assert {name: "notAfter" in facts for name, facts in found.items()} == dict.fromkeys(
        ("a", "b", "a1", "a2", "b1"), True
    )
