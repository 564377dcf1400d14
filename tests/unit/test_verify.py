"""What `verify` makes of a cluster: each failure page, each severity, each repair."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from meshca import verify_command
from meshca.cluster_facts import IstiodPod, MeshedPod
from meshca.evidence import Replica, Seen
from meshca.findings import EXIT_CODES, Finding, Place, Severity, Snapshot, worst
from meshca.istiod_log import Served
from meshca.ledger import Access, Ledger, Record, Restarts
from meshca.refusals import CertificateRef
from meshca.restarts import digest
from meshca.rotation import Held, Intermediate, Pace, Phase, posture
from meshca.verify import judge

NOW = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=30)
PACE = Pace(timedelta(hours=24), timedelta(minutes=2), timedelta(minutes=5))
A1, B1 = Intermediate("a1", "a"), Intermediate("b1", "b")
STEADY = posture(Phase.STEADY, A1)
DISTRIBUTE = posture(Phase.DISTRIBUTE, A1, B1)
VAULT = "/subscriptions/1/resourceGroups/g/providers/Microsoft.KeyVault/vaults/kv"


def record(name: str, root: str | None, mark: str, days: int = 700) -> Record:
    """A root or an issuer that ends in some days."""
    return Record(CertificateRef(name, mark * 32, NOW + timedelta(days=days)), root, mark)


RECORDS = {
    "a": record("a", None, "aa"),
    "b": record("b", None, "bb"),
    "a1": record("a1", "a", "a1"),
    "b1": record("b1", "b", "b1"),
}
LEDGER = Ledger(
    3,
    "steady a1",
    STEADY,
    LONG_AGO,
    PACE,
    records=RECORDS,
    access=Access(VAULT, "0b1ec7"),
    mesh=True,
)
A1_SERVED = Served("CN=Root A", "CN=Issuer A1", "a1")
GOOD = Replica("istiod-0", (Served("CN=Issuer A1", "", "1eaf"), A1_SERVED))
POD = IstiodPod("istiod-0", "asm-1-29", False, True, "Running", True)
HANGING = replace(POD, ready=False, status="Init:0/2")
ROTATES = ("--enable-secret-rotation=true", "--rotation-poll-interval=2m")
TRUST = {"shop": ("aa" * 32,)}
HEALTHY = Snapshot(NOW, (POD,), Seen((GOOD,), TRUST), {}, ROTATES)


def found(ledger: Ledger = LEDGER, **changes: Any) -> dict[str, Finding]:
    """What is found in a healthy cluster with changes, by id."""
    return {
        finding.id: finding
        for finding in judge(ledger, replace(HEALTHY, **changes), Place("rg", "aks"))
    }


def test_a_healthy_cluster_has_nothing_but_ends() -> None:
    """Every check says that it is fine, and when the certificates end."""
    findings = found()
    assert [*findings] == [
        "mount-ok",
        "rotation-ok",
        "issuer-ok",
        "trust-ok",
        "pods-ok",
        "ends",
    ]
    assert worst([*findings.values()]) is Severity.INFO


def test_a_healthy_cluster_is_told_in_numbers() -> None:
    """With the serial number to compare by hand."""
    findings = found()
    assert findings["mount-ok"].detail == "1 istiod with the plug-in CA mounted"
    assert findings["rotation-ok"].detail == "the driver looks for new secrets every 2m"
    assert findings["issuer-ok"].detail == "1 istiod signing with a1 (serial a1)"
    assert findings["trust-ok"].detail == "1 namespace trusting a"


# The article's failure pages

FORBIDDEN = (
    "failed to mount objects, error: failed to get objectType:secret, objectName:root-cert,"
    " objectVersion:: GET https://kv.vault.azure.net/secrets/root-cert/ RESPONSE 403: 403"
    " Forbidden ERROR CODE: Forbidden"
)


@pytest.mark.parametrize(
    ("message", "id_", "detail", "repair"),
    [
        (
            FORBIDDEN,
            "access-denied",
            "no access to root-cert in vault kv (403)",
            "pulumi refresh && pulumi up",
        ),
        (
            f"{FORBIDDEN} ForbiddenByRbac",
            "access-denied",
            "no access to root-cert in vault kv (403)",
            'az role assignment create --role "Key Vault Secrets User" --assignee-object-id 0b1ec7'
            f" --assignee-principal-type ServicePrincipal --scope {VAULT}",
        ),
        (
            f"{FORBIDDEN} ForbiddenByPolicy",
            "access-denied",
            "no access to root-cert in vault kv (403)",
            "az keyvault set-policy --name kv --object-id 0b1ec7 --secret-permissions get",
        ),
        (
            f"{FORBIDDEN} ForbiddenByConnection",
            "vault-closed",
            "vault kv does not let the cluster's network in",
            "az keyvault network-rule add --name kv",
        ),
        (
            "objectName:ca-key, objectVersion:: RESPONSE 404: 404 Not Found CODE: SecretNotFound",
            "secret-not-found",
            "vault kv has no secret ca-key (404)",
            "az keyvault secret recover --vault-name kv --name ca-key",
        ),
        (
            "driver name secrets-store.csi.k8s.io not found in the list of registered CSI drivers",
            "driver-missing",
            "the Secrets Store CSI driver is not installed",
            "az aks enable-addons -g rg -n aks --addons azure-keyvault-secrets-provider",
        ),
        ("out of inodes", "mount-failed", "out of inodes", "kubectl describe pods"),
        (
            None,
            "istiod-not-ready",
            "not ready, and no mount has failed",
            "kubectl describe pods",
        ),
    ],
    ids=["403", "rbac", "policy", "firewall", "404", "no driver", "other", "no event"],
)
def test_an_istiod_that_hangs_is_told_why(
    message: str | None, id_: str, detail: str, repair: str
) -> None:
    """By its newest FailedMount event, with the command that repairs it."""
    failures = {} if message is None else {"istiod-0": message}
    findings = found(
        istiods=(HANGING,),
        seen=Seen((Replica("istiod-0", trouble="not ready (Init:0/2)"),), TRUST),
        mount_failures=failures,
    )
    finding = findings[id_]
    assert finding.severity is Severity.ERROR
    assert finding.detail == f"istiod-0 (Init:0/2): {detail}"
    assert finding.repair is not None
    assert finding.repair.startswith(repair)


@pytest.mark.parametrize(
    "changes",
    [
        {"istiods": (replace(POD, mounts_certificates=False),)},
        {"seen": Seen((replace(GOOD, self_signed=True),), TRUST)},
    ],
    ids=["no mount", "says so itself"],
)
def test_a_ca_of_istiods_own_is_an_error(changes: dict[str, Any]) -> None:
    """With the only way out, and what that costs."""
    finding = found(**changes)["self-signed"]
    assert finding.severity is Severity.ERROR
    assert finding.names == ("istiod-0",)
    assert "deletes Istio's custom resources" in (finding.repair or "")


@pytest.mark.parametrize(
    ("arguments", "id_", "severity"),
    [
        (("--enable-secret-rotation",), "rotation-ok", Severity.OK),
        (("--enable-secret-rotation=false",), "rotation-disabled", Severity.ERROR),
        ((), "rotation-disabled", Severity.ERROR),
        (None, "driver-unseen", Severity.INFO),
    ],
    ids=["on", "off", "default", "unseen"],
)
def test_rotation_is_read_off_the_driver(
    arguments: tuple[str, ...] | None, id_: str, severity: Severity
) -> None:
    """It is off by default; where it cannot be seen, nobody is alarmed."""
    assert found(driver_arguments=arguments)[id_].severity is severity


@pytest.mark.parametrize(
    ("mesh", "id_", "severity"),
    [(True, "no-istiod", Severity.ERROR), (False, "mesh-off", Severity.INFO)],
)
def test_no_istiod_is_an_error_where_there_should_be_one(
    mesh: bool, id_: str, severity: Severity
) -> None:
    """The ledger knows whether the mesh is on."""
    findings = found(replace(LEDGER, mesh=mesh), istiods=(), seen=Seen((), {}))
    assert findings[id_].severity is severity


# Issuer and trust


@pytest.mark.parametrize(
    ("since", "severity", "repair"),
    [
        (NOW - timedelta(minutes=8), Severity.ERROR, "kubectl rollout restart -n aks-istio-system "
         "deployment/istiod-asm-1-29"),
        (NOW - timedelta(minutes=6), Severity.WARNING, "wait until 2027-03-01T12:01:00Z"),
    ],
    ids=["the poll was due", "the poll is to come"],
)  # fmt: skip
def test_an_istiod_that_lags_is_an_error_once_the_poll_was_due(
    since: datetime, severity: Severity, repair: str
) -> None:
    """Before that it may still be under way."""
    other = Replica("istiod-0", (Served("CN=B1", "", "1"), Served("CN=B", "CN=B1", "b1")))
    finding = found(replace(LEDGER, since=since), seen=Seen((other,), TRUST))["wrong-issuer"]
    assert finding.severity is severity
    assert (finding.repair or "").startswith(repair)
    assert finding.detail == (
        "istiod-0 signs with CN=B1 and serves the chain serial b1; expected is a1 (serial a1)"
    )


@pytest.mark.parametrize(
    "replica",
    [
        replace(GOOD, refusal="the cert does not match the key"),
        Replica("istiod-0", (Served("CN=B1", "", "1"),), refusal="the cert does not match the key"),
    ],
    ids=["right by luck", "wrong too"],
)
def test_what_istiod_refuses_is_an_error(replica: Replica) -> None:
    """With its own words."""
    finding = found(seen=Seen((replica,), TRUST))["bundle-refused"]
    assert finding.severity is Severity.ERROR
    assert "the cert does not match the key" in finding.detail


def test_a_log_that_was_rotated_away_is_a_warning() -> None:
    """Nothing is known to be wrong."""
    finding = found(seen=Seen((Replica("istiod-0"),), TRUST))["issuer-unknown"]
    assert finding.severity is Severity.WARNING


def test_a_ledger_without_serials_is_a_warning() -> None:
    """Until the next `pulumi up`."""
    old = {name: replace(one, serial=None) for name, one in RECORDS.items()}
    assert found(replace(LEDGER, records=old))["ledger-old"].repair == "pulumi up"


def test_namespaces_with_another_bundle_are_named() -> None:
    """All of them for machines, a few for people."""
    trust = {**TRUST, **{f"ns-{number}": ("cc" * 32,) for number in range(7)}}
    finding = found(seen=Seen((GOOD,), trust))["stale-trust"]
    assert len(finding.names) == 7
    assert finding.detail == (
        "7 namespaces with another bundle than a: ns-0, ns-1, ns-2, ns-3, ns-4 and 2 more"
    )


def test_meshed_pods_without_a_bundle_are_an_error() -> None:
    """Their agents cannot reach istiod."""
    finding = found(pods=(MeshedPod("edge", "gw", LONG_AGO, False, ""),))["no-trust"]
    assert (finding.severity, finding.names) == (Severity.ERROR, ("edge",))


# Pods


ROTATING = replace(
    LEDGER,
    stance="distribute a1 b1",
    posture=DISTRIBUTE,
    since=NOW - timedelta(hours=1),
    window=(Held(STEADY, PACE, NOW - timedelta(hours=1)),),
)
OLD = MeshedPod("shop", "old", NOW - timedelta(hours=2), False, "ReplicaSet web")
NEW = MeshedPod("shop", "new", NOW - timedelta(minutes=2), False, "ReplicaSet web")


@pytest.mark.parametrize(
    ("ledger", "older"),
    [
        (ROTATING, ["shop/old"]),
        (replace(ROTATING, window=()), None),
        (replace(ROTATING, window=(Held(STEADY, PACE, NOW - timedelta(days=2)),)), None),
        (replace(ROTATING, window=(Held(DISTRIBUTE, PACE, NOW),)), None),
        (
            replace(
                ROTATING, restarts=Restarts(digest(DISTRIBUTE), NOW - timedelta(minutes=1), (), ())
            ),
            ["shop/new", "shop/old"],
        ),
    ],
    ids=["a change", "evidence", "long ago", "only the chain", "restarted later"],
)
def test_older_pods_are_told_while_they_matter(ledger: Ledger, older: list[str] | None) -> None:
    """As long as something else than what is in force may be in use."""
    finding = found(ledger, pods=(OLD, NEW)).get("older-pods")
    assert (list(finding.names) if finding else None) == older


# Certificates


@pytest.mark.parametrize(
    ("days", "id_", "severity"),
    [
        (700, "ends", Severity.INFO),
        (30, "ends-soon", Severity.WARNING),
        (0, "ended", Severity.ERROR),
    ],
)
def test_ends_are_judged_by_what_is_left(days: int, id_: str, severity: Severity) -> None:
    """A month before the end it is a warning, as Key Vault tells then."""
    records = {**RECORDS, "a1": record("a1", "a", "a1", days)}
    finding = found(replace(LEDGER, records=records))[id_]
    assert finding.severity is severity
    assert finding.names == ("a1",)


def test_a_long_leaf_lifetime_needs_more_notice() -> None:
    """Less than six leaf lifetimes are too few for a signer, however many days they are."""
    pace = replace(PACE, leaf_ttl=timedelta(days=90))
    ids = [finding.id for finding in judge(replace(LEDGER, pace=pace), HEALTHY)]
    assert "ends" in ids
    shorter = {**RECORDS, "a1": record("a1", "a", "a1", 500)}
    assert "ends-soon" in found(replace(LEDGER, pace=pace, records=shorter))


def test_certificates_out_of_use_are_not_told() -> None:
    """Only what the posture in force is made of."""
    ended = {**RECORDS, "b1": record("b1", "b", "b1", -1)}
    assert "ended" not in found(replace(LEDGER, records=ended))


# Exit codes and output


@pytest.mark.parametrize(
    ("severities", "code"),
    [
        ([], 0),
        ([Severity.OK, Severity.INFO], 0),
        ([Severity.OK, Severity.WARNING], 3),
        ([Severity.ERROR, Severity.WARNING], 4),
    ],
)
def test_the_worst_finding_decides_the_exit_code(severities: list[Severity], code: int) -> None:
    """1 and 2 stay for what could not be judged and for wrong usage."""
    findings = [Finding("check", "id", severity, "") for severity in severities]
    assert EXIT_CODES[worst(findings)] == code


def test_every_finding_that_is_wrong_has_a_repair() -> None:
    """In a cluster where about everything is."""
    snapshot = replace(
        HEALTHY,
        istiods=(HANGING, replace(POD, name="istiod-1", mounts_certificates=False)),
        seen=Seen((Replica("istiod-2"),), {"shop": ()}),
        driver_arguments=(),
        pods=(OLD,),
    )
    findings = judge(ROTATING, snapshot)
    wrong = [each for each in findings if each.severity in (Severity.WARNING, Severity.ERROR)]
    assert len(wrong) >= 6
    assert all(each.repair for each in wrong)


def test_the_table_shows_what_and_how_to_repair() -> None:
    """On a terminal of any width, without cutting a command."""
    findings = list(found(driver_arguments=()).values())
    out = io.StringIO()
    Console(file=out, width=60).print(verify_command.table(findings))
    shown = " ".join(out.getvalue().split())
    assert "rotation error" in shown
    assert "Repair: az aks addon update" in shown
    assert "--enable-secret-rotation" in shown


def test_json_has_every_name() -> None:
    """And the severity and the exit code, for machines that only look at those."""
    trust = {f"ns-{number}": ("cc" * 32,) for number in range(50)}
    snapshot = replace(HEALTHY, seen=Seen((GOOD,), trust))
    printed = verify_command.document(LEDGER, snapshot, judge(LEDGER, snapshot))
    [stale] = [each for each in printed["findings"] if each["id"] == "stale-trust"]
    assert (printed["severity"], printed["exitCode"], len(stale["names"])) == ("error", 4, 50)


def test_an_istiod_that_does_not_run_is_not_counted_as_signing() -> None:
    """What ails it is told under `mount`; of the issuer only those are told that can be asked."""
    hanging = Replica("istiod-0", trouble="does not run")
    other = replace(POD, name="istiod-1")
    signing = replace(GOOD, name="istiod-1")
    findings = found(istiods=(HANGING, other), seen=Seen((hanging, signing), TRUST))
    assert findings["issuer-ok"].detail == "1 istiod signing with a1 (serial a1)"
    findings = found(istiods=(HANGING,), seen=Seen((hanging,), TRUST))
    assert findings["issuer-ok"].detail == "no istiod to ask"
