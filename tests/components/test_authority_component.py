"""Authority: what is asked of pulumi-tls, and what is taken from files instead."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
import pytest
from cryptography import x509

from components.authority import Authority
from meshca import certificates
from tests.components.cloud import KEY, REQUEST, SELF_SIGNED, SIGNED
from tests.components.recorder import Run, Secret
from tests.components.stacks import GENERATED, OFFLINE, PENDING, changed, component, offline

CA_USES = ["cert_signing", "crl_signing"]


def deploy(config: Mapping[str, Any], trusted: frozenset[str] | None = None) -> Run:
    """An Authority alone; everything it offers as outputs of the stack."""

    def build(settings: Any, files: Any) -> None:
        authority = Authority("authority", settings, files, trusted)
        for what in ("roots", "issuers", "keys", "requests"):
            pulumi.export(what, getattr(authority, what))
        pulumi.export("facts", authority.facts())

    return component(build, config)


ALGORITHMS = {
    "RSA-2048": {"algorithm": "RSA", "rsaBits": 2048},
    "RSA-3072": {"algorithm": "RSA", "rsaBits": 3072},
    "RSA-4096": {"algorithm": "RSA", "rsaBits": 4096},
    "ECDSA-P256": {"algorithm": "ECDSA", "ecdsaCurve": "P256"},
    "ECDSA-P384": {"algorithm": "ECDSA", "ecdsaCurve": "P384"},
}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_algorithm_is_asked_for_as_pulumi_tls_spells_it(algorithm: str) -> None:
    """Each algorithm of the settings becomes the key request of that algorithm, root or issuer."""
    run = deploy(
        changed(
            GENERATED,
            roots={"a": {"generated": {"algorithm": algorithm}}},
            issuers={"a1": {"root": "a", "algorithm": algorithm}},
        )
    )
    assert {name: key.inputs for name, key in run.of(KEY).items()} == {
        "root-a-key": ALGORITHMS[algorithm],
        "issuer-a1-key": ALGORITHMS[algorithm],
    }


def test_keys_without_an_algorithm_are_elliptic() -> None:
    """A root is P-384 and an issuer is P-256 unless the settings say otherwise."""
    keys = deploy(GENERATED).of(KEY)
    assert keys["root-a-key"].inputs == ALGORITHMS["ECDSA-P384"]
    assert keys["issuer-a1-key"].inputs == ALGORITHMS["ECDSA-P256"]


def test_a_root_is_asked_for_in_full() -> None:
    """A root is a CA for certificates and CRLs only, with both key identifiers, and one level deep:
    pulumi-tls drops a path length of 0."""
    recipe = {"commonName": "Mesh Root", "organization": "Example", "validity": "400d"}
    config = changed(
        GENERATED,
        roots={"a": {"generated": recipe}},
        issuers={"a1": {"root": "a", "validity": "90d"}},
    )
    inputs = dict(deploy(config).one(SELF_SIGNED, "root-a").inputs)
    assert isinstance(inputs.pop("privateKeyPem"), Secret)
    assert inputs == {
        "subject": {"commonName": "Mesh Root", "organization": "Example"},
        "isCaCertificate": True,
        "maxPathLength": 1,
        "setSubjectKeyId": True,
        "setAuthorityKeyId": True,
        "allowedUses": CA_USES,
        "validityPeriodHours": 400 * 24,
    }


def test_an_issuer_is_asked_for_in_full() -> None:
    """An issuer is a CA for certificates and CRLs only, with a subject key identifier, and lives
    as long as the settings say."""
    config = changed(GENERATED, issuers={"a1": {"root": "a", "validity": "36h"}})
    inputs = dict(deploy(config).one(SIGNED, "issuer-a1").inputs)
    assert isinstance(inputs.pop("caPrivateKeyPem"), Secret)
    assert "BEGIN CERTIFICATE REQUEST" in inputs.pop("certRequestPem")
    assert "BEGIN CERTIFICATE" in inputs.pop("caCertPem")
    assert inputs == {
        "isCaCertificate": True,
        "setSubjectKeyId": True,
        "allowedUses": CA_USES,
        "validityPeriodHours": 36,
    }


def test_a_request_names_istiod() -> None:
    """A certificate request carries the configured subject and istiod's name as its only SAN."""
    issuer = {"root": "a", "commonName": "Mesh Issuer", "organization": "Example"}
    config = changed(GENERATED, issuers={"a1": issuer})
    inputs = dict(deploy(config).one(REQUEST, "issuer-a1-request").inputs)
    assert isinstance(inputs.pop("privateKeyPem"), Secret)
    assert inputs == {
        "subject": {"commonName": "Mesh Issuer", "organization": "Example"},
        "dnsNames": ["istiod.istio-system.svc"],
    }


def test_subjects_follow_from_names() -> None:
    """Without a common name, roots and issuers are told apart by their names: CAs of one subject
    and different keys are lookalikes."""
    run = deploy(GENERATED)
    assert run.one(SELF_SIGNED, "root-a").inputs["subject"] == {
        "commonName": "a root CA",
        "organization": "Istio",
    }
    assert run.one(REQUEST, "issuer-a1-request").inputs["subject"] == {
        "commonName": "a1 mesh CA",
        "organization": "Istio",
    }


def test_certificates_are_made_of_what_belongs_to_them() -> None:
    """Root and request use their own key, the issuer its request and its root."""
    run = deploy(GENERATED)
    issuer = run.one(SIGNED, "issuer-a1")
    found = [
        run.one(SELF_SIGNED, "root-a").made_of("privateKeyPem"),
        run.one(REQUEST, "issuer-a1-request").made_of("privateKeyPem"),
        issuer.made_of("caPrivateKeyPem"),
        issuer.made_of("caCertPem"),
        issuer.made_of("certRequestPem"),
    ]
    assert found == [
        ["root-a-key"],
        ["issuer-a1-key"],
        ["root-a-key"],
        ["root-a"],
        ["issuer-a1-request"],
    ]


def test_keys_are_secret_and_certificates_are_not() -> None:
    """What is offered of the private keys is secret, and nothing else is."""
    outputs = deploy(GENERATED).outputs
    assert isinstance(outputs["keys"]["a1"], Secret)
    assert "BEGIN PRIVATE KEY" in outputs["keys"]["a1"].value
    assert outputs["roots"]["a"].startswith("-----BEGIN CERTIFICATE-----")
    assert outputs["issuers"]["a1"].startswith("-----BEGIN CERTIFICATE-----")


def test_only_trusted_roots_are_protected() -> None:
    """Key and certificate of each trusted root are protected, and nothing else is."""
    config = changed(
        GENERATED,
        roots={"a": {"generated": {}}, "b": {"generated": {}}},
        issuers={"a1": {"root": "a"}, "b1": {"root": "b"}},
    )
    run = deploy(config, frozenset({"b"}))
    protected = [request.name for request in run.requests if request.wire.protect]
    assert sorted(protected) == ["root-b", "root-b-key"]


def test_every_root_is_protected_before_a_posture_is_known() -> None:
    """While no issuer is active, no root is known to be dispensable."""
    config = changed(GENERATED, roots={"a": {"generated": {}}, "b": {"generated": {}}})
    run = deploy(config, None)
    protected = [request.name for request in run.requests if request.wire.protect]
    assert sorted(protected) == ["root-a", "root-a-key", "root-b", "root-b-key"]


def test_offline_material_makes_no_resource(directory: Path) -> None:
    """A certificate and key from outside ask nothing of pulumi-tls; the key becomes PKCS#8 and
    secret."""
    made = offline(directory, "a1")
    config = changed(
        OFFLINE,
        issuers={"a1": {"root": "a", "certificate": "a1.pem", "key": "secret"}},
        issuerKeys={"a1": made.key("a1")},
    )
    run = deploy(config)
    assert [request.name for request in run.requests] == ["authority"]
    assert run.outputs["roots"] == {"a": made.root.pem}
    assert run.outputs["issuers"] == {"a1": made.issuers["a1"].pem}
    assert "BEGIN EC PRIVATE KEY" in made.key("a1")
    assert "BEGIN PRIVATE KEY" in run.outputs["keys"]["a1"].value


def test_an_external_key_is_nobodys(directory: Path) -> None:
    """For a key that somebody else keeps there is neither a resource nor an entry in `keys`."""
    offline(directory, "a1")
    run = deploy(OFFLINE)
    assert run.of(KEY) == {}
    assert run.outputs["keys"] == {}


def test_a_pending_issuer_has_a_request_only(directory: Path) -> None:
    """A pending issuer gets a key and a request for its offline root, and no certificate."""
    offline(directory)
    run = deploy(PENDING)
    assert [*run.of(KEY)] == ["issuer-a1-key"]
    assert [*run.of(SIGNED)] == []
    request = x509.load_pem_x509_csr(run.outputs["requests"]["a1"].encode())
    assert request.subject.rfc4514_string() == "CN=a1 mesh CA,O=Istio"
    assert run.outputs["issuers"] == {}


def test_only_pending_issuers_ask_for_a_signature(directory: Path) -> None:
    """An issuer that the program signs itself, or that is signed already, is not in `requests`."""
    offline(directory, "a2")
    config = changed(
        PENDING,
        roots={"a": {"certificate": "a.pem"}, "b": {"generated": {}}},
        issuers={
            "a1": {"root": "a"},
            "a2": {"root": "a", "certificate": "a2.pem", "key": "external"},
            "b1": {"root": "b"},
        },
        activeIssuer="b1",
    )
    assert [*deploy(config).outputs["requests"]] == ["a1"]


def test_a_signed_issuer_keeps_its_key(directory: Path) -> None:
    """Once the certificate is there, the key it was made for is the same resource, unchanged."""
    offline(directory, "a1")
    pending = deploy(PENDING).one(KEY, "issuer-a1-key")
    signed = deploy(
        changed(PENDING, issuers={"a1": {"root": "a", "certificate": "a1.pem"}}, activeIssuer="a1")
    )
    kept = signed.one(KEY, "issuer-a1-key")
    assert (kept.urn, kept.inputs, kept.options) == (pending.urn, pending.inputs, pending.options)
    assert signed.of(REQUEST) == {}


def test_a_pending_issuer_can_bring_its_key(directory: Path) -> None:
    """The request of an issuer whose key is secret is made with that key."""
    made = offline(directory, "a1")
    config = changed(
        PENDING,
        issuers={"a1": {"root": "a", "key": "secret"}},
        issuerKeys={"a1": made.key("a1")},
    )
    run = deploy(config)
    assert run.of(KEY) == {}
    request = x509.load_pem_x509_csr(run.outputs["requests"]["a1"].encode())
    assert request.public_key() == made.issuers["a1"].key.public_key()


def test_facts_tell_fingerprint_and_end(directory: Path) -> None:
    """`facts` names every certificate with its SHA-256 and its end, as they are in the files."""
    made = offline(directory, "a1")
    facts = deploy(OFFLINE).outputs["facts"]
    assert {name: found["sha256"] for name, found in facts.items()} == {
        "a": certificates.fingerprint(made.root.certificate),
        "a1": certificates.fingerprint(made.issuers["a1"].certificate),
    }
    end = made.issuers["a1"].certificate.not_valid_after_utc
    assert facts["a1"]["notAfter"] == end.isoformat().replace("+00:00", "Z")
