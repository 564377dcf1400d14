"""A local cloud that has converged without Pulumi: cluster, vault, access, secrets, mesh.

For tests of the harness itself, which write bundles straight into the vault. Tests of the whole
product drive `pulumi up` instead.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from lab.azure import data_plane, ids, seed
from tests.mesh.authorities import Texts

GROUP: Final = "rg-mesh"
CLUSTER: Final = "aks-mesh"
VAULT: Final = "kv-mesh"
REVISION: Final = "asm-1-29"

WRITE_ORDER: Final = ("root-cert", "ca-cert", "ca-key", "cert-chain")
"""The order of the article: its own commands, one after the other."""


class LocalCloud:
    """The seeded cloud in a state directory."""

    def __init__(self, state: Path) -> None:
        """Seed resource group, vault and a cluster whose CSI add-on is on; no mesh yet."""
        self.state = state
        self._written: dict[str, str] = {}
        seed.resource_group(state, GROUP)
        seed.vault(state, GROUP, VAULT)
        seed.access_policy(state, GROUP, VAULT)
        self._put_cluster(mesh=False)

    def enable_mesh(self) -> None:
        """Turn the Istio add-on on, with the plug-in CA."""
        self._put_cluster(mesh=True)

    def disable_mesh(self) -> None:
        """Turn the Istio add-on off."""
        self._put_cluster(mesh=False)

    def grant(self) -> None:
        """Let the add-on's identity read the vault."""
        self._set_access(["get"])

    def revoke(self) -> None:
        """Take that away again."""
        self._set_access([])

    def write(self, texts: Texts, order: Iterable[str] = WRITE_ORDER) -> None:
        """Write secrets, in an order; those whose value would not change are left alone."""
        for name in order:
            if texts[name] != self._written.get(name):
                seed.secret(self.state, GROUP, VAULT, name, texts[name])
                self._written[name] = texts[name]

    @property
    def cluster(self) -> data_plane.MeshCluster:
        """The cluster as the mesh's stand-ins see it."""
        return data_plane.mesh(self.state)[0]

    def _set_access(self, permissions: list[str]) -> None:
        identity = self.cluster.identity
        if identity is None:
            raise AssertionError("the CSI add-on is on, so it has an identity")
        seed.access_policy(self.state, GROUP, VAULT, identity, permissions)

    def _put_cluster(self, *, mesh: bool) -> None:
        plugin = {
            "keyVaultId": ids.vault(GROUP, VAULT),
            "rootCertObjectName": "root-cert",
            "certObjectName": "ca-cert",
            "keyObjectName": "ca-key",
            "certChainObjectName": "cert-chain",
        }
        istio = {"revisions": [REVISION], "certificateAuthority": {"plugin": plugin}}
        seed.cluster(
            self.state,
            GROUP,
            CLUSTER,
            addonProfiles={
                data_plane.ADDON: {
                    "enabled": True,
                    "config": {"enableSecretRotation": "true", "rotationPollInterval": "2m"},
                }
            },
            serviceMeshProfile={"mode": "Istio", "istio": istio} if mesh else {"mode": "Disabled"},
        )
