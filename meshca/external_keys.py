"""When an issuer whose key is external began to sign: whoever writes `ca-key` says so.

The program writes `ca-cert`, and an istiod takes it once `ca-key` matches; until then it goes on
signing with the issuer before (pilot/pkg/bootstrap/istio_ca.go, handleEvent). So what was in force
before a switch ends when the key is there, which no certificate tells: its entry in the window is
open (`until` None), for peers too, until `issuers.NAME.keyWritten` closes it.
"""

from datetime import datetime

from meshca.ledger import Ledger, closed
from meshca.refusals import iso
from meshca.rotation import Held
from meshca.settings import KeySource, Settings


def is_external(settings: Settings, name: str) -> bool:
    """Whether somebody else writes the key of that issuer."""
    issuer = settings.issuers.get(name)
    return issuer is not None and issuer.key is KeySource.EXTERNAL


def window(settings: Settings, ledger: Ledger) -> tuple[Held, ...]:
    """The ledger's window, closed where the configuration says when the key was written."""
    issuer = settings.issuers.get(_signer(ledger))
    written = issuer.key_written if issuer is not None else None
    return closed(ledger.window, written, since=ledger.since)


def advice(settings: Settings, ledger: Ledger) -> str | None:
    """What to do about an open entry; None where there is none."""
    if all(entry.until is not None for entry in window(settings, ledger)):
        return None
    return acknowledge(_signer(ledger), since=ledger.since)


def acknowledge(name: str, *, since: datetime | None = None) -> str:
    """How to say that the key is there; `since` is when the switch to it was, once it was made."""
    switch = f"{iso(since)}, the moment of the switch," if since else "the moment of the switch"
    return (
        f"The private key of {name} is external: once it is in the secret `ca-key`, set "
        f"`issuers.{name}.keyWritten` to the moment at which it was written, or to {switch} if it "
        "was there before; time is counted from then."
    )


def _signer(ledger: Ledger) -> str:
    return ledger.describe(ledger.posture.signer.identity).name
