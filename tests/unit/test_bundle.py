"""What may be a bundle: the cases of `tests.bundle_cases` before two judges.

The judges are our rules, and openssl in the place of a peer that is offered a leaf.
"""

import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from hypothesis import given
from hypothesis import strategies as st

from meshca import bundle, trial
from meshca.bundle import Bundle
from meshca.certificates import parse_certificates, parse_key
from tests import bundle_cases as cases
from tests.bundle_cases import A1, A2, B1, ROOT_A, ROOT_B, SOUND, UNSOUND, Case
from tests.material import (
    DAY,
    NOW,
    Authority,
    authority,
    key,
    key_text,
    leaf,
    refused,
    texts,
)


def titled(chosen: list[Case]) -> list[object]:
    """The cases as pytest parameters."""
    return [pytest.param(case, id=case.title) for case in chosen]


A1_KEY_LINES = key_text(A1.key).splitlines()


# The tables before the judges


@pytest.mark.parametrize("case", titled(SOUND))
def test_what_is_sound_passes(case: Case) -> None:
    """Nothing sound is refused."""
    assert refused(case.make()) == []


@pytest.mark.parametrize("case", titled(UNSOUND))
def test_what_is_unsound_earns_its_one_refusal(case: Case) -> None:
    """A mistake is refused once, by the rule that explains it, and by no other."""
    assert refused(case.make()) == [case.refusal]


@pytest.mark.parametrize("case", titled(SOUND))
def test_peers_agree_with_what_passes(case: Case, tmp_path: Path) -> None:
    """openssl, as server and as client, verifies every leaf of every bundle that passes."""
    assert verified_by_openssl(case.make(), tmp_path)


@pytest.mark.parametrize("case", titled([case for case in UNSOUND if case.peers_fail]))
def test_peers_suffer_from_what_is_refused(case: Case, tmp_path: Path) -> None:
    """Each refusal that claims that leaves fail has a peer that fails: no rule is made up."""
    assert not verified_by_openssl(case.make(), tmp_path)


@pytest.mark.parametrize(
    "case",
    titled([c for c in UNSOUND if c.refusal in ("path-too-long", "has-extended-key-usage")])
    + titled([c for c in UNSOUND if c.refusal in ("not-a-ca", "key-mismatch")])
    + titled(
        [c for c in UNSOUND if c.make in (cases.istiod_left_out, cases.issuer_without_cert_sign)]
    ),
)
def test_the_trial_alone_convicts_too(case: Case) -> None:
    """V8 depends on no rule: the trial by itself refuses what the rules explain."""
    judged = case.make()
    signing = load_pem_private_key((judged.ca_key or "").encode(), None)
    assert isinstance(signing, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey)
    [signer] = parse_certificates(judged.ca_cert, where="ca-cert")
    found = trial.trial_refusals(
        signer=signer,
        key=signing,
        chain=parse_certificates(judged.cert_chain, where="cert-chain"),
        roots=parse_certificates(judged.root_cert, where="root-cert"),
        now=NOW,
        leaf_ttl=bundle.LEAF_TTL,
        trust_domain="cluster.local",
    )
    assert {refusal.id for refusal in found} == {"leaf-unverifiable"}


def test_two_mistakes_are_two_refusals() -> None:
    """Refusals of different mistakes do not hide each other."""
    root = authority("Root", end=NOW - timedelta(hours=1))
    issuer = authority("Issuer", under=root, private=key("RSA-1024"))
    judged = texts([root], issuer, private=A1.key)
    assert refused(judged) == ["expired", "key-mismatch", "key-not-allowed"]


def test_an_unreadable_file_does_not_hide_the_others() -> None:
    """What can be judged without the unreadable file is judged."""
    root = authority("Root", end=NOW - timedelta(hours=1))
    judged = replace(texts([root], authority("Issuer", under=root)), cert_chain="")
    assert refused(judged) == ["no-certificate", "expired"]


def test_every_refusal_says_what_to_do() -> None:
    """Each has a reason without a full stop, and a mitigation that is a sentence."""
    for case in UNSOUND:
        for refusal in bundle.refusals(case.make(), now=NOW):
            assert not refusal.reason.endswith(".")
            assert refusal.mitigation.endswith(".")


def test_nothing_shows_a_key() -> None:
    """Neither a refusal nor the `repr` of a bundle holds a line of a key, wherever it is."""
    for case in UNSOUND:
        judged = case.make()
        shown = "\n".join([*map(str, bundle.refusals(judged, now=NOW)), repr(judged)])
        secret = {line for line in A1_KEY_LINES + (judged.ca_key or "").splitlines() if line}
        assert not any(line in shown for line in secret if not line.startswith("-----"))


def test_without_a_key_the_rest_is_judged() -> None:
    """An external key leaves every rule about certificates in force."""
    assert refused(replace(cases.steady(), ca_key=None)) == []
    assert refused(replace(cases.intermediate_without_room(), ca_key=None)) == ["path-too-long"]


def test_a_future_certificate_says_when_it_becomes_legal() -> None:
    """Waiting helps against one mistake, and its refusal says until when."""
    [refusal] = bundle.refusals(cases.issuer_of_tomorrow(), now=NOW)
    assert refusal.legal_at == NOW + DAY


def test_ambient_allows_no_uri_constraint() -> None:
    """ztunnel refuses every leaf under one, so with ambient peers it is refused."""
    assert refused(cases.permitted_trust_domain(), ambient=True) == ["uri-name-constraint"]


def test_the_leaf_lifetime_counts() -> None:
    """A signer with 30 days left may sign for a day, not for 30."""
    judged = texts([ROOT_A], authority("Issuer", under=ROOT_A, end=NOW + 30 * DAY))
    assert refused(judged, leaf_ttl=DAY) == []
    assert refused(judged, leaf_ttl=30 * DAY) == ["ends-too-soon"]


def test_the_trust_domain_counts() -> None:
    """A constraint to example.org is sound where identities are under example.org."""
    assert refused(cases.another_trust_domain(), trust_domain="example.org") == []


def test_the_size_limit_is_exact() -> None:
    """25000 bytes fit into a Key Vault secret, one more does not."""
    fill = "#" * (bundle.MAX_SECRET_BYTES - len(ROOT_A.pem) - 1)
    assert refused(replace(cases.steady(), root_cert=f"{ROOT_A.pem}{fill}\n")) == []
    assert refused(replace(cases.steady(), root_cert=f"{ROOT_A.pem}{fill}#\n")) == ["too-large"]


# What istiod must find: made by openssl as Istio's own tools do


def test_istio_makefile_output_passes(istio_files: Path) -> None:
    """RSA 4096, O=Istio, pathlen 0, SAN istiod.istio-system.svc, chain = ca-cert + root-cert."""
    judged = _from_files(istio_files)
    assert bundle.refusals(judged, now=datetime.now(UTC)) == []


def test_openssl_p384_output_passes(p384_files: Path) -> None:
    """The same with ECDSA P-384."""
    assert bundle.refusals(_from_files(p384_files), now=datetime.now(UTC)) == []


# Making


POOL = {"A": [A1, A2], "B": [B1]}
ROOTS = {"A": ROOT_A, "B": ROOT_B}


@st.composite
def postures(draw: st.DrawFn) -> tuple[list[Authority], Authority, list[Authority]]:
    """Any trust, in any order, any signer under it, any chain that has the signer."""
    trusted = draw(st.permutations(["A", "B"]).flatmap(lambda p: st.sampled_from([p, p[:1]])))
    issuers = [issuer for root in trusted for issuer in POOL[root]]
    signer = draw(st.sampled_from(issuers))
    chain = draw(st.lists(st.sampled_from(issuers), unique_by=id, max_size=3))
    place = draw(st.integers(0, len(chain)))
    with_signer = chain if signer in chain else [*chain[:place], signer, *chain[place:]]
    return [ROOTS[root] for root in trusted], signer, with_signer


def _made(roots: list[Authority], signer: Authority, chain: list[Authority]) -> Bundle:
    assert not isinstance(signer.key, ed25519.Ed25519PrivateKey)
    return bundle.make(
        trust=[one.certificate for one in roots],
        signer=signer.certificate,
        chain=[one.certificate for one in chain],
        key=signer.key,
    )


@given(postures())
def test_every_posture_of_sound_authorities_is_sound(
    posture: tuple[list[Authority], Authority, list[Authority]],
) -> None:
    """What `make` makes of sound authorities passes, whatever the order."""
    assert refused(_made(*posture)) == []


@given(postures())
def test_making_is_byte_stable(
    posture: tuple[list[Authority], Authority, list[Authority]],
) -> None:
    """The same posture, re-read from its own text, gives the same bytes."""
    first = _made(*posture)
    again = bundle.make(
        trust=parse_certificates(first.root_cert, where="root-cert"),
        signer=parse_certificates(first.ca_cert, where="ca-cert")[0],
        chain=parse_certificates(first.cert_chain, where="cert-chain"),
        key=parse_key(first.ca_key or "", where="ca-key"),
    )
    assert again == first


def test_a_root_that_is_added_changes_nothing_before_it() -> None:
    """istiod before 1.30: old root-cert must be contained in the new one, and back again."""
    grown = _made([ROOT_A, ROOT_B], A1, [A1]).root_cert
    assert grown.startswith(_made([ROOT_A], A1, [A1]).root_cert)
    assert grown.endswith(_made([ROOT_B], B1, [B1]).root_cert)


def test_the_form_is_canonical() -> None:
    """64 columns, LF, one final newline, nothing around the blocks."""
    made = _made([ROOT_A, ROOT_B], A1, [B1, A1])
    for text in made.texts().values():
        assert text.endswith("-----\n")
        assert not text.endswith("\n\n")
        assert "\r" not in text
        inside = [line for line in text.split("\n") if not line.startswith("-----")]
        assert max(map(len, inside)) == 64


# Helpers


def verified_by_openssl(judged: Bundle, directory: Path) -> bool:
    """Whether openssl verifies a workload's and istiod's leaf, for both sides of a handshake."""
    [signer] = x509.load_pem_x509_certificates(judged.ca_cert.encode())
    signing = load_pem_private_key((judged.ca_key or "").encode(), None)
    assert isinstance(signing, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey)
    (directory / "roots.pem").write_text(judged.root_cert)
    (directory / "chain.pem").write_text(judged.cert_chain)
    workload = x509.UniformResourceIdentifier("spiffe://cluster.local/ns/default/sa/default")
    istiod = x509.DNSName("istiod.istio-system.svc")
    return all(
        _openssl_verifies(directory, leaf(Authority(signer, signing), identity), purpose)
        for identity in (workload, istiod)
        for purpose in ("sslserver", "sslclient")
    )


def _openssl_verifies(directory: Path, offered: x509.Certificate, purpose: str) -> bool:
    (directory / "leaf.pem").write_bytes(offered.public_bytes(Encoding.PEM))
    chain = ["-untrusted", "chain.pem"] if (directory / "chain.pem").stat().st_size else []
    done = subprocess.run(
        [
            "openssl",
            "verify",
            "-no-CApath",
            "-no-CAstore",
            "-CAfile",
            "roots.pem",
            *chain,
            "-purpose",
            purpose,
            "-attime",
            str(int(NOW.timestamp())),
            "leaf.pem",
        ],
        cwd=directory,
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


def _from_files(directory: Path) -> Bundle:
    return Bundle(
        root_cert=(directory / "root-cert.pem").read_text(),
        ca_cert=(directory / "ca-cert.pem").read_text(),
        cert_chain=(directory / "cert-chain.pem").read_text(),
        ca_key=(directory / "ca-key.pem").read_text(),
    )
