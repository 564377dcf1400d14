"""The output `rotation`: tied to what it tells of, never lost, never secret."""

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from tests.components.cloud import ADD_ON_IDENTITY, SECRET, vault_id
from tests.components.recorder import UNKNOWN, Run
from tests.components.stacks import GENERATED, NAME, TWO_ROOTS, Stack, stance

SECRETS = ["secret-root-cert", "secret-ca-key", "secret-cert-chain", "secret-ca-cert"]


def test_a_completed_up_is_recorded(first_up: Run) -> None:
    """The ledger of a first `up` tells the stance, and whom it granted access to which vault."""
    ledger = first_up.outputs["rotation"]
    assert (ledger["serial"], ledger["stance"], ledger["state"]) == (1, "steady a1", "complete")
    assert ledger["access"] == {
        "vault": vault_id("mesh-group", "mesh-vault"),
        "principal": ADD_ON_IDENTITY,
    }
    assert ledger["mesh"] is False


def test_an_up_that_changes_nothing_leaves_the_ledger_as_it_is(converged: Stack) -> None:
    """Once converged, the ledger stays as it is, byte for byte, however often and late."""
    converged.up(GENERATED)
    before = json.dumps(converged.ledger, sort_keys=True)
    converged.rotate(GENERATED, "steady a1", "steady a1")
    assert json.dumps(converged.ledger, sort_keys=True) == before


def test_a_preview_of_no_change_knows_the_ledger(converged: Stack) -> None:
    """When every tag is known, so is the ledger: a preview of no change shows none."""
    converged.up(GENERATED)
    assert converged.preview(GENERATED).outputs["rotation"] == converged.ledger


@pytest.mark.parametrize("name", SECRETS)
def test_an_unknown_tag_makes_the_ledger_unknown(converged: Stack, name: str) -> None:
    """The ledger is made of what every one of the secrets shows: as long as one is not known, it
    is not either."""
    converged.cloud.hides[name] = "tags"
    assert converged.preview(GENERATED).outputs["rotation"] is UNKNOWN


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_that_holds_something_else_makes_it_mixed(converged: Stack, name: str) -> None:
    """When a secret shows another posture's tags (a targeted `up` left it out), the ledger keeps
    the old posture and says that another one is written in part."""
    converged.cloud.shows[name] = {"tags": {"authority": "old", "sha256": "", "written": ""}}
    converged.up(stance(TWO_ROOTS, "distribute a1 b1"))
    assert converged.ledger["stance"] == "steady a1"
    assert converged.ledger["mixed"] == "distribute a1 b1"
    assert converged.ledger["state"] == "mixed"


@pytest.mark.parametrize("name", SECRETS)
def test_a_failed_secret_leaves_the_ledger(converged: Stack, name: str) -> None:
    """An `up` that fails at any secret records nothing."""
    before = converged.ledger
    converged.cloud.fails[name] = "Code=Throttled"
    assert converged.attempt(stance(TWO_ROOTS, "distribute a1 b1")).error is not None
    assert converged.ledger == before


@pytest.mark.parametrize(
    "names", [("root-b", "issuer-b1"), ("issuer-b1",), ("cluster",), ("access",)]
)
def test_what_was_left_out_leaves_the_ledger(converged: Stack, names: tuple[str, ...]) -> None:
    """An `up` with `--target` that leaves out something new keeps the ledger: an unknown output
    in its place would read as a stack that was never brought up."""
    before = converged.ledger
    run = converged.attempt(TWO_ROOTS, left_out=names)
    assert run.error is None
    assert converged.ledger == before
    assert any(said.startswith("warning: The ledger stays as it was") for said in run.said)


def test_a_first_up_that_left_something_out_records_nothing(stack: Stack) -> None:
    """Without access there is no ledger, so that the next `up` does not enable the mesh yet."""
    assert stack.attempt(GENERATED, left_out=("access",)).error is None
    assert "rotation" not in stack.cloud.stacks[NAME]


def test_the_ledger_is_not_secret(rotation: Mapping[str, Run]) -> None:
    """It is read by people and by peers, and holds nothing that would have to be hidden."""
    for run in rotation.values():
        assert "Secret(" not in repr(run.outputs["rotation"])
        json.dumps(run.outputs["rotation"])


def test_a_rotation_advances_the_ledger(rotation: Mapping[str, Run]) -> None:
    """Each move of a rotation is one step of the ledger; the finish moves nothing but its name."""
    steps: dict[str, Any] = {
        one: (run.outputs["rotation"]["stance"], run.outputs["rotation"]["serial"])
        for one, run in rotation.items()
    }
    assert steps == {
        "steady a1": ("steady a1", 1),
        "distribute a1 b1": ("distribute a1 b1", 2),
        "switch a1 b1": ("switch a1 b1", 3),
        "retire a1 b1": ("retire a1 b1", 4),
        "steady b1": ("steady b1", 4),
    }


def test_a_secret_that_was_taken_back_is_written_anew(converged: Stack) -> None:
    """After an interrupted move, what it may have changed is asked for with another tag, so that
    the engine writes it although its value is that of the state; the rest is left alone."""
    before = converged.ledger["written"]
    converged.cloud.fails["secret-ca-cert"] = "Code=Throttled"
    assert converged.attempt(stance(TWO_ROOTS, "distribute a1 b1")).error is not None
    converged.cloud.fails.clear()
    converged.clock.passes(timedelta(minutes=1))
    run = converged.up(TWO_ROOTS)
    tags = {name: one.inputs["tags"]["written"] for name, one in run.of(SECRET).items()}
    anew = [name for name in tags if tags[name] != before[name.removeprefix("secret-")]]
    assert anew == ["secret-root-cert", "secret-cert-chain"]
    assert converged.ledger["written"] == {
        name.removeprefix("secret-"): tag for name, tag in tags.items()
    }
