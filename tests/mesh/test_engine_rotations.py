"""Whole rotations by `pulumi up`: the real engine, istiod, agents and Envoys, under traffic.

Two istiods poll at different times, and trust is not pushed (PROXY_CONFIG_XDS_AGENT is off, as on
AKS): a proxy learns of new trust only when it renews its leaf. Every test leaves the stack at rest
with another issuer than it found, and takes it from whichever it finds.
"""

from collections.abc import Iterator

import pytest

from lab.mesh.traffic import Phase
from tests.mesh import engine_stage
from tests.mesh.engine_stage import EngineStage

pytestmark = pytest.mark.mesh

HANDSHAKES = 10_000
"""At least so many over the root rotation."""


@pytest.fixture(scope="module")
def running(tally: list[Phase]) -> Iterator[EngineStage]:
    """Return a stack in a steady phase, and its mesh under traffic."""
    with engine_stage.stage() as made:
        yield made
        tally += made.mesh.traffic.finished


@pytest.fixture
def stage(running: EngineStage) -> EngineStage:
    """Return the same, at rest whatever the test before has left."""
    running.finish()
    return running


def story(phases: list[Phase]) -> str:
    """What was counted, phase by phase."""
    return "\n".join(map(str, phases))


def test_an_intermediate_rotation_loses_no_handshake(stage: EngineStage) -> None:
    """Under one root, with a poll between the phases instead of a leaf lifetime: 0 fail."""
    old, new = stage.signer, stage.sibling()
    phases = stage.rotate(old, new)
    stage.assert_rests_on(new)
    assert [each.failed for each in phases] == [0, 0, 0, 0], story(phases)


def test_a_root_rotation_loses_no_handshake(stage: EngineStage) -> None:
    """Four config changes and four `pulumi up`s: of 10,000 handshakes between all pods 0 fail."""
    old, new = stage.signer, stage.foreign()
    phases = stage.rotate(old, new, handshakes=HANDSHAKES // 3 + 1)
    stage.assert_rests_on(new)
    assert sum(each.handshakes for each in phases) >= HANDSHAKES
    assert all(len(each.called) == 12 for each in phases), "every pod calls every other"
    assert [each.failed for each in phases] == [0, 0, 0, 0], story(phases)
