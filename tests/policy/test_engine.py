"""The policy pack through the real engine: each policy trips on what breaks it, and on no more."""

import re

import pytest

from lab import layout
from tests.engine.workspace import Run, Workspace
from tests.policy.programs import BREAKS_ALL, BREAKS_PHASE, KEEPS_ALL

PACK = str(layout.ROOT / "policy")
BROKEN = {
    "plugin-ca-complete": {"bare", "half"},
    "secret-rotation-on": {"still"},
    "narrow-access": {"writer"},
    "narrow-role": {"officer", "contributor"},
    "purge-protection": {"open"},
    "secret-described": {"nameless"},
    "secret-is-secret": {"shown"},
    "no-stray-private-key": {"stray", "kubeconfig"},
    "protected": {"bare", "open", "loose"},
}
"""Which resources of BREAKS_ALL break which policy."""


def opened(factory: pytest.TempPathFactory, program: str) -> Workspace:
    """A stack of a program, with a name that is none of development's."""
    stack = Workspace(factory.mktemp("policy") / "stack", stack="production", program=program)
    stack.configure({})
    return stack


def violations(run: Run) -> dict[str, set[str]]:
    """The names of the resources that a preview shows as violating, by mandatory policy."""
    found: dict[str, set[str]] = {}
    for policy, name in re.findall(r"- \[mandatory\] +(\S+) +\(\S+: (\S+)\)", run.output):
        found.setdefault(policy, set()).add(name)
    return found


@pytest.fixture(scope="module")
def breaking(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The preview of a program that breaks every policy over resources."""
    return opened(tmp_path_factory, BREAKS_ALL).preview("--policy-pack", PACK)


@pytest.mark.parametrize("policy", BROKEN)
def test_a_policy_trips_on_what_breaks_it_alone(breaking: Run, policy: str) -> None:
    """A policy names exactly the resources that break it, and not those that break others."""
    assert violations(breaking).get(policy) == BROKEN[policy]


def test_a_violation_fails_the_preview(breaking: Run) -> None:
    """What breaks a policy cannot be previewed with success, so a pull request cannot be merged."""
    assert breaking.code != 0


def test_no_message_shows_a_private_key(breaking: Run) -> None:
    """The message about a stray private key does not repeat it."""
    assert "stray" in breaking.output
    assert "BEGIN" not in breaking.output


def test_the_phase_policy_trips_on_another_signer(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Secrets whose tags are not those of the stated phase, or absent, are a violation."""
    stack = opened(tmp_path_factory, BREAKS_PHASE)
    stack.done()
    run = stack.preview("--policy-pack", PACK)
    assert run.code != 0
    assert violations(run) == {"phase-matches-secrets": {"ca-cert", "cert-chain"}}


def test_no_policy_trips_on_a_program_that_follows_all(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """A program that keeps every policy passes, though it shares no code with this project's."""
    stack = opened(tmp_path_factory, KEEPS_ALL)
    for run in (stack.up("--policy-pack", PACK), stack.preview("--policy-pack", PACK)):
        assert run.code == 0, run.output
        assert violations(run) == {}
