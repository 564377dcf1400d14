"""What the program knows of its own stack, of its peers, and of the live cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pulumi
from pulumi.runtime.config import CONFIG, is_config_secret

from components import azure, existing
from components.cluster import ClusterComponent
from meshca import words
from meshca.adoption import live_cluster
from meshca.ledger import Ledger
from meshca.ledger_reading import parse, peer_window
from meshca.mesh import TURNED_OFF, Mesh, turns_off
from meshca.plan import Plan
from meshca.rotation import Held
from meshca.settings import Settings, load


def configured() -> Settings:
    """The settings of this stack. Raises SettingsError with every mistake in its configuration."""
    config: dict[str, Any] = dict(CONFIG.get())
    return load(config, secret={key for key in config if is_config_secret(key)})


class Login:
    """Where the deploying identity is logged in; asked for without waiting."""

    def __init__(self) -> None:
        client: pulumi.Output[dict[str, Any]] = pulumi.Output.from_input(_client())
        self.subscription: pulumi.Output[str] = client["subscriptionId"]
        self.tenant: pulumi.Output[str] = client["tenantId"]


async def _client() -> dict[str, Any]:
    try:
        return await azure.ask(azure.CLIENT_CONFIG)
    except Exception as error:  # the invoke raises nothing more specific
        raise pulumi.RunError(
            f"Azure does not say who is logged in: {error}. Run `az login`, or set the ARM_* "
            "variables that name another identity."
        ) from error


def announce(
    plan: Plan | None, ledger: Ledger | None, mesh: Mesh, *, restarts: bool = False
) -> None:
    """Says on the console what this `up` does to the CA and what comes next.

    A refusal that is lifted is a warning, and so is what cannot be undone.
    """
    if plan is None:
        pulumi.log.info("CA: no issuer is active yet; sign the requests in the output `csrs`.")
    else:
        tell = pulumi.log.warn if plan.override else pulumi.log.info
        tell("\n".join(words.changes(plan, ledger)))
        if (next_move := words.ahead(plan, ledger, restarts=restarts)) is not None:
            pulumi.log.info(next_move)
    if mesh is Mesh.PENDING:
        pulumi.log.info(f"Mesh {mesh.value}.")
    if turns_off(ledger, wanted=mesh is not Mesh.DISABLED):
        pulumi.log.warn(TURNED_OFF)


async def own_ledger() -> Ledger | None:
    """The ledger that this stack's last completed `up` recorded; None before the first.

    Raises Refused when it cannot be read.
    """
    return parse(await _rotation(_own_name()), where="the output `rotation`")


async def peer_ledgers(peers: Sequence[str]) -> list[Held]:
    """What still counts in the meshes of the given stacks. Raises Refused as `own_ledger`.

    A list that all stacks of a trust domain share names this stack too; that one is passed over.
    """
    others = [peer for peer in dict.fromkeys(peers) if peer != _own_name()]
    return [entry for peer in others for entry in peer_window(await _rotation(peer), peer=peer)]


def _own_name() -> str:
    return "/".join((pulumi.get_organization(), pulumi.get_project(), pulumi.get_stack()))


async def _rotation(stack: str) -> object:
    """The output `rotation`, also when it is secret, or when another output is not known.

    `get_output_details` answers both with nothing, as if the stack had never been brought up.
    """
    outputs = await pulumi.StackReference(stack).outputs.future(with_unknowns=True)
    return (outputs or {}).get("rotation")


def add_on_identity(
    settings: Settings, ledger: Ledger | None, cluster: ClusterComponent
) -> pulumi.Output[str]:
    """Object id of the add-on's identity: in the live cluster, or in the one that is being made."""
    live: pulumi.Output[str | None] = pulumi.Output.from_input(
        live_add_on_identity(settings, ledger)
    )
    return live.apply(lambda identity: identity or cluster.add_on_identity)


async def live_add_on_identity(settings: Settings, ledger: Ledger | None) -> str | None:
    """Object id of the add-on's identity in the live cluster; None before there is one.

    Asked of the cluster itself, because a preview of any change to the cluster makes all of its
    outputs unknown, and would show access as replaced.
    """
    live = await existing.read_cluster(settings.cluster) if ledger is not None else None
    return live_cluster(live).identity if live is not None else None
