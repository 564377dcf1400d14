"""The tls provider's resources, limits included (facts: the real 5.6.x)."""

from __future__ import annotations

from typing import Any, Final

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pulumi.runtime.proto import provider_pb2

from lab.provider.values import UNKNOWN, Properties, encode, secret_names
from tests.lab.driver import CheckFailedError, Driver, State, refused, urn

KEY: Final = "tls:index/privateKey:PrivateKey"
REQUEST: Final = "tls:index/certRequest:CertRequest"
ROOT: Final = "tls:index/selfSignedCert:SelfSignedCert"
ISSUED: Final = "tls:index/locallySignedCert:LocallySignedCert"

CA_USES: Final = ["cert_signing", "crl_signing"]


def _key(tls: Driver, **others: Any) -> State:
    return tls.create(KEY, {"algorithm": "ECDSA", "ecdsaCurve": "P256", **others})


def _root(tls: Driver, key: State | None = None, **others: Any) -> tuple[State, State]:
    key = key or _key(tls)
    news = {
        "privateKeyPem": key.outputs["privateKeyPem"],
        "allowedUses": CA_USES,
        "validityPeriodHours": 24,
        "isCaCertificate": True,
        "subject": {"organization": "Istio", "commonName": "Root A"},
        **others,
    }
    return key, tls.create(ROOT, news)


def _issued(
    tls: Driver, root_options: dict[str, Any], name: str = "Issuer a1", **others: Any
) -> State:
    root_key, root = _root(tls, **root_options)
    request = tls.create(
        REQUEST,
        {
            "privateKeyPem": _key(tls).outputs["privateKeyPem"],
            "subject": {"organization": "Istio", "commonName": name},
            "dnsNames": ["istiod.istio-system.svc"],
            "uris": ["spiffe://cluster.local/ns/x/sa/y"],
        },
    )
    return tls.create(
        ISSUED,
        {
            "certRequestPem": request.outputs["certRequestPem"],
            "caCertPem": root.outputs["certPem"],
            "caPrivateKeyPem": root_key.outputs["privateKeyPem"],
            "allowedUses": CA_USES,
            "validityPeriodHours": 12,
            "isCaCertificate": True,
            **others,
        },
    )


def _certificate(state: State) -> x509.Certificate:
    return x509.load_pem_x509_certificate(state.outputs["certPem"].encode())


def _extension(state: State, kind: type[Any]) -> Any:
    return _certificate(state).extensions.get_extension_for_class(kind)


def _has(state: State, kind: type[Any]) -> bool:
    return any(isinstance(each.value, kind) for each in _certificate(state).extensions)


@pytest.mark.parametrize(
    ("inputs", "label", "kind"),
    [
        ({"algorithm": "RSA", "rsaBits": 2048}, "RSA PRIVATE KEY", rsa.RSAPrivateKey),
        (
            {"algorithm": "ECDSA", "ecdsaCurve": "P384"},
            "EC PRIVATE KEY",
            ec.EllipticCurvePrivateKey,
        ),
    ],
)
def test_a_key_comes_in_two_encodings(
    inputs: Properties, label: str, kind: type[Any], tls: Driver
) -> None:
    """privateKeyPem is PKCS#1 or SEC1, privateKeyPemPkcs8 is PKCS#8; both are the same key."""
    outputs = tls.create(KEY, inputs).outputs
    assert outputs["privateKeyPem"].startswith(f"-----BEGIN {label}-----")
    assert outputs["privateKeyPemPkcs8"].startswith("-----BEGIN PRIVATE KEY-----")
    keys = [
        serialization.load_pem_private_key(outputs[name].encode(), None)
        for name in ("privateKeyPem", "privateKeyPemPkcs8")
    ]
    assert all(isinstance(key, kind) for key in keys)
    public = {
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        for key in keys
    }
    assert public == {outputs["publicKeyPem"].encode()}


def test_the_default_curve_is_p224(tls: Driver) -> None:
    """The provider's default, which no mesh CA may have: programs must name the curve."""
    outputs = tls.create(KEY, {"algorithm": "ECDSA"}).outputs
    key = serialization.load_pem_private_key(outputs["privateKeyPem"].encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert (key.curve.name, outputs["ecdsaCurve"]) == ("secp224r1", "P224")


def test_private_keys_travel_as_secrets(tls: Driver) -> None:
    """The plug-in itself marks the key outputs, and keys among inputs, as secrets."""
    answer = tls.stub.Create(
        provider_pb2.CreateRequest(urn=urn(KEY, "k"), properties=encode({"algorithm": "ECDSA"}))
    )
    assert secret_names(answer.properties) == {
        "privateKeyPem",
        "privateKeyPemPkcs8",
        "privateKeyOpenssh",
    }
    inputs = encode({"privateKeyPem": "x", "subject": {}}, secrets=["privateKeyPem"])
    checked = tls.stub.Check(provider_pb2.CheckRequest(urn=urn(REQUEST, "r"), news=inputs))
    assert secret_names(checked.inputs) == {"privateKeyPem"}


def test_a_root_has_critical_key_usage_and_constraints(tls: Driver) -> None:
    """KeyUsage: certificate and CRL signing; BasicConstraints: CA."""
    _, root = _root(tls)
    usage = _extension(root, x509.KeyUsage)
    constraints = _extension(root, x509.BasicConstraints)
    assert usage.critical
    assert constraints.critical
    assert usage.value.key_cert_sign
    assert usage.value.crl_sign
    assert not usage.value.digital_signature
    assert constraints.value.ca
    assert root.outputs["keyAlgorithm"] == "ECDSA"


@pytest.mark.parametrize(("given", "kept"), [(None, None), (0, None), (1, 1), (2, 2)])
def test_a_path_length_of_zero_is_lost(given: int | None, kept: int | None, tls: Driver) -> None:
    """The Go template lacks MaxPathLenZero."""
    others: dict[str, Any] = {} if given is None else {"maxPathLength": given}
    _, root = _root(tls, **others)
    assert _extension(root, x509.BasicConstraints).value.path_length == kept
    issued = _issued(tls, {}, **others)
    assert _extension(issued, x509.BasicConstraints).value.path_length == kept


def test_key_identifiers_are_there_only_when_asked_for(tls: Driver) -> None:
    """set_subject_key_id and set_authority_key_id, both off by default."""
    _, bare = _root(tls)
    _, full = _root(tls, setSubjectKeyId=True, setAuthorityKeyId=True)
    kinds = (x509.SubjectKeyIdentifier, x509.AuthorityKeyIdentifier)
    assert [_has(bare, kind) for kind in kinds] == [False, False]
    assert [_has(full, kind) for kind in kinds] == [True, True]


@pytest.mark.parametrize("identified", [True, False])
def test_an_issued_certificate_names_its_issuers_key(identified: bool, tls: Driver) -> None:
    """The authority key identifier is the issuer's subject key identifier, if that has one."""
    issued = _issued(tls, {"setSubjectKeyId": identified})
    assert _has(issued, x509.AuthorityKeyIdentifier) is identified


def test_an_issuers_namesake_does_not_name_its_issuers_key(tls: Driver) -> None:
    """Go takes a certificate whose subject is its issuer's for self-signed."""
    issued = _issued(tls, {"setSubjectKeyId": True}, name="Root A")
    assert not _has(issued, x509.AuthorityKeyIdentifier)


def test_an_issued_certificate_verifies_and_keeps_the_requests_names(tls: Driver) -> None:
    """Subject and names are the request's; the signature is the root's; mixed keys work."""
    rsa_key = tls.create(KEY, {"algorithm": "RSA", "rsaBits": 2048})
    issued = _issued(tls, {"key": rsa_key})
    certificate = _certificate(issued)
    names = _extension(issued, x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["istiod.istio-system.svc"]
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [
        "spiffe://cluster.local/ns/x/sa/y"
    ]
    assert certificate.subject.rfc4514_string() == "CN=Issuer a1,O=Istio"
    assert certificate.issuer.rfc4514_string() == "CN=Root A,O=Istio"
    certificate.verify_directly_issued_by(
        x509.load_pem_x509_certificate(issued.inputs["caCertPem"].encode())
    )
    assert issued.outputs["caKeyAlgorithm"] == "RSA"


def test_validity_is_the_hours_from_now(tls: Driver) -> None:
    """notBefore to notAfter, told in RFC 3339 too; nothing is ready for renewal."""
    _, root = _root(tls, validityPeriodHours=100)
    certificate = _certificate(root)
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    assert (end - begin).total_seconds() == 100 * 3600
    assert root.outputs["validityEndTime"] == end.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert root.outputs["readyForRenewal"] is False


@pytest.mark.parametrize(
    ("token", "inputs", "reason"),
    [
        (KEY, {"algorithm": "DSA"}, "algorithm is 'DSA'; allowed: RSA, ECDSA, ED25519"),
        (
            KEY,
            {"algorithm": "ECDSA", "ecdsaCurve": "P-256"},
            "ecdsaCurve is 'P-256'; allowed: P224, P256, P384, P521",
        ),
        (KEY, {"algorithm": "RSA", "rsaBits": 512}, "rsaBits is 512; at least 1024"),
        (KEY, {}, "missing required property 'algorithm'"),
        (KEY, {"algorithm": "RSA", "bits": 1}, "there is no property 'bits'"),
        (
            ROOT,
            {"allowedUses": [], "validityPeriodHours": 1, "privateKeyPemWo": "x"},
            "the lab does not model the property 'privateKeyPemWo'",
        ),
        (
            ROOT,
            {"allowedUses": [], "validityPeriodHours": 1},
            "missing required property 'privateKeyPem'",
        ),
        (
            ROOT,
            {"allowedUses": [], "validityPeriodHours": -1, "privateKeyPem": "x"},
            "validityPeriodHours is -1; at least 0",
        ),
        (
            REQUEST,
            {"privateKeyPem": "x", "ipAddresses": ["1.2.3"]},
            "ipAddresses[0] is '1.2.3', which is no IP address",
        ),
    ],
)
def test_wrong_inputs_are_refused(token: str, inputs: Properties, reason: str, tls: Driver) -> None:
    """Each by its name, the value, and what is allowed."""
    with pytest.raises(CheckFailedError) as failure:
        tls.check(token, inputs)
    assert reason in failure.value.reasons


def test_an_unknown_use_is_refused(tls: Driver) -> None:
    """allowed_uses is an enum."""
    with pytest.raises(CheckFailedError, match=r"allowedUses\[1\] is 'ca_signing'; allowed: "):
        tls.check(
            ROOT,
            {
                "allowedUses": ["cert_signing", "ca_signing"],
                "validityPeriodHours": 1,
                "privateKeyPem": "x",
            },
        )


def test_a_bad_key_is_refused_without_showing_it(tls: Driver) -> None:
    """The message names the input and nothing of its text."""
    with refused() as refusals:
        tls.create(REQUEST, {"privateKeyPem": "s3cr3t"})
    assert refusals[0].code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusals[0].message == "tls: privateKeyPem is no unencrypted private key in PEM"


def test_a_key_that_is_not_the_issuers_is_refused(tls: Driver) -> None:
    """Go refuses to sign with a key that does not match the parent."""
    with refused() as refusals:
        _issued(tls, {}, caPrivateKeyPem=_key(tls).outputs["privateKeyPem"])
    assert refusals[0].message == "tls: caPrivateKeyPem is not the key of caCertPem"


@pytest.mark.parametrize(
    ("change", "replaces"),
    [
        ({"validityPeriodHours": 25}, True),
        ({"subject": {"organization": "Other"}}, True),
        ({"maxPathLength": 1}, True),
        ({"privateKeyPem": UNKNOWN}, True),
        ({"earlyRenewalHours": 1}, False),
    ],
)
def test_all_but_early_renewal_makes_another_certificate(
    change: Properties, replaces: bool, tls: Driver
) -> None:
    """earlyRenewalHours changes in place and renews nothing."""
    _, root = _root(tls)
    answer = tls.diff(root, {**root.inputs, **change})
    assert answer.changes == provider_pb2.DiffResponse.DIFF_SOME
    assert bool(answer.replaces) is replaces
    assert not answer.deleteBeforeReplace


def test_early_renewal_keeps_the_certificate(tls: Driver) -> None:
    """An update in place leaves every other output as it was."""
    _, root = _root(tls)
    after = tls.update(root, {**root.inputs, "earlyRenewalHours": 1})
    assert after.outputs == {**root.outputs, "earlyRenewalHours": 1}


def test_a_refresh_changes_nothing(tls: Driver) -> None:
    """There is nothing to read but the state."""
    _, root = _root(tls)
    live = tls.read(root)
    assert live is not None
    assert (live.inputs, live.outputs) == (root.inputs, root.outputs)


def test_nothing_can_be_imported(tls: Driver) -> None:
    """A key that exists elsewhere is not to be had."""
    with refused() as refusals:
        tls.import_(KEY, "x")
    assert refusals[0].message == f"tls: {KEY} cannot be imported"


def test_a_preview_makes_nothing(tls: Driver) -> None:
    """The certificate is unknown until `up`."""
    outputs = tls.preview_create(
        ROOT, {"privateKeyPem": UNKNOWN, "allowedUses": CA_USES, "validityPeriodHours": 1}
    )
    assert outputs["certPem"] is UNKNOWN
    assert "privateKeyPemWo" not in outputs
