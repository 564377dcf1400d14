"""What every component owes its users, whatever it is made of."""

from typing import Any

import pulumi
import pulumi_azure_native
import pulumi_tls
import pytest

from components.access import Access
from components.attempt import AttemptRecord
from components.authority import Authority
from components.cluster import Cluster
from components.stack import Login
from components.vault import BundleSecrets, Vault
from meshca.mesh import Mesh
from meshca.plan import plan
from tests.components.recorder import STACK_TYPE, STASH, Run
from tests.components.stacks import GENERATED, Clock, changed, component


def build(settings: Any, files: Any) -> None:
    """Every component, with providers of its own."""
    providers: list[pulumi.ProviderResource] = [
        pulumi_azure_native.Provider("own-azure"),
        pulumi_tls.Provider("own-tls"),
    ]
    admitted = plan(settings, files, ledger=None, now=Clock()())
    assert admitted is not None
    opts = pulumi.ResourceOptions(providers=providers)
    vault = Vault("vault", settings.key_vault, resource_group="group", tenant="t", opts=opts)
    authority = Authority("authority", settings, files, admitted.trusted, opts)
    Cluster(
        "cluster",
        settings.cluster,
        Mesh.ENABLED,
        resource_group="group",
        vault_id=vault.id,
        opts=opts,
    )
    Access("access", settings.key_vault, vault, principal="p", login=Login(), opts=opts)
    attempt = AttemptRecord("attempt", admitted, None, opts)
    BundleSecrets("secrets", settings, admitted, authority, vault, attempt, None, opts)


@pytest.fixture(scope="module", params=["accessPolicy", "rbac"])
def everything(request: pytest.FixtureRequest) -> Run:
    """Every component on its own, without the program around it."""
    return component(build, changed(GENERATED, keyVault={"accessModel": request.param}))


def test_children_use_the_providers_of_their_component(everything: Run) -> None:
    """A provider that is given to a component reaches everything in it."""
    used = {
        request.name: request.wire.provider.rpartition("::")[0].rpartition("::")[2]
        for request in everything.requests
        if request.wire.custom
        and request.type != STASH
        and not request.type.startswith("pulumi:providers:")
    }
    owner = {"issuer-a1", "issuer-a1-key", "issuer-a1-request", "root-a", "root-a-key"}
    assert used == {
        **dict.fromkeys(owner, "own-tls"),
        **dict.fromkeys(used.keys() - owner, "own-azure"),
    }
    assert {"vault", "cluster", "access", "secret-ca-key"} < used.keys()


def test_every_component_is_completed(everything: Run) -> None:
    """Each component registers its outputs once: until then Pulumi shows it as running."""
    made = [one.urn for one in everything.requests if not one.wire.custom]
    completed = [urn for urn in everything.completed if f"::{STACK_TYPE}::" not in urn]
    assert sorted(completed) == sorted(made)


def test_components_ask_for_nothing_themselves(everything: Run) -> None:
    """A component has no inputs, hence no secret among them, and no options that it would hand on:
    protection and the like are with the children that need them."""
    for request in everything.requests:
        if not request.wire.custom:
            assert request.inputs == {}
            assert request.options == {}
