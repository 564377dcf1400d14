"""The policy pack as a process of its own, over the protocol by which the engine asks it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf import empty_pb2, struct_pb2
from pulumi.runtime.proto import analyzer_pb2, analyzer_pb2_grpc

from lab import layout

SECRET = "azure-native:keyvault:Secret"
URN = f"urn:pulumi:production::other::{SECRET}::secret"
MARK = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270"}
"""The signature of a secret value (sdk/go/common/resource/properties.go)."""
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"


@pytest.fixture(scope="module")
def pack() -> Iterator[Any]:
    """The pack, started as the engine starts it; stopped at the end."""
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "pulumi.policy", "127.0.0.1:0", str(layout.ROOT / "policy")],
        cwd=layout.ROOT / "policy",
        env={**os.environ, "PULUMI_CONFIG": "{}"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                yield analyzer_pb2_grpc.AnalyzerStub(channel)
        finally:
            process.terminate()


def asked(
    pack: Any, value: str | dict[str, str], type_: str = SECRET
) -> tuple[list[str], list[str]]:
    """What the pack remediates and what it reports of a secret with this value, in that order."""
    inputs = struct_pb2.Struct()
    inputs.update(
        {
            "secretName": "root-cert",
            "properties": {"value": value, "contentType": "x", "attributes": {"expires": 1}},
        }
    )
    request = analyzer_pb2.AnalyzeRequest(type=type_, properties=inputs, urn=URN, name="secret")
    changed = [one.policyName for one in pack.Remediate(request).remediations]
    return changed, [one.policyName for one in pack.Analyze(request).diagnostics]


def test_every_policy_is_enforced(pack: Any) -> None:
    """No policy is advisory: each fails the preview, and one remediates to see what is secret."""
    levels = {
        one.name: one.enforcementLevel for one in pack.GetAnalyzerInfo(empty_pb2.Empty()).policies
    }
    lenient = {name for name, level in levels.items() if level != analyzer_pb2.MANDATORY}
    assert len(levels) == 10
    assert lenient == {"secret-is-secret"}
    assert levels["secret-is-secret"] == analyzer_pb2.REMEDIATE


def test_a_plain_value_is_reported_and_left_as_it_is(pack: Any) -> None:
    """The policy that has to remediate to see secrets changes nothing, and reports instead."""
    assert asked(pack, "plain") == ([], ["secret-is-secret"])


def test_a_version_of_the_api_is_no_way_around(pack: Any) -> None:
    """A resource of a dated API is judged as the same one without a date."""
    dated = "azure-native:keyvault/v20230701:Secret"
    assert asked(pack, "plain", dated) == ([], ["secret-is-secret"])


def test_a_marked_value_is_sound(pack: Any) -> None:
    """A value that is marked as secret is no violation, also after a plain one of that URN."""
    asked(pack, "plain")
    assert asked(pack, {**MARK, "value": "secret"}) == ([], [])


def test_an_unknown_value_is_not_judged(pack: Any) -> None:
    """A value that only an `up` will know is judged by that `up`."""
    assert asked(pack, UNKNOWN) == ([], [])
