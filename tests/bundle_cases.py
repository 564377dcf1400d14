"""Bundles: a table of sound ones, and one of those that only istiod, or nobody, would take.

A case is a function; its docstring draws the bundle, roots | signer | chain, and says what is
wrong with it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)

from meshca.bundle import Bundle
from tests.material import (
    CLIENT,
    DAY,
    NOW,
    SERVER,
    YEAR,
    Authority,
    authority,
    key,
    key_text,
    key_usage,
    texts,
    with_sha1,
)


@dataclass(frozen=True)
class Case:
    """A bundle, the only refusal that it earns, and whether a peer that gets a leaf suffers."""

    make: Callable[[], Bundle]
    refusal: str = ""
    peers_fail: bool = False

    @property
    def title(self) -> str:
        """The function's name, for pytest."""
        return self.make.__name__


SOUND: list[Case] = []
UNSOUND: list[Case] = []


def sound(make: Callable[[], Bundle]) -> Callable[[], Bundle]:
    """Puts a bundle into the table of those that must pass."""
    SOUND.append(Case(make))
    return make


def unsound(
    refusal: str, *, peers_fail: bool = False
) -> Callable[[Callable[[], Bundle]], Callable[[], Bundle]]:
    """Puts a bundle into the table of those that must not, with the one refusal it must earn."""

    def note(make: Callable[[], Bundle]) -> Callable[[], Bundle]:
        UNSOUND.append(Case(make, refusal, peers_fail))
        return make

    return note


def _fields(judged: Bundle) -> dict[str, str]:
    return {file.replace("-", "_"): text for file, text in judged.texts().items()}


def _one_line(pem: str) -> str:
    first, *body, last = pem.splitlines()
    return f"{first}\n{''.join(body)}\n{last}\n"


def _with_last_line(ending: str, pem: str) -> str:
    *lines, last = pem.splitlines()
    return "\n".join([*lines[:-1], lines[-1].rstrip("=") + ending, last, ""])


def _uri(text: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(text)


def _alternative(uri: str) -> tuple[x509.ExtensionType, bool]:
    return x509.SubjectAlternativeName([_uri(uri)]), False


def _permitted(tree: x509.GeneralName) -> tuple[x509.ExtensionType, bool]:
    return x509.NameConstraints([tree], None), True


def _issuer_with(*extra: tuple[x509.ExtensionType, bool]) -> Authority:
    return authority("Issuer", under=ROOT_A, extra=extra)


def _with_key(form: PrivateFormat, encryption: BestAvailableEncryption) -> Bundle:
    text = A1.key.private_bytes(Encoding.PEM, form, encryption).decode()
    return replace(steady(), ca_key=text)


ROOT_A = authority("Root A")
ROOT_B = authority("Root B")
A1 = authority("Issuer A1", under=ROOT_A)
A2 = authority("Issuer A2", under=ROOT_A)
B1 = authority("Issuer B1", under=ROOT_B)
UPPER = authority(
    "Upper", under=ROOT_A, basic=x509.BasicConstraints(ca=True, path_length=1), end=NOW + 2 * YEAR
)
LOWER = authority("Lower", under=UPPER)
_RSA_ROOT = authority("Old Root", private=key("RSA-2048"))
SHA1_ROOT = with_sha1(_RSA_ROOT, _RSA_ROOT)
SHA1_ISSUER = with_sha1(
    _RSA_ROOT, authority("Old Issuer", under=_RSA_ROOT, private=key("RSA-2048", "issuer"))
)


# Sound


@sound
def steady() -> Bundle:
    """A | a1 | a1: what the program makes."""
    return texts([ROOT_A], A1)


@sound
def distribute() -> Bundle:
    """A B | a1 | b1 a1: the signer is not the first of the chain."""
    return texts([ROOT_A, ROOT_B], A1, [B1, A1])


@sound
def switch() -> Bundle:
    """A B | b1 | b1 a1."""
    return texts([ROOT_A, ROOT_B], B1, [B1, A1])


@sound
def one_root_two_issuers() -> Bundle:
    """A | a2 | a2 a1: an intermediate rotation."""
    return texts([ROOT_A], A2, [A2, A1])


@sound
def article_layout() -> Bundle:
    """A | a1 | a1 A: the chain file of Istio's Makefile ends in the root."""
    return texts([ROOT_A], A1, [A1, ROOT_A])


@sound
def root_first() -> Bundle:
    """A | a1 | A a1: Istio's own test data has this order."""
    return texts([ROOT_A], A1, [ROOT_A, A1])


@sound
def three_levels() -> Bundle:
    """A | lower | lower upper: two intermediates."""
    return texts([ROOT_A], LOWER, [LOWER, UPPER])


@sound
def three_levels_and_root() -> Bundle:
    """A | lower | lower upper A."""
    return texts([ROOT_A], LOWER, [LOWER, UPPER, ROOT_A])


@sound
def root_that_signs() -> Bundle:
    """A | A | A: no intermediate at all; istiod takes it, and leaves verify."""
    return texts([ROOT_A], ROOT_A, [ROOT_A])


@sound
def rsa_2048() -> Bundle:
    """RSA at its least."""
    root = authority("Root", private=key("RSA-2048"))
    return texts([root], authority("Issuer", under=root, private=key("RSA-2048", "issuer")))


@sound
def p384_over_p256() -> Bundle:
    """ECDSA P-384 and SHA-384 above, P-256 below."""
    root = authority("Root", private=key("P-384"), digest=hashes.SHA384())
    return texts([root], authority("Issuer", under=root, digest=hashes.SHA384()))


@sound
def rsa_over_p384() -> Bundle:
    """Kinds of keys may be mixed; SHA-512 is sound."""
    root = authority("Root", private=key("RSA-2048"))
    issuer = authority("Issuer", under=root, private=key("P-384"), digest=hashes.SHA512())
    return texts([root], issuer)


@sound
def pkcs1_key() -> Bundle:
    """istiod reads PKCS#1 as well."""
    root = authority("Root")
    issuer = authority("Issuer", under=root, private=key("RSA-2048"))
    text = key_text(issuer.key, PrivateFormat.TraditionalOpenSSL)
    return replace(texts([root], issuer), ca_key=text)


@sound
def sec1_key() -> Bundle:
    """istiod reads SEC1 as well."""
    return replace(texts([ROOT_A], A1), ca_key=key_text(A1.key, PrivateFormat.TraditionalOpenSSL))


@sound
def crlf() -> Bundle:
    """Every file with CRLF."""
    return Bundle(**{f: t.replace("\n", "\r\n") for f, t in _fields(steady()).items()})


@sound
def no_final_newline() -> Bundle:
    """Every file without its last newline."""
    return Bundle(**{f: t.rstrip("\n") for f, t in _fields(distribute()).items()})


@sound
def text_around() -> Bundle:
    """Text before and after every block, as `openssl x509 -text` and Vault's UI leave it."""
    return Bundle(
        **{
            f: t.replace("-----BEGIN", "subject=CN = any\n-----BEGIN") + "the end\n"
            for f, t in _fields(distribute()).items()
        }
    )


@sound
def one_long_line() -> Bundle:
    """The base64 in a single line."""
    return replace(steady(), ca_cert=_one_line(A1.pem))


@sound
def no_path_length() -> Bundle:
    """root -> issuer, neither with a pathlen."""
    free = x509.BasicConstraints(ca=True, path_length=None)
    return texts([ROOT_A], authority("Issuer", under=ROOT_A, basic=free))


@sound
def root_path_length_1() -> Bundle:
    """root (pathlen:1) -> issuer (pathlen:0): what the program generates."""
    root = authority("Root", basic=x509.BasicConstraints(ca=True, path_length=1))
    return texts([root], authority("Issuer", under=root))


@sound
def no_authority_key_id() -> Bundle:
    """An intermediate without AKI under the only root: nothing to mistake it for."""
    return texts([ROOT_A], authority("I", under=ROOT_A, leave_out=[x509.AuthorityKeyIdentifier]))


@sound
def basic_constraints_not_critical() -> Bundle:
    """RFC 5280 wants it critical; every verifier reads it all the same."""
    basic = (x509.BasicConstraints(ca=True, path_length=0), False)
    return texts([ROOT_A], authority("Issuer", under=ROOT_A, extra=[basic]))


@sound
def roots_alike_but_identified() -> Bundle:
    """Two generations of one root name, as Istio's Makefile makes them, with SKI and AKI."""
    old, new = (authority("O=Istio,CN=Root CA", private=key("P-256", n)) for n in ("old", "new"))
    signer = authority("Issuer", under=old)
    return texts([old, new], signer)


@sound
def issuers_alike_but_identified() -> Bundle:
    """a1 and b1 share a subject, as Istio's Makefile makes them, with SKI each."""
    subject = "O=Istio,CN=Intermediate CA,L=cluster1"
    a, b = (
        authority(subject, under=root, private=key("P-256", n))
        for root, n in ((ROOT_A, "one"), (ROOT_B, "other"))
    )
    return texts([ROOT_A, ROOT_B], a, [b, a])


@sound
def renewed_root() -> Bundle:
    """Two certificates of one root key: either verifies the issuer."""
    again = authority("Root A", private=ROOT_A.key, end=NOW + 20 * YEAR)
    return texts([ROOT_A, again], A1)


@sound
def cross_signed() -> Bundle:
    """A | b1 | b1 B*: B* is root B signed by A, for peers that know only A."""
    cross = authority(
        "Root B",
        under=ROOT_A,
        private=ROOT_B.key,
        basic=x509.BasicConstraints(ca=True, path_length=None),
        end=NOW + 5 * YEAR,
    )
    return texts([ROOT_A], B1, [B1, cross])


@sound
def root_signed_with_sha1() -> Bundle:
    """Nobody relies on a trust anchor's own signature; old enterprise roots have SHA-1."""
    return texts([SHA1_ROOT], authority("Issuer", under=SHA1_ROOT))


@sound
def spiffe_name() -> Bundle:
    """The intermediate names its trust domain, as X509-SVID section 3.2 recommends."""
    return texts([ROOT_A], _issuer_with(_alternative("spiffe://cluster.local")))


@sound
def permitted_trust_domain() -> Bundle:
    """Name constraints permit the host cluster.local."""
    return texts([ROOT_A], _issuer_with(_permitted(_uri("cluster.local"))))


@sound
def permitted_istiod() -> Bundle:
    """Name constraints permit DNS names below svc."""
    return texts([ROOT_A], _issuer_with(_permitted(x509.DNSName("svc"))))


@sound
def root_for_both_sides() -> Bundle:
    """root (EKU server and client) -> issuer."""
    both = x509.ExtendedKeyUsage([*SERVER, *CLIENT])
    root = authority("Root", extra=[(both, False)])
    return texts([root], authority("Issuer", under=root))


@sound
def critical_policies() -> Bundle:
    """A critical certificatePolicies: Go and BoringSSL read it."""
    any_policy = x509.PolicyInformation(x509.ObjectIdentifier("2.5.29.32.0"), None)
    return texts([ROOT_A], _issuer_with((x509.CertificatePolicies([any_policy]), True)))


# Accepted by istiod, while the leaves fail or worse happens


@unsound("no-path", peers_fail=True)
def chain_of_another_root() -> Bundle:
    """A | b1 | b1 a1: the signer's root is not trusted (yet, or any more)."""
    return texts([ROOT_A], B1, [B1, A1])


@unsound("no-path")
def stranger_in_the_chain() -> Bundle:
    """A | a1 | a1 b1: b1 leads nowhere, and every workload carries it."""
    return texts([ROOT_A], A1, [A1, B1])


@unsound("signer-not-in-chain", peers_fail=True)
def chain_is_only_the_root() -> Bundle:
    """A | a1 | A."""
    return texts([ROOT_A], A1, [ROOT_A])


@unsound("signer-not-in-chain", peers_fail=True)
def chain_of_the_old_issuer() -> Bundle:
    """A | a2 | a1: a poll between two writes of a one-step rotation."""
    return texts([ROOT_A], A2, [A1])


@unsound("signer-not-in-chain", peers_fail=True)
def chain_with_a_namesake() -> Bundle:
    """A | a1 | another intermediate with the subject of a1."""
    twin = authority("Issuer A1", under=ROOT_A, private=key("P-256", "2005"))
    return texts([ROOT_A], A1, [twin])


@unsound("no-certificate", peers_fail=True)
def empty_chain() -> Bundle:
    """A | a1 | a file of no bytes."""
    return replace(steady(), cert_chain="")


@unsound("private-key-in-certificate")
def key_in_the_chain() -> Bundle:
    """A | a1 | a1 and a private key, which istiod sends to every workload."""
    return replace(steady(), cert_chain=A1.pem + key_text(A1.key))


@unsound("private-key-in-certificate")
def key_among_the_roots() -> Bundle:
    """A running istiod publishes it in a ConfigMap of every namespace."""
    return replace(steady(), root_cert=ROOT_A.pem + key_text(ROOT_A.key))


@unsound("signer-not-in-chain", peers_fail=True)
def three_levels_without_the_lower() -> Bundle:
    """A | lower | upper A."""
    return texts([ROOT_A], LOWER, [UPPER, ROOT_A])


@unsound("path-too-long", peers_fail=True)
def intermediate_without_room() -> Bundle:
    """root -> upper (pathlen:0) -> lower."""
    upper = authority("Tight", under=ROOT_A)
    lower = authority("Lower", under=upper)
    return texts([ROOT_A], lower, [lower, upper])


@unsound("path-too-long", peers_fail=True)
def root_without_room() -> Bundle:
    """root (pathlen:0) -> issuer."""
    root = authority("Root", basic=x509.BasicConstraints(ca=True, path_length=0))
    return texts([root], authority("Issuer", under=root))


@unsound("cannot-sign", peers_fail=True)
def issuer_without_cert_sign() -> Bundle:
    """keyUsage cRLSign only."""
    return texts([ROOT_A], authority("Issuer", under=ROOT_A, usage=key_usage("crl_sign")))


@unsound("cannot-sign")
def issuer_without_key_usage() -> Bundle:
    """X509-SVID section 4.3 wants it; verifiers let it pass."""
    return texts([ROOT_A], authority("Issuer", under=ROOT_A, leave_out=[x509.KeyUsage]))


@unsound("has-extended-key-usage", peers_fail=True)
def issuer_for_servers_only() -> Bundle:
    """EKU serverAuth: every client certificate below it fails."""
    return texts([ROOT_A], _issuer_with((SERVER, False)))


@unsound("name-constraints", peers_fail=True)
def another_trust_domain() -> Bundle:
    """Name constraints permit the host example.org."""
    return texts([ROOT_A], _issuer_with(_permitted(_uri("example.org"))))


@unsound("name-constraints", peers_fail=True)
def below_the_trust_domain() -> Bundle:
    """Name constraints permit hosts below cluster.local, not itself (RFC 5280 4.2.1.10)."""
    return texts([ROOT_A], _issuer_with(_permitted(_uri(".cluster.local"))))


@unsound("name-constraints")
def trust_domain_excluded_by_go() -> Bundle:
    """The host `local` is excluded: Go takes cluster.local for a part of it, RFC 5280 does not."""
    return texts([ROOT_A], _issuer_with((x509.NameConstraints(None, [_uri("local")]), True)))


@unsound("name-constraints")
def disputed_dns_constraint() -> Bundle:
    """Name constraints permit the DNS name `.svc`, which not every verifier parses."""
    return texts([ROOT_A], _issuer_with(_permitted(x509.DNSName(".svc"))))


@unsound("name-constraints")
def directory_constraint() -> Bundle:
    """A critical constraint of directory names: Go does not know the kind and refuses."""
    return texts([ROOT_A], _issuer_with(_permitted(x509.DirectoryName(A1.certificate.subject))))


@unsound("name-constraints", peers_fail=True)
def istiod_left_out() -> Bundle:
    """Name constraints permit DNS names of example.org: istiod's own port fails."""
    return texts([ROOT_A], _issuer_with(_permitted(x509.DNSName("example.org"))))


@unsound("name-constraints", peers_fail=True)
def istiod_excluded_by_the_root() -> Bundle:
    """The root excludes svc, and the issuer is spotless."""
    constraints = x509.NameConstraints(None, [x509.DNSName("svc")])
    root = authority("Root", extra=[(constraints, True)])
    return texts([root], authority("Issuer", under=root))


@unsound("lookalikes", peers_fail=True)
def roots_alike() -> Bundle:
    """Two roots of one name, an issuer without AKI: BoringSSL may take the wrong root."""
    old, new = (authority("O=Istio,CN=Root CA", private=key("P-256", n)) for n in ("old", "new"))
    signer = authority("Issuer", under=old, leave_out=[x509.AuthorityKeyIdentifier])
    return texts([new, old], signer)


@unsound("lookalikes", peers_fail=True)
def issuers_alike() -> Bundle:
    """a1 and a2 share a subject and have no SKI, so a leaf cannot say which one signed it."""
    one, other = (
        authority(
            "Issuer",
            under=ROOT_A,
            private=key("P-256", n),
            leave_out=[x509.SubjectKeyIdentifier],
        )
        for n in ("one", "other")
    )
    return texts([ROOT_A], one, [other, one])


@unsound("wrong-authority-key-id", peers_fail=True)
def points_elsewhere() -> Bundle:
    """The AKI of the issuer is that of another key: Envoy does not take the root for it."""
    wrong = x509.AuthorityKeyIdentifier.from_issuer_public_key(key("P-256", "9").public_key())
    return texts([ROOT_A], _issuer_with((wrong, False)))


@unsound("outlives-issuer")
def issuer_outlives_root() -> Bundle:
    """istiod cuts leaves off at the end of their signer, not at that of the root."""
    root = authority("Root", end=NOW + YEAR)
    return texts([root], authority("Issuer", under=root, end=NOW + 2 * YEAR))


@unsound("ends-too-soon")
def signer_ends_within_a_leaf() -> Bundle:
    """The signer has 24 h left, as long as a leaf should live."""
    return texts([ROOT_A], authority("Issuer", under=ROOT_A, end=NOW + DAY))


@unsound("key-not-allowed")
def weak_rsa() -> Bundle:
    """RSA 1024: istiod has no minimum for what is plugged in."""
    return texts([ROOT_A], authority("Issuer", under=ROOT_A, private=key("RSA-1024")))


@unsound("key-not-allowed")
def p224() -> Bundle:
    """ECDSA P-224: few verifiers know it."""
    return texts([ROOT_A], authority("Issuer", under=ROOT_A, private=key("P-224")))


@unsound("key-not-allowed")
def p521_root() -> Bundle:
    """ECDSA P-521 in a root."""
    root = authority("Root", private=key("P-521"))
    return texts([root], authority("Issuer", under=root))


@unsound("subject-of-its-issuer")
def named_like_its_root() -> Bundle:
    """The issuer has the subject of the root above it."""
    return texts([ROOT_A], authority("Root A", under=ROOT_A, private=key("P-256", "2006")))


@unsound("empty-subject")
def nameless_issuer() -> Bundle:
    """An empty subject is an empty issuer in every leaf."""
    return texts([ROOT_A], authority("", under=ROOT_A))


# Refused by istiod at start-up


@unsound("policy-required")
def policy_required() -> Bundle:
    """policyConstraints with requireExplicitPolicy: Go finds no valid policy."""
    return texts([ROOT_A], _issuer_with((x509.PolicyConstraints(0, None), False)))


@unsound("no-path", peers_fail=True)
def wrong_root() -> Bundle:
    """B | a1 | a1."""
    return texts([ROOT_B], A1)


@unsound("no-path", peers_fail=True)
def wrong_root_in_article_layout() -> Bundle:
    """B | a1 | a1 A: being in the chain does not make A trusted."""
    return texts([ROOT_B], A1, [A1, ROOT_A])


@unsound("no-path", peers_fail=True)
def forged_issuer() -> Bundle:
    """The issuer names root A, and somebody else signed it."""
    return texts([ROOT_A], authority("I", under=ROOT_A, claimed_key=key("P-256", "9")))


@unsound("no-path", peers_fail=True)
def three_levels_without_the_upper() -> Bundle:
    """A | lower | lower A."""
    return texts([ROOT_A], LOWER, [LOWER, ROOT_A])


@unsound("key-mismatch")
def wrong_key() -> Bundle:
    """ca-key belongs to another certificate."""
    return texts([ROOT_A], A1, private=A2.key)


@unsound("expired", peers_fail=True)
def expired_issuer() -> Bundle:
    """The issuer ended an hour ago."""
    hour = timedelta(hours=1)
    return texts([ROOT_A], authority("Issuer", under=ROOT_A, end=NOW - hour))


@unsound("expired", peers_fail=True)
def expired_root() -> Bundle:
    """The root ended an hour ago; that its issuer outlives it follows."""
    root = authority("Root", end=NOW - timedelta(hours=1))
    return texts([root], authority("Issuer", under=root))


@unsound("expired")
def expired_beside() -> Bundle:
    """A | a1 | expired a1: istiod dies of it when it comes first."""
    old = authority("Issuer A0", under=ROOT_A, end=NOW - timedelta(hours=1))
    return texts([ROOT_A], A1, [old, A1])


@unsound("expired")
def expired_root_beside() -> Bundle:
    """A and an expired root."""
    old = authority("Root 0", end=NOW - timedelta(hours=1))
    return texts([ROOT_A, old], A1)


@unsound("not-yet-valid", peers_fail=True)
def issuer_of_tomorrow() -> Bundle:
    """The issuer starts tomorrow."""
    return texts([ROOT_A], authority("Issuer", under=ROOT_A, start=NOW + DAY))


@unsound("not-a-ca", peers_fail=True)
def leaf_as_issuer() -> Bundle:
    """CA:FALSE, with the key usage of a leaf: one mistake, one refusal."""
    no_ca = x509.BasicConstraints(ca=False, path_length=None)
    usage = key_usage("digital_signature")
    return texts([ROOT_A], authority("Issuer", under=ROOT_A, basic=no_ca, usage=usage))


@unsound("not-a-ca")
def issuer_without_basic_constraints() -> Bundle:
    """No basicConstraints at all."""
    return texts([ROOT_A], authority("I", under=ROOT_A, leave_out=[x509.BasicConstraints]))


@unsound("has-extended-key-usage", peers_fail=True)
def issuer_for_clients_only() -> Bundle:
    """EKU clientAuth."""
    return texts([ROOT_A], _issuer_with((CLIENT, False)))


@unsound("critical-extension", peers_fail=True)
def unknown_critical_extension() -> Bundle:
    """A critical extension of a private arc."""
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\5\0")
    return texts([ROOT_A], _issuer_with((unknown, True)))


@unsound("weak-signature")
def issuer_signed_with_sha1() -> Bundle:
    """SHA-1 below a root."""
    return texts([SHA1_ROOT], SHA1_ISSUER)


@unsound("encrypted-key")
def encrypted_pkcs8() -> Bundle:
    """BEGIN ENCRYPTED PRIVATE KEY."""
    return _with_key(PrivateFormat.PKCS8, BestAvailableEncryption(b"pass"))


@unsound("encrypted-key")
def encrypted_traditional() -> Bundle:
    """Proc-Type: 4,ENCRYPTED."""
    return _with_key(PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"pass"))


@unsound("not-one-key")
def parameters_before_the_key() -> Bundle:
    """What `openssl ecparam -genkey` writes."""
    parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    text = key_text(A1.key, PrivateFormat.TraditionalOpenSSL)
    return replace(steady(), ca_key=parameters + text)


@unsound("not-one-key")
def certificate_before_the_key() -> Bundle:
    """A1, then its key, in ca-key."""
    return replace(steady(), ca_key=A1.pem + key_text(A1.key))


@unsound("not-a-key")
def mislabelled_key() -> Bundle:
    """A PKCS#8 body under the label of SEC1."""
    text = key_text(A1.key).replace("BEGIN PRIVATE", "BEGIN EC PRIVATE")
    return replace(steady(), ca_key=text.replace("END PRIVATE", "END EC PRIVATE"))


@unsound("not-a-key")
def certificate_for_a_key() -> Bundle:
    """ca-key holds the certificate."""
    return replace(steady(), ca_key=A1.pem)


@unsound("key-not-allowed")
def ed25519_key() -> Bundle:
    """An Ed25519 key beside an ECDSA certificate."""
    return replace(steady(), ca_key=key_text(key("Ed25519")))


@unsound("not-a-key")
def damaged_base64_in_the_key() -> Bundle:
    """A letter that is not base64: OpenSSL skips it, Go does not."""
    return replace(steady(), ca_key=_with_last_line("?", key_text(A1.key)))


@unsound("not-a-key")
def surplus_padding_in_the_key() -> Bundle:
    """An equals sign too many: Python skips it, Go does not."""
    return replace(steady(), ca_key=_with_last_line("====", key_text(A1.key)))


@unsound("malformed-pem")
def half_a_line_break_at_the_end() -> Bundle:
    """CRLF cut off after the CR: Go finds no END line."""
    return replace(steady(), ca_cert=A1.pem.replace("\n", "\r\n").removesuffix("\n"))


@unsound("malformed-pem")
def marker_within_a_block() -> Bundle:
    """A BEGIN line in the middle of a certificate: one mistake, not three."""
    middle = len(ROOT_B.pem) // 2
    torn = f"{ROOT_B.pem[:middle]}-----BEGIN CERTIFICATE-----\n{ROOT_B.pem[middle:]}"
    return replace(steady(), root_cert=ROOT_A.pem + torn)


@unsound("malformed-pem")
def byte_order_mark() -> Bundle:
    """What Windows editors put in front."""
    return replace(steady(), root_cert="\ufeff" + ROOT_A.pem)


@unsound("malformed-pem")
def indented() -> Bundle:
    """A YAML slip."""
    text = "".join(f"  {line}\n" for line in A1.pem.splitlines())
    return replace(steady(), cert_chain=text)


@unsound("malformed-pem")
def glued_together() -> Bundle:
    """Two files joined without a newline between."""
    return replace(distribute(), root_cert=ROOT_A.pem.rstrip("\n") + ROOT_B.pem)


@unsound("malformed-pem")
def cut_off() -> Bundle:
    """The END line is missing."""
    return replace(steady(), ca_cert=A1.pem[: A1.pem.index("-----END")])


@unsound("not-a-certificate")
def damaged_certificate_in_the_chain() -> Bundle:
    """A block that is base64 but no certificate."""
    block = "-----BEGIN CERTIFICATE-----\nAAECAwQF\n-----END CERTIFICATE-----\n"
    return replace(steady(), cert_chain=A1.pem + block)


@unsound("not-a-certificate")
def trusted_certificate() -> Bundle:
    """BEGIN TRUSTED CERTIFICATE: Go skips it, so root B would silently not be trusted."""
    odd = ROOT_B.pem.replace("CERTIFICATE-", "TRUSTED CERTIFICATE-")
    return replace(steady(), root_cert=ROOT_A.pem + odd)


@unsound("not-a-certificate")
def block_with_headers() -> Bundle:
    """PEM headers: Go's certificate pool skips such a block."""
    odd = ROOT_B.pem.replace("-----\n", "-----\nComment: any\n\n", 1)
    return replace(steady(), root_cert=ROOT_A.pem + odd)


@unsound("not-one-certificate")
def two_signers() -> Bundle:
    """ca-cert holds a1 and A; istiod uses the first."""
    return replace(steady(), ca_cert=A1.pem + ROOT_A.pem)


@unsound("duplicate-root")
def root_twice() -> Bundle:
    """A A | a1 | a1."""
    return texts([ROOT_A, ROOT_A], A1)


@unsound("not-self-signed")
def intermediate_as_anchor() -> Bundle:
    """a1 as the only anchor: Go takes it, Envoy ends a path only in a self-signed one."""
    return texts([A1], A1, [A1])


@unsound("no-subject-key-id")
def root_without_key_id() -> Bundle:
    """A root without SKI."""
    root = authority("Root", leave_out=[x509.SubjectKeyIdentifier])
    return texts([root], authority("Issuer", under=root))


@unsound("has-extended-key-usage")
def root_for_servers_only() -> Bundle:
    """root (EKU serverAuth) -> issuer: Go applies it to the whole path, openssl does not."""
    root = authority("Root", extra=[(SERVER, False)])
    return texts([root], authority("Issuer", under=root))


@unsound("too-large")
def larger_than_a_secret() -> Bundle:
    """26 kB of comment in root-cert."""
    return replace(steady(), root_cert=ROOT_A.pem + "#" * 26_000 + "\n")
