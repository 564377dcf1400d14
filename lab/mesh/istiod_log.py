"""Reading istiod's log: which certificates it took, in the article's own evidence lines.

istiod prints, at its start and after each change that it took, one line per certificate of its
own serving chain: first its leaf, then what cert-chain holds (pilot/pkg/bootstrap/
certcontroller.go). The serial numbers are the proof that a new issuer is in use: the sentence
about a "newly added intermediate CA" is printed even when nothing has changed.
"""

import re
from dataclasses import dataclass
from pathlib import Path

_CERTIFICATE = re.compile(
    r'x509 cert - Issuer: "(?P<issuer>[^"]*)", Subject: "(?P<subject>[^"]*)",'
    r" SN: (?P<serial>[0-9a-f]+),"
)
_RELOADED = "Istiod certificates are reloaded"
_REFUSED = ("Failed to update new Plug-in CA certs", "Updating new ROOT-CA not supported")


@dataclass(frozen=True, slots=True)
class Served:
    """One certificate out of a line of the log; the serial number in lower-case hex."""

    issuer: str
    subject: str
    serial: str


def served(log: Path) -> list[Served]:
    """Return the chain istiod serves now: its leaf, then cert-chain. Empty before the first."""
    chain: list[Served] = []
    pending: list[Served] = []
    for line in _lines(log):
        match = _CERTIFICATE.search(line)
        if match:
            pending.append(Served(match["issuer"], match["subject"], match["serial"]))
        elif _RELOADED in line and pending:
            chain, pending = pending, []
    return chain


def signer(log: Path) -> str:
    """Return the serial (hex) of the issuer of istiod's own leaf: what it signs with now.

    Empty before the first leaf, and when the chain that it serves lacks that issuer.
    """
    leaf, *chain = served(log) or [Served("", "", "")]
    return next((each.serial for each in chain if each.subject == leaf.issuer), "")


def refusals(log: Path) -> list[str]:
    """Return the lines in which a running istiod refused a set of files and kept the old one."""
    return [line for line in _lines(log) if any(text in line for text in _REFUSED)]


def _lines(log: Path) -> list[str]:
    if not log.is_file():
        return []
    return log.read_text(encoding="utf-8", errors="replace").splitlines()
