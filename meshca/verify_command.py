"""`python -m meshca verify`: reads a cluster, judges it, prints a table or JSON."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from rich import box
from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text

from meshca import pulumi_stack, report, report_input
from meshca.cluster_connection import (
    Connection,
    ForbiddenError,
    UnauthorizedError,
    UnreachableError,
)
from meshca.cluster_view import ClusterView
from meshca.evidence import Seen
from meshca.findings import EXIT_CODES, Finding, Place, Severity, Snapshot, worst
from meshca.ledger import Ledger
from meshca.refusals import Refusal, Refused, iso
from meshca.verify import judge

_STYLES = {
    Severity.OK: "green",
    Severity.INFO: "",
    Severity.WARNING: "yellow",
    Severity.ERROR: "bold red",
}


_UNFOLDED = 2000


@dataclass(frozen=True)
class Source:
    """Where ledger and kubeconfig come from, as the command line says."""

    stack: str | None = None
    kubeconfig: Path | None = None
    ledger: str | None = None
    """A file with the output `rotation` or with all outputs; `-` for standard input."""


@dataclass(frozen=True)
class _Subject:
    ledger: Ledger
    kubeconfig: str
    context: str | None
    file: Path | None
    place: Place


def run(source: Source, *, as_json: bool, out: TextIO, console: Console | None = None) -> int:
    """Verifies and prints; returns the exit code. Raises Refused when nothing can be judged.

    Progress goes to `console`, standard error by default, and only while it is a terminal.
    """
    console = console or Console(stderr=True)
    subject = _subject(source)
    with (
        _reaching(),
        Connection(subject.kubeconfig, context=subject.context, file=subject.file) as connection,
    ):
        snapshot = read(ClusterView(connection), console)
    findings = judge(subject.ledger, snapshot, subject.place)
    if as_json:
        out.write(json.dumps(document(subject.ledger, snapshot, findings), indent=2) + "\n")
    else:
        # Into a file or a pipe nothing is folded: commands are to be pasted.
        width = None if out.isatty() else _UNFOLDED
        Console(file=out, highlight=False, width=width).print(table(findings))
    return EXIT_CODES[worst(findings)]


def read(view: ClusterView, console: Console) -> Snapshot:
    """Everything that is judged, each list once, with progress on the console."""
    with console.status("Reading istiod") as status:
        now = view.clock()
        istiods = view.istiods()
        replicas = view.replicas(istiods)
        failures = {} if all(pod.ready for pod in istiods) else view.mount_failures()
        driver = view.driver_arguments()
        status.update("Reading trust bundles")
        trust = view.trust()
        pods = tuple(view.meshed_pods(lambda count: _progress(status, count)))
    return Snapshot(
        now=now,
        istiods=tuple(istiods),
        seen=Seen(tuple(replicas), trust),
        mount_failures=failures,
        driver_arguments=driver,
        pods=pods,
    )


def _progress(status: Status, count: int) -> None:
    status.update(f"Reading pods: {count:,}")


def document(ledger: Ledger, snapshot: Snapshot, findings: list[Finding]) -> dict[str, Any]:
    """What `--json` prints."""
    severity = worst(findings)
    return {
        "severity": str(severity),
        "exitCode": EXIT_CODES[severity],
        "stance": ledger.stance,
        "at": iso(snapshot.now),
        "istiods": len(snapshot.istiods),
        "namespaces": len(snapshot.seen.trust),
        "meshedPods": len(snapshot.pods),
        "findings": [finding.as_json() for finding in findings],
    }


def table(findings: list[Finding]) -> Table:
    """The findings for people: one row each, the repair below what was found."""
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for heading in ("Check", "Severity", "Finding"):
        made.add_column(heading, overflow="fold")
    for finding in findings:
        said = Text(finding.detail)
        if finding.repair is not None:
            said.append(f"\nRepair: {finding.repair}\n", style="cyan")
        severity = Text(str(finding.severity), style=_STYLES[finding.severity])
        made.add_row(finding.check, severity, said)
    return made


def _subject(source: Source) -> _Subject:
    ledger = _ledger(source)
    if source.kubeconfig is not None:
        text = _text(source.kubeconfig)
        return _Subject(ledger, text, None, source.kubeconfig, Place())
    cluster = pulumi_stack.cluster(source.stack)
    name, group = cluster.get("name"), cluster.get("resourceGroup")
    place = Place(str(group), str(name)) if group and name else Place()
    if isinstance(cluster.get("kubeconfig"), str):
        return _Subject(ledger, cluster["kubeconfig"], None, None, place)
    # `az aks get-credentials` names the context after the cluster: nobody verifies another one.
    file = _default_kubeconfig()
    return _Subject(ledger, _text(file), str(name) if name else None, file, place)


def _ledger(source: Source) -> Ledger:
    if source.ledger is not None:
        where = report_input.name(source.ledger)
        found = report.read(report_input.load(source.ledger), where=where, copied=True)
    else:
        named = f"stack {source.stack}" if source.stack else "the selected stack"
        outputs = pulumi_stack.outputs(source.stack)
        if not outputs:
            raise Refused(
                [
                    Refusal(
                        "no-ledger",
                        f"{named} has no outputs: it was never brought up",
                        "Run `pulumi up` first, or name another stack with --stack.",
                    )
                ]
            )
        found = report.read(outputs, where=f"the outputs of {named}")
    if found.ledger is None:
        raise Refused(
            [
                Refusal(
                    "no-ledger",
                    "no `pulumi up` has written a whole set of secrets yet",
                    "Run `pulumi up` until the output `mesh` says `enabled`.",
                )
            ]
        )
    return found.ledger


def _default_kubeconfig() -> Path:
    """What kubectl would read first."""
    named = os.environ.get("KUBECONFIG", "").split(os.pathsep)[0]
    return Path(named) if named else Path.home() / ".kube" / "config"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise Refused(
            [
                Refusal(
                    "no-kubeconfig",
                    f"the kubeconfig {path} cannot be read ({why})",
                    "Get one with `az aks get-credentials -g GROUP -n CLUSTER`, or name another "
                    "file with --kubeconfig.",
                )
            ]
        ) from None


@contextmanager
def _reaching() -> Iterator[None]:
    try:
        yield
    except UnreachableError as error:
        raise Refused(
            [
                Refusal(
                    "cluster-unreachable",
                    f"the cluster does not answer ({error})",
                    "Is it running, and can it be reached from here? Try `kubectl get nodes`.",
                )
            ]
        ) from None
    except UnauthorizedError as error:
        raise Refused(
            [
                Refusal(
                    "cluster-forbidden",
                    f"the cluster does not take the credentials of the kubeconfig ({error})",
                    "Log in again (`az login`), or get a new kubeconfig with `az aks "
                    "get-credentials`.",
                )
            ]
        ) from None
    except ForbiddenError as error:
        raise Refused(
            [
                Refusal(
                    "cluster-forbidden",
                    f"the cluster refuses: {error}",
                    "Verifying needs to list pods and ConfigMaps in all namespaces, and to read "
                    "events and istiod's log in aks-istio-system.",
                )
            ]
        ) from None


def main(source: Source, *, as_json: bool) -> int:
    """The command."""
    return run(source, as_json=as_json, out=sys.stdout)
