"""A running mesh and its vault, moved from posture to posture the way an operator would.

Time is compressed: leaves live `LEAF_TTL` seconds, the CSI driver polls each `POLL` seconds. What
the guard computes from 24 h and 2 min is computed here from these.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from lightkube.resources.core_v1 import Pod

from lab.mesh import istiod_log
from lab.mesh.mesh import Mesh
from lab.mesh.traffic import Phase
from lab.mesh.workloads import NAMESPACE
from tests.mesh import authorities
from tests.mesh.authorities import Authority, Texts
from tests.mesh.local_cloud import WRITE_ORDER, LocalCloud

LEAF_TTL: Final = 6.0
POLL: Final = 1.0
SLACK: Final = 1.0
"""istiod's own delay (0.1 s), a request under way, a loaded machine."""

LEAF_WINDOW: Final = LEAF_TTL + POLL + SLACK
"""W of the design: a leaf or a trust may be as old as this."""
POLL_WINDOW: Final = POLL + SLACK
"""P of the design: an istiod may be as late as this."""


@dataclass
class Stage:
    """A mesh under traffic, and what was counted in each of its moves."""

    mesh: Mesh
    cloud: LocalCloud

    def settle(self, trust: Sequence[Authority], signer: Authority) -> None:
        """Bring everything to a steady posture from wherever it is, by restarting all of it."""
        texts = authorities.texts(trust, signer)
        self.cloud.write(texts)
        self.mesh.restart_istiod()
        self.mesh.wait_for(
            lambda: self.mesh.is_ready and set(self.mesh.signers()) == {signer.serial},
            "istiods that sign with the new issuer",
        )
        self.mesh.wait_for(lambda: self.mesh.trust() == texts["root-cert"], "the trust bundle")
        gone = {each.name for each in self.mesh.proxies}
        for name in gone:
            self.mesh.client.delete(Pod, name, namespace=NAMESPACE)
        self.mesh.wait_for(
            lambda: self.mesh.is_ready and gone.isdisjoint(each.name for each in self.mesh.proxies),
            "new pods",
        )

    def move(
        self,
        name: str,
        texts: Texts,
        order: Iterable[str] = WRITE_ORDER,
        *,
        hold: float,
    ) -> Phase:
        """Write a bundle, then keep traffic running for `hold` seconds.

        Seconds count from the last write, as the guard's windows do.
        """
        with self.mesh.phase(name) as counted:
            self.cloud.write(texts, order)
            self.mesh.let_pass(hold)
        return counted

    def write_and_poll(self, texts: Texts, names: Iterable[str]) -> None:
        """Write some of the four secrets, then let every istiod's volume be read."""
        self.cloud.write(texts, names)
        self.mesh.poll()

    def refusals(self) -> int:
        """Return how often a running istiod has refused what it read."""
        return sum(len(istiod_log.refusals(each.log)) for each in self.mesh.istiods)

    def wait_for_refusal(self, *, beyond: int) -> None:
        """Wait until istiods have refused more often than that."""
        self.mesh.wait_for(lambda: self.refusals() > beyond, "istiod to refuse a torn set")

    def wait_for_signer(self, signer: Authority) -> None:
        """Wait until every istiod signs with this issuer."""
        self.mesh.wait_for(
            lambda: set(self.mesh.signers()) == {signer.serial}, "the new signer on every istiod"
        )
