"""The table of bundles: each breaks, or keeps, one rule of what istiod accepts.

Groups say what is expected of istiod and of the peers; the test holds the real ones to it:

- `sound`: istiod starts, peers verify each other's leaves, and so must we accept;
- `refused`: istiod does not start;
- `trap`: istiod starts, and then agents or peers fail, or it signs with another CA than ours;
- `stricter`: all works in this mesh, and we refuse nevertheless, for the reason given.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Final, Literal

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.mesh.oracle import making, openssl
from tests.mesh.oracle.making import (
    CA_CERT,
    CA_KEY,
    CERT_CHAIN,
    ROOT_CERT,
    Ca,
    Files,
    Shape,
    corrupt,
    files,
    key_pem,
    make,
    relabel,
)

Group = Literal["sound", "refused", "trap", "stricter"]


class Material:
    """Authorities that many cases share, made once and only when needed."""

    @cached_property
    def a(self) -> Ca:
        """A sound root."""
        return make("Root A")

    @cached_property
    def b(self) -> Ca:
        """Another sound root."""
        return make("Root B")

    @cached_property
    def a1(self) -> Ca:
        """A sound issuer under root A."""
        return make("Issuer A1", self.a, Shape(path_length=0))

    @cached_property
    def b1(self) -> Ca:
        """A sound issuer under root B."""
        return make("Issuer B1", self.b, Shape(path_length=0))

    @cached_property
    def middle(self) -> Ca:
        """A sound intermediate under root A that has issuers below it."""
        return make("Middle A", self.a, Shape(ends=timedelta(days=1000)))

    @cached_property
    def low(self) -> Ca:
        """A sound issuer under the intermediate."""
        return make("Issuer low", self.middle, Shape(path_length=0))

    @cached_property
    def bundle(self) -> Files:
        """Root A, issuer A1: the sound bundle that most cases change in one place."""
        return files([self.a], self.a1)

    @cached_property
    def rsa(self) -> Files:
        """The sound bundle with RSA 2048 throughout."""
        root = make("RSA root", None, Shape(key="RSA-2048"))
        return files([root], make("RSA issuer", root, Shape(key="RSA-2048")))

    def with_issuer(self, shape: Shape) -> Files:
        """Return a bundle whose issuer has this shape, under root A."""
        return files([self.a], make("Shaped issuer", self.a, shape))

    def with_root(self, shape: Shape) -> Files:
        """Return a bundle whose root has this shape, with a sound issuer."""
        root = make("Shaped root", None, shape)
        return files([root], make("Issuer", root))

    def with_keys(self, kind: str) -> Files:
        """Return a bundle with this kind of key in root and issuer."""
        root = make(f"Root {kind}", None, Shape(key=kind))
        return files([root], make(f"Issuer {kind}", root, Shape(key=kind)))

    def changed(self, file: str, content: bytes) -> Files:
        """Return the sound bundle with one file replaced, or added."""
        return {**self.bundle, file: content}

    def without(self, file: str) -> Files:
        """Return the sound bundle without one file."""
        return {name: content for name, content in self.bundle.items() if name != file}


Build = Callable[[Material], Files]


@dataclass(frozen=True)
class Case:
    """One bundle of the table."""

    name: str
    group: Group
    build: Build
    reason: str = ""
    """For `stricter`: why we refuse what works."""


_EC_PARAMETERS: Final = (
    b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
)
_SERVER = [ExtendedKeyUsageOID.SERVER_AUTH]
_CLIENT = [ExtendedKeyUsageOID.CLIENT_AUTH]
_ANY = [ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]

SOUND: Final[dict[str, Build]] = {
    "ECDSA P-256 root and issuer": lambda m: m.bundle,
    "ECDSA P-384 root, P-256 issuer": lambda m: files(
        [root := make("P-384 root", None, Shape(key="P-384"))], make("Issuer", root)
    ),
    "RSA 2048 root and issuer": lambda m: m.rsa,
    "RSA 4096 root and issuer": lambda m: m.with_keys("RSA-4096"),
    "ECDSA root, RSA issuer": lambda m: m.with_issuer(Shape(key="RSA-2048")),
    "EC key in SEC1 form": lambda m: m.changed(CA_KEY, key_pem(m.a1.key, traditional=True)),
    "RSA key in PKCS#1 form": lambda m: _pkcs1(m),
    "CRLF line ends": lambda m: {
        name: content.replace(b"\n", b"\r\n") for name, content in m.bundle.items()
    },
    "no newline at the end of the files": lambda m: {
        name: content.rstrip() for name, content in m.bundle.items()
    },
    "blank lines between certificates": lambda m: m.changed(
        ROOT_CERT, m.a.pem + b"\n\n" + m.b.pem + b"\n"
    ),
    "base64 on one line": lambda m: m.changed(CA_CERT, making.one_line(m.a1.pem)),
    "text of `openssl x509 -text` before the certificate": lambda m: m.changed(
        CA_CERT, openssl.described(m.a1.certificate)
    ),
    "comments between roots": lambda m: m.changed(
        ROOT_CERT, b"# root A\n" + m.a.pem + b"# root B\n" + m.b.pem
    ),
    "two roots, the signer's first": lambda m: files([m.a, m.b], m.a1),
    "two roots, the signer's last": lambda m: files([m.b, m.a], m.a1),
    "chain file with both issuers of a rotation, the next one first": lambda m: files(
        [m.a, m.b], m.a1, [m.b1, m.a1]
    ),
    "chain file with both issuers of a rotation, the signer first": lambda m: files(
        [m.a, m.b], m.b1, [m.b1, m.a1]
    ),
    "chain file with the root at its end": lambda m: files([m.a], m.a1, [m.a1, m.a]),
    "chain file with the root at its beginning": lambda m: files([m.a], m.a1, [m.a, m.a1]),
    "issuer below an intermediate": lambda m: files([m.a], m.low, [m.low, m.middle]),
    "issuer below an intermediate, the chain file from the top down": lambda m: files(
        [m.a], m.low, [m.middle, m.low]
    ),
    "root with path length 1, issuer with path length 0": lambda m: files(
        [root := make("Root", None, Shape(path_length=1))],
        make("Issuer", root, Shape(path_length=0)),
    ),
    "keyUsage of the issuer: keyCertSign alone": lambda m: m.with_issuer(
        Shape(usages=["key_cert_sign"])
    ),
    "issuer with the SPIFFE id of the trust domain": lambda m: m.with_issuer(
        Shape(names=[x509.UniformResourceIdentifier("spiffe://cluster.local")])
    ),
    "issuer with istiod's DNS name (the article's)": lambda m: m.with_issuer(
        Shape(names=[x509.DNSName("istiod.istio-system.svc")])
    ),
    "URI name constraint that permits the trust domain": lambda m: m.with_issuer(
        Shape(permitted=[x509.UniformResourceIdentifier("cluster.local")])
    ),
    "DNS name constraint that permits istiod's names": lambda m: m.with_issuer(
        Shape(permitted=[x509.DNSName("svc")])
    ),
    "two roots of one name with key identifiers, the other one first": lambda m: _namesakes(
        Shape()
    ),
}

REFUSED: Final[dict[str, Build]] = {
    "no ca-key.pem": lambda m: m.without(CA_KEY),
    "no ca-cert.pem": lambda m: m.without(CA_CERT),
    "no root-cert.pem": lambda m: m.without(ROOT_CERT),
    "no cert-chain.pem": lambda m: m.without(CERT_CHAIN),
    "empty ca-cert.pem": lambda m: m.changed(CA_CERT, b""),
    "empty ca-key.pem": lambda m: m.changed(CA_KEY, b""),
    "empty root-cert.pem": lambda m: m.changed(ROOT_CERT, b""),
    "ca-cert.pem in DER": lambda m: m.changed(CA_CERT, making.der(m.a1)),
    "key of another issuer": lambda m: m.changed(CA_KEY, key_pem(m.b1.key)),
    "encrypted key": lambda m: m.changed(CA_KEY, key_pem(m.a1.key, password=b"secret")),
    "EC PARAMETERS before the key (openssl ecparam -genkey)": lambda m: m.changed(
        CA_KEY, _EC_PARAMETERS + key_pem(m.a1.key, traditional=True)
    ),
    "certificate before the key in ca-key.pem": lambda m: m.changed(
        CA_KEY, m.a1.pem + key_pem(m.a1.key)
    ),
    "PKCS#8 key under the label EC PRIVATE KEY": lambda m: m.changed(
        CA_KEY, relabel(key_pem(m.a1.key), "PRIVATE KEY", "EC PRIVATE KEY")
    ),
    "SEC1 key under the label PRIVATE KEY": lambda m: m.changed(
        CA_KEY, relabel(key_pem(m.a1.key, traditional=True), "EC PRIVATE KEY", "PRIVATE KEY")
    ),
    "UTF-8 byte order mark before ca-cert.pem": lambda m: m.changed(
        CA_CERT, b"\xef\xbb\xbf" + m.a1.pem
    ),
    "every line of ca-cert.pem indented": lambda m: m.changed(
        CA_CERT, b"".join(b"  " + line + b"\n" for line in m.a1.pem.splitlines())
    ),
    "roots glued together without a newline": lambda m: m.changed(
        ROOT_CERT, m.a.pem.rstrip() + m.b.pem
    ),
    "label TRUSTED CERTIFICATE in ca-cert.pem": lambda m: m.changed(
        CA_CERT, relabel(m.a1.pem, "CERTIFICATE", "TRUSTED CERTIFICATE")
    ),
    "label X509 CERTIFICATE in ca-cert.pem": lambda m: m.changed(
        CA_CERT, relabel(m.a1.pem, "CERTIFICATE", "X509 CERTIFICATE")
    ),
    "root before the issuer in ca-cert.pem": lambda m: m.changed(CA_CERT, m.a.pem + m.a1.pem),
    "chain file without any PEM block": lambda m: m.changed(CERT_CHAIN, b"to be filled in\n"),
    "chain file of one newline": lambda m: m.changed(CERT_CHAIN, b"\n"),
    "chain file that begins with a broken certificate": lambda m: m.changed(
        CERT_CHAIN, corrupt(m.a1.pem) + m.a1.pem
    ),
    "chain file that ends with a broken certificate": lambda m: m.changed(
        CERT_CHAIN, m.a1.pem + corrupt(m.a1.pem)
    ),
    "chain file that begins with an expired twin of the issuer": lambda m: m.changed(
        CERT_CHAIN, _expired(m.a).pem + m.a1.pem
    ),
    "issuer two levels down, the intermediate missing": lambda m: files([m.a], m.low, [m.low, m.a]),
    "issuer with CA:FALSE": lambda m: m.with_issuer(Shape(is_ca=False)),
    "issuer without basicConstraints": lambda m: m.with_issuer(Shape(is_ca=None)),
    "issuer with extendedKeyUsage clientAuth alone": lambda m: m.with_issuer(
        Shape(extended=_CLIENT)
    ),
    "issuer with an unknown critical extension": lambda m: m.with_issuer(
        Shape(critical=making.UNKNOWN_EXTENSION)
    ),
    "issuer with a space in the host of its SAN URI": lambda m: m.with_issuer(
        Shape(names=[x509.UniformResourceIdentifier("spiffe://my mesh/ca")])
    ),
    "issuer with a name constraint of an address as URI": lambda m: m.with_issuer(
        Shape(permitted=[x509.UniformResourceIdentifier("192.0.2.1")])
    ),
    "issuer that has expired": lambda m: files([m.a], _expired(m.a)),
    "issuer that is not valid yet": lambda m: m.with_issuer(
        Shape(starts=timedelta(days=1), ends=timedelta(days=2))
    ),
    "root that has expired": lambda m: m.with_root(
        Shape(starts=timedelta(days=-2), ends=timedelta(days=-1))
    ),
    "root of version 1": lambda m: _root_of_version_1(),
    "root with CA:FALSE": lambda m: m.with_root(Shape(is_ca=False)),
    "issuer with a SHA-1 signature": lambda m: files(
        [m.a], openssl.make("SHA-1 issuer", m.a, digest="sha1")
    ),
    "root-cert.pem without the signer's root": lambda m: files([m.b], m.a1),
    "the signer's root only in the chain file": lambda m: files([m.b], m.a1, [m.a1, m.a]),
    "broken certificate in root-cert.pem": lambda m: m.changed(
        ROOT_CERT, m.a.pem + corrupt(m.a.pem)
    ),
    "private key in root-cert.pem": lambda m: m.changed(ROOT_CERT, m.a.pem + key_pem(m.a.key)),
    "ca-crl.pem that is no PEM": lambda m: m.changed("ca-crl.pem", b"\x30\x03\x02\x01\x00"),
    "ca-crl.pem of another CA": lambda m: m.changed("ca-crl.pem", making.revocation_list(m.b)),
    "ca-crl.pem of an issuer without cRLSign": lambda m: _list_without_right(m),
    "tls.crt beside the four files, without tls.key": lambda m: m.changed("tls.crt", m.a1.pem),
}

TRAPS: Final[dict[str, Build]] = {
    "no file at all": lambda m: {},
    "empty chain file": lambda m: m.changed(CERT_CHAIN, b""),
    "chain file with the root alone": lambda m: files([m.a], m.a1, [m.a]),
    "chain file of another issuer": lambda m: files([m.a], m.a1, [m.b1]),
    "chain file with a namesake of the issuer": lambda m: files(
        [m.a], m.a1, [make("Issuer A1", m.a, Shape(path_length=0))]
    ),
    "chain file without the intermediate's issuer": lambda m: files([m.a], m.low, [m.middle]),
    "keyUsage of the issuer without keyCertSign": lambda m: m.with_issuer(
        Shape(usages=["digital_signature"])
    ),
    "root with path length 0 above an issuer": lambda m: m.with_root(Shape(path_length=0)),
    "intermediate with path length 0 above another issuer": lambda m: _too_deep(m),
    "issuer with extendedKeyUsage serverAuth alone": lambda m: m.with_issuer(
        Shape(extended=_SERVER)
    ),
    "issuer with extendedKeyUsage any": lambda m: m.with_issuer(Shape(extended=_ANY)),
    "URI name constraint for another trust domain": lambda m: m.with_issuer(
        Shape(permitted=[x509.UniformResourceIdentifier("other.example")])
    ),
    "DNS name constraint without istiod's names": lambda m: m.with_issuer(
        Shape(permitted=[x509.DNSName("example.org")])
    ),
    "two roots of one name without key identifiers, the other one first": lambda m: _namesakes(
        Shape(subject_key_id=False, authority_key_id=False)
    ),
    "authority key identifier of another root": lambda m: m.with_issuer(
        Shape(authority_key_id=b"\x01" * 20)
    ),
}

STRICTER: Final[dict[str, tuple[str, Build]]] = {
    "the same root twice": (
        "istiod before 1.30 compares root-cert as text",
        lambda m: files([m.a, m.a], m.a1),
    ),
    "the issuer itself as the only root": (
        "the next issuer would not be trusted, whoever signs it",
        lambda m: m.changed(ROOT_CERT, m.a1.pem),
    ),
    "two certificates in ca-cert.pem": (
        "istiod ignores all but the first",
        lambda m: m.changed(CA_CERT, m.a1.pem + m.a.pem),
    ),
    "broken block after ca-cert": (
        "istiod ignores all but the first",
        lambda m: m.changed(CA_CERT, m.a1.pem + corrupt(m.a1.pem)),
    ),
    "private key in the chain file": (
        "the key would be sent to every workload",
        lambda m: m.changed(CERT_CHAIN, m.a1.pem + key_pem(m.a1.key)),
    ),
    "second root under the label TRUSTED CERTIFICATE": (
        "Go skips it: what looks like two roots is one",
        lambda m: m.changed(
            ROOT_CERT, m.a.pem + relabel(m.b.pem, "CERTIFICATE", "TRUSTED CERTIFICATE")
        ),
    ),
    "second root that has expired": (
        "no peer can use it",
        lambda m: files([m.a, _expired_root()], m.a1),
    ),
    "second root that is no CA": (
        "no peer can use it",
        lambda m: files([m.a, make("Leaf", None, Shape(is_ca=False))], m.a1),
    ),
    "root that ends before its issuer": (
        "leaves would outlive the root, and istiod does not shorten them to it",
        lambda m: m.with_root(Shape(ends=timedelta(days=30))),
    ),
    "issuer without keyUsage": (
        "X509-SVID 4.3 demands keyCertSign",
        lambda m: m.with_issuer(Shape(usages=None)),
    ),
    "issuer with extendedKeyUsage serverAuth and clientAuth": (
        "X509-SVID 4.4: verifiers disagree",
        lambda m: m.with_issuer(Shape(extended=[*_SERVER, *_CLIENT])),
    ),
    "issuer that ends before a leaf of 24 hours": (
        "istiod shortens leaves to it, ever more",
        lambda m: m.with_issuer(Shape(ends=timedelta(hours=12))),
    ),
    "RSA 1024": ("too weak", lambda m: m.with_keys("RSA-1024")),
    "ECDSA P-224": ("not every peer can use it", lambda m: m.with_keys("P-224")),
    "Ed25519": ("not every peer can use it", lambda m: m.with_keys("Ed25519")),
    "issuer without a subject": (
        "RFC 5280 4.1.2.6: leaves would have no issuer",
        lambda m: m.with_issuer(Shape(nameless=True)),
    ),
    "root with a SHA-1 signature of its own": (
        "no library of today makes or checks one",
        lambda m: _root_with_sha1(),
    ),
    "tls.crt, tls.key and ca.crt, complete": (
        "the add-on mounts four files of other names",
        lambda m: {"tls.crt": m.a1.pem, "tls.key": key_pem(m.a1.key), "ca.crt": m.a.pem},
    ),
    "ECDSA P-521": ("not every peer can use it", lambda m: m.with_keys("P-521")),
    "root without subject key identifier": (
        "Envoy cannot tell it from a later root of the same name",
        lambda m: m.with_root(Shape(subject_key_id=False)),
    ),
    "ca-crl.pem, valid": (
        "the add-on has no secret for it",
        lambda m: m.changed("ca-crl.pem", making.revocation_list(m.a1)),
    ),
    "ca-crl.pem past its next update": (
        "the add-on has no secret for it",
        lambda m: m.changed("ca-crl.pem", making.revocation_list(m.a1, current=False)),
    ),
}


def table() -> list[Case]:
    """Return all cases, in the order in which they are shown."""
    groups: tuple[tuple[Group, dict[str, Build]], ...] = (
        ("sound", SOUND),
        ("refused", REFUSED),
        ("trap", TRAPS),
    )
    return [
        *(Case(name, group, build) for group, cases in groups for name, build in cases.items()),
        *(Case(name, "stricter", build, reason) for name, (reason, build) in STRICTER.items()),
    ]


def _pkcs1(m: Material) -> Files:
    root = make("RSA root", None, Shape(key="RSA-2048"))
    issuer = make("RSA issuer", root, Shape(key="RSA-2048"))
    return {**files([root], issuer), CA_KEY: key_pem(issuer.key, traditional=True)}


def _expired(root: Ca) -> Ca:
    past = Shape(starts=timedelta(days=-2), ends=timedelta(days=-1))
    return make("Issuer A1", root, past)


def _expired_root() -> Ca:
    return make("Old root", None, Shape(starts=timedelta(days=-2), ends=timedelta(days=-1)))


def _root_with_sha1() -> Files:
    root = openssl.make("SHA-1 root", digest="sha1")
    return files([root], make("Issuer", root))


def _root_of_version_1() -> Files:
    root = openssl.make("Version 1 root", version=1)
    return files([root], make("Issuer", root, Shape(authority_key_id=False)))


def _list_without_right(m: Material) -> Files:
    issuer = make("Issuer", m.a, Shape(usages=["key_cert_sign"]))
    return {**files([m.a], issuer), "ca-crl.pem": making.revocation_list(issuer)}


def _too_deep(m: Material) -> Files:
    middle = make("Shallow middle", m.a, Shape(path_length=0))
    low = make("Issuer below", middle)
    return files([m.a], low, [low, middle])


def _namesakes(shape: Shape) -> Files:
    # The agent sorts the roots by their PEM text before Envoy sees them, whatever the file says.
    roots = sorted((make("Root CA", None, shape) for _ in range(2)), key=lambda root: root.pem)
    return files(roots, make("Issuer", roots[1], Shape(authority_key_id=shape.authority_key_id)))
