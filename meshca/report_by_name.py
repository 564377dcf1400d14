"""Postures, ledgers and configurations by the names they use, so that they can be compared.

A ledger speaks of certificates by their fingerprint. A report compares it with a configuration,
and a refused preview does not tell the fingerprints of what the configuration asks for. Names are
enough for that: the guard itself refuses a name that has come to mean another certificate.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from meshca import picture
from meshca.ledger import Attempt, Ledger, Record, advance
from meshca.plan import pace_of
from meshca.refusals import CertificateRef
from meshca.rotation import Identity, Intermediate, Posture, posture
from meshca.settings import Settings


def posture_of(settings: Settings) -> Posture | None:
    """The posture that is asked for; None while no issuer is active."""
    if settings.active_issuer is None:
        return None

    def issuer(name: str) -> Intermediate:
        return Intermediate(name, settings.issuers[name].root)

    following = issuer(settings.next_issuer) if settings.next_issuer else None
    return posture(settings.rotation_phase, issuer(settings.active_issuer), following)


def ledger_by_name(ledger: Ledger) -> Ledger:
    """The same, with names in place of identities."""
    names = _names(ledger)
    return replace(
        ledger,
        posture=_renamed(ledger.posture, names),
        window=tuple(
            replace(entry, posture=_renamed(entry.posture, names)) for entry in ledger.window
        ),
        records={
            names[identity]: replace(record, root=names.get(record.root or "", record.root))
            for identity, record in ledger.records.items()
        },
    )


def ledger_after(
    ledger: Ledger | None,
    settings: Settings,
    wanted: Posture,
    attempt: Attempt | None,
    *,
    now: datetime,
) -> Ledger:
    """The ledger, by name, that an `up` of `settings` would leave behind if it ended now.

    `attempt` is the one on record; an interrupted one enters the window.
    """
    issuers = {
        name: Record(CertificateRef(name), issuer.root) for name, issuer in settings.issuers.items()
    }
    begun = attempt
    if ledger is not None and attempt is not None:
        begun = replace(attempt, posture=_renamed(attempt.posture, _names(ledger)))
    return advance(
        ledger_by_name(ledger) if ledger is not None else None,
        now=now,
        stance=settings.stance,
        posture=wanted,
        pace=pace_of(settings),
        records={**{name: Record(CertificateRef(name)) for name in settings.roots}, **issuers},
        access=None,
        mesh=True,
        attempt=begun,
    )


def drawn_ledger(ledger: Ledger) -> str:
    """The chain of trust in force, as Mermaid."""
    held = ledger_by_name(ledger)
    roots = {name: record.root for name, record in held.records.items() if record.root is not None}
    return picture.chain_of_trust(held.posture, roots, str)


def drawn_settings(settings: Settings) -> str | None:
    """The chain of trust that is asked for, as Mermaid; None while no issuer is active."""
    wanted = posture_of(settings)
    if wanted is None:
        return None
    roots = {name: issuer.root for name, issuer in settings.issuers.items()}
    return picture.chain_of_trust(wanted, roots, str)


def _names(ledger: Ledger) -> Mapping[Identity, str]:
    return {identity: record.certificate.name for identity, record in ledger.records.items()}


def _renamed(given: Posture, names: Mapping[Identity, str]) -> Posture:
    def name(identity: Identity) -> Identity:
        return names.get(identity, identity)

    signer = Intermediate(name(given.signer.identity), name(given.signer.root))
    return Posture(tuple(map(name, given.trust)), signer, tuple(map(name, given.chain)))
