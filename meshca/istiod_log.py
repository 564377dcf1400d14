"""Reading istiod's log: which certificates it serves, what it refused, whether it signs by itself.

istiod prints, at its start and after each change that it took, one line for each certificate of
its own serving chain: its leaf first, then what cert-chain holds (pilot/pkg/bootstrap/
certcontroller.go, loadIstiodCert). The serial numbers are the proof that an issuer is in use: the
sentence about a "newly added intermediate CA" is printed even when nothing has changed.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

_CERTIFICATE = re.compile(
    r'x509 cert - Issuer: "(?P<issuer>.*?)", Subject: "(?P<subject>.*?)", SN: (?P<serial>[0-9a-f]+)'
)
_LOADED = "Istiod certificates are reloaded"
"""Ends the lines of one chain, at the start too."""

_REFUSED = (
    "Failed to update new Plug-in CA certs",
    "Updating new ROOT-CA not supported",
    "Multi root is disabled, updating new ROOT-CA not supported",
)
"""A running istiod kept what it had (pilot/pkg/bootstrap/istio_ca.go, handleEvent)."""

_OWN = ("No plugged-in cert at", "Use self-signed certificate as the CA certificate")
_PLUGGED = ("Use plugged-in cert at", "Use local CA certificate")
"""Whose CA it started with, in the words of older and newer releases."""

_TIME = re.compile(r'^(?:\{"level":"[a-z]+","time":")?(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?Z')


@dataclass(frozen=True, slots=True)
class Served:
    """One certificate of a serving chain. Names as Go prints them; serial in lower-case hex."""

    issuer: str
    subject: str
    serial: str


class IstiodLog:
    """What a log, read from its start or from any point on, says about the CA by its end.

    Lines may be fed in pieces, and pieces may overlap by time: what is not newer than the newest
    line seen is passed over.
    """

    def __init__(self) -> None:
        self.chain: tuple[Served, ...] = ()
        """The chain it serves: leaf first. Empty while no line about it was seen."""
        self.refusal: str | None = None
        """The last refusal since that chain was loaded: it goes on with that chain."""
        self.self_signed: bool | None = None
        """Whether it started with a CA of its own; None when the log does not say."""
        self.until: datetime | None = None
        """The time of the newest line, to the second, from where to read on."""
        self._newest = ""
        self._pending: list[Served] = []

    def feed(self, lines: Iterable[str]) -> None:
        """Takes in the next lines."""
        seen = self._newest
        for line in lines:
            stamp = _TIME.match(line)
            if stamp is not None:
                moment = f"{stamp[1]}{stamp[2] or ''}"
                if moment <= seen:
                    continue
                if moment > self._newest:
                    self._newest = moment
                    self.until = datetime.fromisoformat(f"{stamp[1]}+00:00")
            self._take(line)

    def _take(self, line: str) -> None:
        found = _CERTIFICATE.search(line.replace('\\"', '"'))
        if found is not None:
            self._pending.append(Served(found["issuer"], found["subject"], found["serial"]))
        elif _LOADED in line:
            if self._pending:
                self.chain, self.refusal = tuple(self._pending), None
            self._pending = []
        elif any(text in line for text in _REFUSED):
            self.refusal = line.strip()
        elif any(text in line for text in _OWN):
            self.self_signed = True
        elif any(text in line for text in _PLUGGED):
            self.self_signed = False


def signer(chain: tuple[Served, ...]) -> str | None:
    """The serial of the certificate in the chain that has signed istiod's leaf, and so all leaves.

    None when it is not in the chain, or when two in the chain have its name: names are all that
    the log says of who signed.
    """
    if not chain:
        return None
    leaf, *above = chain
    named = {served.serial for served in above if served.subject == leaf.issuer}
    return named.pop() if len(named) == 1 else None
