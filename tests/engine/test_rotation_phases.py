"""Whole rotations through the real engine: a config change and one `pulumi up` for each phase."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from lab import layout
from tests.engine import stacks
from tests.engine.conftest import Step, walk
from tests.engine.workspace import Workspace
from tests.material import Authority

WRITES = {
    "distribute a1 b1": ("root-cert", "cert-chain"),
    "switch a1 b1": ("ca-key", "ca-cert"),
    "retire a1 b1": ("root-cert", "cert-chain"),
    "steady b1": (),
}
"""DESIGN section 4: what each move of a root rotation writes."""

HOLDS = {
    "distribute a1 b1": ("a b", "a1", "b1 a1"),
    "switch a1 b1": ("a b", "b1", "b1 a1"),
    "retire a1 b1": ("b", "b1", "b1"),
    "steady b1": ("b", "b1", "b1"),
}
"""DESIGN section 4: what root-cert, ca-cert and cert-chain hold afterwards."""

ROOT_ROTATION = tuple(WRITES)


def paths(names: tuple[str, ...]) -> tuple[str, ...]:
    """Secrets as the log of writes names them."""
    return tuple(f"secrets/{name}" for name in names)


@pytest.mark.parametrize("stance", ROOT_ROTATION)
def test_a_move_writes_exactly_its_secrets(stance: str, root_rotation: dict[str, Step]) -> None:
    """Nothing else is written to Azure, and the finish writes nothing at all."""
    assert root_rotation[stance].writes == paths(WRITES[stance])


@pytest.mark.parametrize("stance", ROOT_ROTATION)
def test_after_a_move_the_vault_holds_its_posture(
    stance: str, root_rotation: dict[str, Step], authorities: dict[str, Authority]
) -> None:
    """Roots and issuers are there byte for byte, in the order of the table."""
    stack = root_rotation[stance].after
    for secret, names in zip(("root-cert", "ca-cert", "cert-chain"), HOLDS[stance], strict=True):
        held = stack.secret(secret)
        assert held["value"] == "".join(authorities[name].pem for name in names.split())
        assert held["tags"]["authority"] == names


@pytest.mark.parametrize("stance", ROOT_ROTATION)
def test_the_ledger_tells_where_the_mesh_stands(
    stance: str, root_rotation: dict[str, Step], authorities: dict[str, Authority]
) -> None:
    """Phase, issuers, who is trusted and who signs with fingerprints, and how far it has spread."""
    ledger = root_rotation[stance].ledger
    phase, active, *following = stance.split()
    trusted, signer, _ = HOLDS[stance]
    fingerprint = {name: stacks.fingerprint(one) for name, one in authorities.items()}
    assert (ledger["stance"], ledger["phase"], ledger["activeIssuer"]) == (stance, phase, active)
    assert ledger.get("nextIssuer") == (following[0] if following else None)
    assert [(one["name"], one["sha256"]) for one in ledger["trusted"]] == [
        (name, fingerprint[name]) for name in trusted.split()
    ]
    assert (ledger["signer"]["name"], ledger["signer"]["sha256"]) == (signer, fingerprint[signer])
    assert ledger["propagation"] == "waiting"
    assert ledger["state"] == "complete"


def test_the_ledger_names_the_next_move(root_rotation: dict[str, Step]) -> None:
    """Until the rotation is over; then the next one is the operator's to begin."""
    following = [step.ledger["nextMove"] for step in root_rotation.values()]
    assert [move and move["stance"] for move in following] == [*ROOT_ROTATION[1:], None]


@pytest.mark.parametrize("stance", ROOT_ROTATION)
def test_preview_and_up_tell_the_same_of_a_move(
    stance: str, root_rotation: dict[str, Step]
) -> None:
    """What a reviewer reads in the pull request is what then happens."""
    step = root_rotation[stance]
    assert step.preview is not None
    assert step.preview.code == 0
    assert step.preview.said == step.up.said


def test_a_preview_tells_in_words_what_a_move_changes(
    root_rotation: dict[str, Step], authorities: dict[str, Authority]
) -> None:
    """Who is trusted, who signs, what is handed out, from now on or no longer, and what is next."""
    a, b, a1, b1 = (stacks.reference(n, authorities[n]) for n in ("a", "b", "a1", "b1"))
    said = {stance: step.preview.said for stance, step in root_rotation.items() if step.preview}
    assert said == {
        "distribute a1 b1": [
            "CA: `steady a1` -> `distribute a1 b1`",
            f"  trusts {b} from now on",
            f"  goes on signing with {a1}",
            "  hands out b1 in the chain too",
            "Next: `switch a1 b1`, 3s after this `pulumi up`, at the earliest.",
        ],
        "switch a1 b1": [
            "CA: `distribute a1 b1` -> `switch a1 b1`",
            f"  signs with {b1} from now on",
            "Next: `retire a1 b1`, 3s after this `pulumi up`, at the earliest.",
        ],
        "retire a1 b1": [
            "CA: `switch a1 b1` -> `retire a1 b1`",
            f"  no longer trusts {a}",
            f"  goes on signing with {b1}",
            "  no longer hands out a1 in the chain",
            "Next: `steady b1`, at any time after this `pulumi up`.",
        ],
        "steady b1": ["CA: `steady b1` stays in force."],
    }


ROLLBACKS = {
    ("distribute a1 b1", "steady a1"): ("root-cert", "cert-chain"),
    ("switch a1 b1", "distribute a1 b1"): ("ca-key", "ca-cert"),
    ("retire a1 b1", "switch a1 b1"): ("root-cert", "cert-chain"),
}


@pytest.mark.parametrize(("reached", "back"), ROLLBACKS)
def test_a_move_can_be_taken_back_at_once(
    reached: str, back: str, root_rotation: dict[str, Step], tmp_path: Path
) -> None:
    """Without any wait, even where leaves live for a day: it rewrites what the move had written."""
    stack = root_rotation[reached].after.copy(tmp_path / "stack")
    stack.want(back, **stacks.LONG)
    with stack.writes() as writes:
        stack.done()
    assert tuple(writes) == paths(ROLLBACKS[reached, back])
    assert stack.ledger()["stance"] == back


def test_an_intermediate_rotation_waits_for_polls_only(rotating: Workspace, tmp_path: Path) -> None:
    """Under one root the trust never changes, so leaves of a day are no reason to wait."""
    rotating.change(leafTtl="24h")
    rotating.done()
    stances = ("distribute a1 a2", "switch a1 a2", "retire a1 a2", "steady a2")
    steps = walk(rotating, tmp_path / "steps", stances, preview=False)
    assert {stance: step.writes for stance, step in steps.items()} == {
        "distribute a1 a2": ("secrets/cert-chain",),
        "switch a1 a2": ("secrets/ca-key", "secrets/ca-cert"),
        "retire a1 a2": ("secrets/cert-chain",),
        "steady a2": (),
    }
    assert steps["steady a2"].ledger["signer"]["name"] == "a2"


def test_generated_roots_rotate_and_the_old_one_can_go(tmp_path: Path) -> None:
    """A root is protected for as long as it is trusted, and then leaves with its configuration."""
    stack = Workspace(tmp_path / "stack")
    shutil.copyfile(layout.ROOT / "Pulumi.dev.yaml", stack.stack_file)
    stack.change(
        **stacks.SHORT,
        roots={"a": {"generated": {}}, "b": {"generated": {}}},
        issuers={"a1": {"root": "a"}, "b1": {"root": "b"}},
    )
    stack.run("config", "set", "--path", "aks-istio-ca:cluster.rotationPollInterval", "1s")
    for _ in range(2):
        stack.done()
    protected = {}
    for stance in ROOT_ROTATION[:-1]:
        stack.want(stance)
        stack.done()
        stack.wait_for_next_move()
        resources = stack.resources()
        protected[stance] = [
            root
            for root in ("a", "b")
            if resources[f"tls:index/selfSignedCert:SelfSignedCert::root-{root}"].get("protect")
        ]
    assert protected == {
        "distribute a1 b1": ["a", "b"],
        "switch a1 b1": ["a", "b"],
        "retire a1 b1": ["b"],
    }
    stack.want("steady b1", roots={"b": {"generated": {}}}, issuers={"b1": {"root": "b"}})
    with stack.writes() as writes:
        stack.done()
    assert writes == []
    left = [name.rsplit("::", 1)[1] for name in stack.resources() if name.startswith("tls:")]
    assert sorted(left) == ["issuer-b1", "issuer-b1-key", "issuer-b1-request",
                            "root-b", "root-b-key"]  # fmt: skip


def test_a_preview_knows_what_an_up_will_write_before_all_of_it_is_generated(
    tmp_path: Path,
) -> None:
    """Root and issuer that come with the distribution leave the secrets of the old issuer alone,
    in the preview as in the `up`, and the old issuer is told by its fingerprint."""
    stack = Workspace(tmp_path / "stack")
    shutil.copyfile(layout.ROOT / "Pulumi.dev.yaml", stack.stack_file)
    for _ in range(2):
        stack.done()
    signer = stack.ledger()["signer"]["sha256"][:16]
    stack.want(
        "distribute a1 b1",
        roots={"a": {"generated": {}}, "b": {"generated": {}}},
        issuers={"a1": {"root": "a"}, "b1": {"root": "b"}},
    )
    shown = stack.preview()
    assert shown.code == 0
    assert re.findall(r"Secret secret-(\S+) update", shown.output) == ["root-cert", "cert-chain"]
    assert f"goes on signing with a1 (sha256 {signer}, " in shown.output
    assert "trusts b (not generated yet) from now on" in shown.output
    with stack.writes() as writes:
        stack.done()
    assert writes == ["secrets/root-cert", "secrets/cert-chain"]
