"""When an issuer whose key is external began to sign: whoever writes `ca-key` says so.

The program writes `ca-cert`, and an istiod takes it once `ca-key` matches; until then it goes on
signing with the issuer before (pilot/pkg/bootstrap/istio_ca.go, handleEvent). So what was in force
before is counted from the moment at which the key was there, which no certificate tells.
"""

from collections.abc import Iterator
from dataclasses import replace

from meshca.ledger import Ledger
from meshca.rotation import Held
from meshca.settings import Issuer, KeySource, Settings


def signing(settings: Settings, ledger: Ledger) -> tuple[str, Issuer] | None:
    """Name and settings of the issuer that signs by the ledger; None when its key is not external
    (or it is configured no more).
    """
    name = ledger.describe(ledger.posture.signer.identity).name
    issuer = settings.issuers.get(name)
    return (name, issuer) if issuer is not None and issuer.key is KeySource.EXTERNAL else None


def held(settings: Settings, ledger: Ledger) -> tuple[Held, ...]:
    """What counts in this mesh. Postures of another signer end when the external key was written;
    they are as good as in force while nobody has said when that was.
    """
    external = signing(settings, ledger)
    if external is None:
        return ledger.held()
    return tuple(_counted(ledger, external[1]))


def _counted(ledger: Ledger, issuer: Issuer) -> Iterator[Held]:
    for entry in ledger.held():
        if entry.until is None or entry.posture.signer == ledger.posture.signer:
            yield entry
        elif issuer.key_written is None:
            yield replace(entry, until=None)
        else:
            yield replace(entry, until=max(entry.until, issuer.key_written))


def advice(settings: Settings, ledger: Ledger) -> str | None:
    """What to do while it is not known when the key was written; None when it does not matter."""
    external = signing(settings, ledger)
    if external is None or external[1].key_written is not None:
        return None
    if all(entry.posture.signer == ledger.posture.signer for entry in ledger.window):
        return None
    return acknowledge(external[0])


def acknowledge(name: str) -> str:
    """How to say that the key is there."""
    return (
        f"The private key of {name} is external: once it is in the secret `ca-key`, set "
        f"`issuers.{name}.keyWritten` to the moment at which it was written "
        '(such as "2027-03-01T12:00:00Z"); time is counted from there.'
    )
