"""Judging a directory with the four files of a bundle, and saying what was found."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509

from meshca import durations
from meshca.bundle import Bundle, refusals
from meshca.certificates import (
    DECODE_CERTIFICATE,
    DECODE_KEY,
    parse_certificate,
    parse_certificates,
    read_text,
)
from meshca.hierarchy import CA_CERT, CA_KEY, CERT_CHAIN, ROOT_CERT, Contents
from meshca.refusals import Refusal, Refused, iso
from meshca.x509_facts import fingerprint, is_signed_by, key_kind, shown


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is wrong with a directory; its certificates when they could all be read."""

    directory: Path
    leaf_ttl: timedelta
    contents: Contents | None
    refusals: tuple[Refusal, ...]

    def as_json(self) -> dict[str, Any]:
        """For machines: `sound`, every refusal, every certificate once."""
        held = self.contents
        listed = dict.fromkeys((*held.roots, *held.intermediates)) if held else ()
        return {
            "directory": str(self.directory),
            "sound": not self.refusals,
            "leafTtl": durations.spell(self.leaf_ttl),
            "certificates": [_described(one, held) for one in listed if held],
            "refusals": [refusal.as_json() for refusal in self.refusals],
        }

    def lines(self) -> Iterator[str]:
        """For people: the chains drawn, or each refusal with its certificates and its remedy."""
        for refusal in self.refusals:
            yield f"{refusal.id}: {refusal.reason}"
            yield from (f"    certificate: {one}" for one in refusal.certificates)
            yield f"    do: {refusal.mitigation}"
        if not self.refusals and self.contents is not None:
            yield from _drawing(self.contents, self.leaf_ttl)


def check(directory: Path, *, now: datetime, leaf_ttl: timedelta) -> Verdict:
    """Judges `directory` as istiod would find it mounted, and as its peers would meet it."""
    if (closed := _closed(directory)) is not None:
        return Verdict(directory, leaf_ttl, None, (closed,))
    found: list[Refusal] = list(_beside(directory))
    texts: dict[str, str] = {}
    for name in (ROOT_CERT, CA_CERT, CA_KEY, CERT_CHAIN):
        try:
            decode = DECODE_KEY if name == CA_KEY else DECODE_CERTIFICATE
            texts[name] = read_text(directory / f"{name}.pem", decode=decode)
        except Refused as refused:
            found.extend(refused.refusals)
    bundle = Bundle(
        root_cert=texts.get(ROOT_CERT, ""),
        ca_cert=texts.get(CA_CERT, ""),
        cert_chain=texts.get(CERT_CHAIN, ""),
        ca_key=texts.get(CA_KEY),
    )
    unread = {ROOT_CERT, CA_CERT, CERT_CHAIN} - set(texts)
    found += refusals(bundle, now=now, leaf_ttl=leaf_ttl, unread=unread)
    # Of a file that is far too large, not all is read.
    whole = not any(refusal.id == "too-large" for refusal in found)
    return Verdict(directory, leaf_ttl, _contents(bundle) if whole else None, tuple(found))


def _closed(directory: Path) -> Refusal | None:
    """Why nothing in the directory can be looked at."""
    try:
        # It takes the right to enter, not only to see that it is there.
        os.stat(directory / "tls.crt")
    except FileNotFoundError:
        return None
    except OSError as error:
        return Refusal(
            "unreadable-file",
            f"what is in {directory} cannot be read: {error.strerror}",
            "Correct path or permissions.",
        )
    return None


def _beside(directory: Path) -> Iterator[Refusal]:
    """V10: files that change what istiod makes of the four.

    With tls.crt there it takes the TLS format and ignores them (pilot/pkg/bootstrap/istio_ca.go,
    detectSigningCABundleAndCRL); a ca-crl.pem has no place in the add-on, which has no fifth
    secret.
    """
    if (directory / "tls.crt").exists():
        yield Refusal(
            "tls-format",
            "tls.crt is there, and with it istiod ignores the four files",
            "Take tls.crt, tls.key and ca.crt out of the directory.",
        )
    if (directory / "ca-crl.pem").exists():
        yield Refusal(
            "crl-not-delivered",
            "ca-crl.pem is there, but the add-on has no secret for a revocation list",
            "Take it out; to revoke an issuer, rotate away from it.",
        )


def _contents(bundle: Bundle) -> Contents | None:
    try:
        return Contents(
            roots=tuple(parse_certificates(bundle.root_cert, where=ROOT_CERT)),
            signer=parse_certificate(bundle.ca_cert, where=CA_CERT),
            chain=tuple(parse_certificates(bundle.cert_chain, where=CERT_CHAIN)),
        )
    except Refused:
        return None


def _described(certificate: x509.Certificate, contents: Contents) -> dict[str, Any]:
    above = _above(certificate, contents)
    return {
        "name": contents.name(certificate),
        "subject": shown(certificate.subject),
        "sha256": fingerprint(certificate),
        "key": key_kind(certificate.public_key()),
        "notBefore": iso(certificate.not_valid_before_utc),
        "notAfter": iso(certificate.not_valid_after_utc),
        "issuer": contents.name(above) if above else None,
        "trusted": certificate in contents.roots,
        "signs": certificate == contents.signer,
    }


def _above(certificate: x509.Certificate, contents: Contents) -> x509.Certificate | None:
    """Its issuer in the bundle; None for a root, and for what hangs on none."""
    if certificate in contents.roots:
        return None
    known = (*contents.roots, *contents.intermediates)
    return next((up for up in known if up != certificate and is_signed_by(certificate, up)), None)


def _drawing(contents: Contents, leaf_ttl: timedelta) -> Iterator[str]:
    for root in contents.roots:
        yield from _branch(root, contents, leaf_ttl, indent="")


def _branch(
    certificate: x509.Certificate, contents: Contents, leaf_ttl: timedelta, *, indent: str
) -> Iterator[str]:
    signs = certificate == contents.signer
    role = "signs leaves" if signs else "trusted" if certificate in contents.roots else "in chain"
    yield (
        f"{indent}{contents.name(certificate)}: {shown(certificate.subject)} ({role},"
        f" {key_kind(certificate.public_key())}, until {iso(certificate.not_valid_after_utc)})"
    )
    hanging = "    " if not indent else f"{indent[:-3]}    "
    yield f"{hanging}sha256 {fingerprint(certificate)}"
    below = [one for one in contents.intermediates if _above(one, contents) == certificate]
    for one in below:
        yield from _branch(one, contents, leaf_ttl, indent=f"{hanging}`- ")
    if signs:
        yield f"{hanging}`- leaves of workloads and istiod, {durations.spell(leaf_ttl)}"
