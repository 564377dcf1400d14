"""Two clusters of one trust domain: a stack moves only when its peers can follow."""

from __future__ import annotations

import pytest

from tests.engine import stacks
from tests.engine.conftest import Converged
from tests.engine.workspace import Workspace
from tests.material import Authority

EAST = "organization/aks-istio-ca/east"
WEST = "organization/aks-istio-ca/test"


@pytest.fixture(scope="module")
def fleet(
    offline: Converged, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Workspace, Workspace]:
    """West and east, both in `steady a1`, each the other's peer."""
    west = offline.stack.copy(tmp_path_factory.mktemp("fleet") / "stack")
    east = west.neighbour("east")
    east.stack_file.write_text(west.stack_file.read_text())
    config = stacks.offline(
        cluster={"name": "east", "resourceGroup": "east-group"}, keyVault={"name": "east-vault"}
    )
    east.converge({**config, "peers": [WEST]})
    west.change(peers=[EAST])
    return west, east


def test_a_root_rotation_goes_through_the_fleet_phase_by_phase(
    fleet: tuple[Workspace, Workspace], authorities: dict[str, Authority]
) -> None:
    """No cluster signs under the new root before all trust it, nor drops one in use."""
    west, east = fleet
    a, b = (stacks.reference(name, authorities[name]) for name in ("a", "b"))

    west.want("distribute a1 b1")
    west.done()
    west.wait_for_next_move()
    west.want("switch a1 b1")
    refused = west.preview()
    assert refused.code != 0
    assert refused.errors == [
        "signs-too-early: proxies that do not trust its root yet would refuse leaves of the new "
        f"signer [{b}]. First make these stacks trust the root of the signer: {EAST}."
    ]

    east.want("distribute a1 b1")
    east.done()
    east.wait_for_next_move()
    west.done()
    west.wait_for_next_move()
    west.want("retire a1 b1")
    refused = west.preview()
    assert refused.code != 0
    assert refused.errors == [
        "retires-too-early: leaves that chain to a root no longer trusted would still be in use "
        f"[{a}]. First make these stacks move off that root: {EAST}."
    ]

    east.want("switch a1 b1")
    east.done()
    east.wait_for_next_move()
    west.done()
    assert west.ledger()["stance"] == "retire a1 b1"
