"""The article's checks as one judgement: what was found in a cluster against what the ledger says.

Pure: `meshca.cluster_view` reads, `meshca.verify_command` prints. The failure pages are those of
Microsoft's "Troubleshoot the Istio service mesh add-on plug-in CA certificate".
"""

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta

from meshca import evidence, restarts
from meshca.cluster_facts import IstiodPod
from meshca.evidence import Expected, Named, Replica
from meshca.findings import Finding, Place, Severity, Snapshot
from meshca.ledger import Ledger, Record
from meshca.readiness import enough_life
from meshca.refusals import iso
from meshca.rotation import Identity

ENDS_SOON = timedelta(days=30)
"""Key Vault tells of a secret that is near its end as many days before."""

ROTATION_FLAG = "--enable-secret-rotation"


def expected(ledger: Ledger) -> Expected | None:
    """What istiod should show; None for a ledger of before serial numbers were kept."""
    posture = ledger.posture
    issuers = {each: ledger.records[each].serial for each in posture.chain}
    signer = ledger.records[posture.signer.identity]
    trust = [ledger.records[root].certificate for root in posture.trust]
    if None in (*issuers.values(), signer.serial) or any(root.sha256 is None for root in trust):
        return None
    return Expected(
        trust=tuple(Named(root.name, root.sha256 or "") for root in trust),
        signer=Named(signer.certificate.name, signer.serial or ""),
        chain=tuple(
            Named(ledger.records[each].certificate.name, mark or "")
            for each, mark in issuers.items()
        ),
    )


def judge(ledger: Ledger, snapshot: Snapshot, place: Place | None = None) -> list[Finding]:
    """Every check in order; one that finds nothing wrong says so with severity `ok`."""
    judged = _Judge(ledger, snapshot, place or Place())
    checks: Sequence[tuple[str, Callable[[], Iterator[Finding]], Callable[[], str]]] = (
        ("mount", judged.mount, judged.mount_is_fine),
        ("rotation", judged.rotation, judged.rotation_is_fine),
        ("issuer", judged.issuer, judged.issuer_is_fine),
        ("trust", judged.trust, judged.trust_is_fine),
        ("pods", judged.pods, judged.pods_are_fine),
        ("certificates", judged.certificates, judged.certificates_are_fine),
    )
    findings = []
    for name, look, fine in checks:
        found = list(look())
        findings += found or [Finding(name, f"{name}-ok", Severity.OK, fine())]
    return findings


class _Judge:
    def __init__(self, ledger: Ledger, snapshot: Snapshot, place: Place) -> None:
        self.ledger = ledger
        self.snapshot = snapshot
        self.place = place
        self.expected = expected(ledger)
        settled = ledger.since + ledger.pace.reload
        self.lag = Severity.WARNING if snapshot.now < settled else Severity.ERROR
        """How bad it is that something is not there: until the poll is due, it may be under way."""
        self.wait = (
            f"wait until {iso(settled)}, then check again" if self.lag is Severity.WARNING else None
        )

    # mount: is the plug-in CA mounted into every istiod?

    def mount(self) -> Iterator[Finding]:
        if not self.snapshot.istiods:
            if self.ledger.mesh:
                yield self._found(
                    "mount",
                    "no-istiod",
                    "no istiod runs in aks-istio-system",
                    f"az aks show -g {self.place.group} -n {self.place.cluster} "
                    "--query serviceMeshProfile",
                )
            else:
                yield Finding("mount", "mesh-off", Severity.INFO, "the mesh is not on", "pulumi up")
            return
        unmounted = [pod.name for pod in self.snapshot.istiods if not pod.mounts_certificates]
        own = [
            replica.name
            for replica in self.snapshot.seen.replicas
            if replica.self_signed and replica.name not in unmounted
        ]
        if names := (*unmounted, *own):
            yield self._found(
                "mount",
                "self-signed",
                f"{_some(names)} signs with a CA of its own, not with the one from the vault",
                "the mesh was enabled without the plug-in CA: pulumi config set --path "
                "aks-istio-ca:cluster.mesh false && pulumi up (deletes Istio's custom resources), "
                "then set it to true again and run pulumi up",
                names,
            )
        yield from self._mount_failures()

    def _mount_failures(self) -> Iterator[Finding]:
        waiting = [pod for pod in self.snapshot.istiods if not pod.ready and not pod.ending]
        by_cause: dict[tuple[str, str, str], list[IstiodPod]] = {}
        for pod in waiting:
            message = self.snapshot.mount_failures.get(pod.name)
            by_cause.setdefault(self._cause(message), []).append(pod)
        for (id_, why, repair), pods in by_cause.items():
            names = tuple(pod.name for pod in pods)
            shown = _some([f"{pod.name} ({pod.status})" for pod in pods])
            yield self._found("mount", id_, f"{shown}: {why}", repair, names)

    def _cause(self, message: str | None) -> tuple[str, str, str]:
        """Which of the known failures a FailedMount event tells of: id, words, repair."""
        look = "kubectl describe pods -n aks-istio-system -l app=istiod"
        if message is None:
            return "istiod-not-ready", "not ready, and no mount has failed", look
        secret = re.search(r"objectName: ?([A-Za-z0-9-]+)", message)
        name = secret[1] if secret else "a secret"
        access = self.ledger.access
        vault = access.vault.rpartition("/")[2] if access else "VAULT"
        if "ForbiddenByConnection" in message:
            return (
                "vault-closed",
                f"vault {vault} does not let the cluster's network in",
                f"az keyvault network-rule add --name {vault} --ip-address OUTBOUND_IP (or a "
                "private endpoint)",
            )
        if re.search(r"\b403\b|Forbidden", message):
            return (
                "access-denied",
                f"no access to {name} in vault {vault} (403)",
                self._grant(message, vault),
            )
        if re.search(r"\b404\b|SecretNotFound", message):
            return (
                "secret-not-found",
                f"vault {vault} has no secret {name} (404)",
                f"az keyvault secret recover --vault-name {vault} --name {name}, or "
                "pulumi refresh && pulumi up",
            )
        if "not found in the list of registered CSI drivers" in message:
            return (
                "driver-missing",
                "the Secrets Store CSI driver is not installed",
                f"az aks enable-addons -g {self.place.group} -n {self.place.cluster} "
                "--addons azure-keyvault-secrets-provider",
            )
        return "mount-failed", message, look

    def _grant(self, message: str, vault: str) -> str:
        access = self.ledger.access
        principal = access.principal if access else "OBJECT_ID"
        if "ForbiddenByRbac" in message:
            return (
                'az role assignment create --role "Key Vault Secrets User" '
                f"--assignee-object-id {principal} --assignee-principal-type ServicePrincipal "
                f"--scope {access.vault if access else 'VAULT_ID'}"
            )
        if "ForbiddenByPolicy" in message:
            return (
                f"az keyvault set-policy --name {vault} --object-id {principal} "
                "--secret-permissions get"
            )
        return "pulumi refresh && pulumi up, which grants it again"

    def mount_is_fine(self) -> str:
        return f"{_count(len(self.snapshot.istiods), 'istiod')} with the plug-in CA mounted"

    # rotation: does the driver look for new secrets?

    def rotation(self) -> Iterator[Finding]:
        arguments = self.snapshot.driver_arguments
        if arguments is None:
            yield Finding(
                "rotation",
                "driver-unseen",
                Severity.INFO,
                "the Secrets Store CSI driver cannot be seen, so neither can its settings",
                "kubectl get daemonset -n kube-system aks-secrets-store-csi-driver -o yaml",
            )
        elif not any(each in (ROTATION_FLAG, f"{ROTATION_FLAG}=true") for each in arguments):
            yield self._found(
                "rotation",
                "rotation-disabled",
                "the Secrets Store CSI driver does not look for new secrets, so istiod never sees "
                "a rotation",
                f"az aks addon update -g {self.place.group} -n {self.place.cluster} "
                "--addon azure-keyvault-secrets-provider --enable-secret-rotation, or pulumi "
                "refresh && pulumi up",
            )

    def rotation_is_fine(self) -> str:
        interval = next(
            (
                each.partition("=")[2]
                for each in self.snapshot.driver_arguments or ()
                if each.startswith("--rotation-poll-interval=")
            ),
            "its default interval",
        )
        return f"the driver looks for new secrets every {interval}"

    # issuer: did every replica take it?

    def issuer(self) -> Iterator[Finding]:
        if self.expected is None:
            yield Finding(
                "issuer",
                "ledger-old",
                Severity.WARNING,
                "the ledger was written before serial numbers were kept",
                "pulumi up",
            )
            return
        for replica in self._running():
            if not replica.chain:
                yield self._silent(replica)
            elif not evidence.shows(self.expected, replica):
                yield self._wrong(self.expected, replica)
            elif replica.refusal:
                yield self._refused(replica)

    def _silent(self, replica: Replica) -> Finding:
        return Finding(
            "issuer",
            "issuer-unknown",
            Severity.WARNING,
            f"the log of {replica.name} does not say any more what it serves",
            self._restart_istiod(),
            (replica.name,),
        )

    def _wrong(self, wanted: Expected, replica: Replica) -> Finding:
        return Finding(
            "issuer",
            "bundle-refused" if replica.refusal else "wrong-issuer",
            Severity.ERROR if replica.refusal else self.lag,
            f"{evidence.describe(wanted, replica)}; expected is {wanted.signer.name} "
            f"(serial {wanted.signer.mark})",
            self.wait or self._restart_istiod(),
            (replica.name,),
        )

    def _refused(self, replica: Replica) -> Finding:
        return Finding(
            "issuer",
            "bundle-refused",
            Severity.ERROR,
            f"{replica.name} keeps what it had and refuses what the vault holds now: "
            f"{replica.refusal}",
            "pulumi refresh && pulumi up, which writes the secrets of the ledger again",
            (replica.name,),
        )

    def _restart_istiod(self) -> str:
        revisions = sorted({pod.revision for pod in self.snapshot.istiods if pod.revision})
        names = " ".join(f"deployment/istiod-{revision}" for revision in revisions)
        return f"kubectl rollout restart -n aks-istio-system {names or 'deployment'}"

    def issuer_is_fine(self) -> str:
        if self.expected is None or not self._running():
            return "no istiod to ask"
        signer = self.expected.signer
        count = _count(len(self._running()), "istiod")
        return f"{count} signing with {signer.name} (serial {signer.mark})"

    def _running(self) -> list[Replica]:
        """Those that can be asked; what ails the others is told under `mount`."""
        return [replica for replica in self.snapshot.seen.replicas if not replica.trouble]

    # trust: is the bundle of every namespace the expected one?

    def trust(self) -> Iterator[Finding]:
        if self.expected is not None:
            stale = evidence.stale_namespaces(self.expected, self.snapshot.seen)
            if stale:
                roots = ", ".join(root.name for root in self.expected.trust)
                yield Finding(
                    "trust",
                    "stale-trust",
                    self.lag,
                    f"{_count(len(stale), 'namespace')} with another bundle than {roots}: "
                    f"{_some(stale)}",
                    self.wait
                    or "kubectl delete configmap istio-ca-root-cert -n NAMESPACE (istiod writes it "
                    "again where it serves the namespace)",
                    tuple(stale),
                )
        without = sorted(
            {pod.namespace for pod in self.snapshot.pods} - self.snapshot.seen.trust.keys()
        )
        if without:
            yield Finding(
                "trust",
                "no-trust",
                Severity.ERROR,
                f"{_count(len(without), 'namespace')} with meshed pods and no istio-ca-root-cert: "
                f"{_some(without)}",
                "kubectl get pods -n aks-istio-system -l app=istiod (istiod writes it; is it "
                "ready, and does discoverySelectors leave the namespace out?)",
                tuple(without),
            )

    def trust_is_fine(self) -> str:
        roots = ", ".join(self.ledger.describe(root).name for root in self.ledger.posture.trust)
        return f"{_count(len(self.snapshot.seen.trust), 'namespace')} trusting {roots}"

    # pods: which are older than the last change, while that matters?

    def pods(self) -> Iterator[Finding]:
        moment, until = self._change()
        if until is None or until <= self.snapshot.now:
            return
        older = sorted(str(pod) for pod in self.snapshot.pods if pod.created < moment)
        if older:
            yield Finding(
                "pods",
                "older-pods",
                Severity.WARNING,
                f"{_count(len(older), 'meshed pod')} older than the last change ({iso(moment)}): "
                f"{_some(older)}. They may hold older trust or leaves until {iso(until)}",
                "kubectl rollout restart -n NAMESPACE deployment/NAME, then pulumi up; or wait",
                tuple(older),
            )

    def _change(self) -> tuple[datetime, datetime | None]:
        """When the trust and signer in force came, and until when others may be in use."""
        ledger = self.ledger
        ends = [
            end
            for entry in ledger.window
            if restarts.digest(entry.posture) != restarts.digest(ledger.posture)
            and (end := entry.leaves_trust_window()) is not None
        ]
        moment = ledger.restarts.shown if ledger.restarts else ledger.since
        return moment, max(ends, default=None)

    def pods_are_fine(self) -> str:
        return f"{_count(len(self.snapshot.pods), 'meshed pod')}, none of which holds older trust"

    # certificates: which end when?

    def certificates(self) -> Iterator[Finding]:
        for identity in self._used():
            record = self.ledger.records[identity]
            end = record.certificate.not_after
            if end is not None:
                yield self._end(record, end)

    def _used(self) -> list[Identity]:
        posture = self.ledger.posture
        used = dict.fromkeys((*posture.trust, posture.signer.identity, *posture.chain))
        return sorted(used, key=lambda one: self.ledger.records[one].certificate.name)

    def _end(self, record: Record, end: datetime) -> Finding:
        kind = "root" if record.root is None else "issuer"
        name, left = record.certificate.name, end - self.snapshot.now
        rotate = f"rotate to another {kind}: docs/rotation.md"
        if left <= timedelta(0):
            return self._found(
                "certificates", "ended", f"{kind} {name} ended at {iso(end)}", rotate, (name,)
            )
        text = f"{kind} {name} ends at {iso(end)}, in {left.days} days"
        soon = left <= ENDS_SOON or not enough_life(
            end, self.ledger.pace.leaf_ttl, self.snapshot.now
        )
        if soon:
            return Finding("certificates", "ends-soon", Severity.WARNING, text, rotate, (name,))
        return Finding("certificates", "ends", Severity.INFO, text, None, (name,))

    def certificates_are_fine(self) -> str:
        return "no end is known"

    def _found(
        self, check: str, id_: str, detail: str, repair: str, names: Sequence[str] = ()
    ) -> Finding:
        return Finding(check, id_, Severity.ERROR, detail, repair, tuple(names))


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _some(names: Sequence[str], longest: int = 5) -> str:
    more = len(names) - longest
    return ", ".join(names[:longest]) + (f" and {more:,} more" if more > 0 else "")
