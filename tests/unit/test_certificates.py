"""Reading and writing certificates and keys: what is tolerated, what is refused, what is shown."""

import re
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from meshca import certificates
from meshca.refusals import Refused
from tests import material
from tests.material import NOW, YEAR, AnyKey, authority, key, key_text

ROOT = authority("Root A")
ISSUER = authority("Issuer A1", under=ROOT)
RSA_KEY = material.rsa_key()
EC_KEY = material.ec_key()

KEY_FORMS: dict[str, tuple[AnyKey, PrivateFormat]] = {
    "PKCS#8 RSA": (RSA_KEY, PrivateFormat.PKCS8),
    "PKCS#1": (RSA_KEY, PrivateFormat.TraditionalOpenSSL),
    "PKCS#8 EC": (EC_KEY, PrivateFormat.PKCS8),
    "SEC1": (EC_KEY, PrivateFormat.TraditionalOpenSSL),
}


def ids(call: Callable[[], object]) -> list[str]:
    """The ids of the refusals that `call` raises."""
    with pytest.raises(Refused) as caught:
        call()
    return [refusal.id for refusal in caught.value.refusals]


def message(call: Callable[[], object]) -> str:
    """All that a refusal and its traceback would print; empty when nothing is refused."""
    try:
        call()
    except Refused as refused:
        return "".join(traceback.format_exception(refused))
    return ""


# What people's editors, terminals and web pages do to PEM


def crlf(text: str) -> str:
    """As Windows saves it."""
    return text.replace("\n", "\r\n")


def no_final_newline(text: str) -> str:
    """As a web form returns it."""
    return text.rstrip("\n")


def indented(text: str) -> str:
    """As it stands in YAML."""
    return re.sub("(?m)^", "    ", text)


def byte_order_mark(text: str) -> str:
    """As Notepad saves it."""
    return "\ufeff" + text


def text_around(text: str) -> str:
    """As `openssl x509 -text` prints it."""
    return f"Certificate:\n  Data: : :\n\n{text}\nand so on: - -- ---"


def blank_lines(text: str) -> str:
    """As a mail program wraps it."""
    return text.replace("\n", "\n\n")


def rewrapped(text: str) -> str:
    """In lines of 76, as base64(1) writes."""
    first, *body, last = text.splitlines()
    joined = "".join(body)
    lines = [joined[at : at + 76] for at in range(0, len(joined), 76)]
    return "\n".join([first, *lines, last]) + "\n"


SLIPS = [crlf, no_final_newline, indented, byte_order_mark, text_around, rewrapped]
slips = st.lists(st.sampled_from(SLIPS), unique=True, max_size=3)


def slipped(text: str, chosen: list[Callable[[str], str]]) -> str:
    """The text after each slip; rewrapping comes first, since it needs a bare block."""
    for slip in sorted(chosen, key=lambda slip: slip is not rewrapped):
        text = slip(text)
    return text


@given(slips)
def test_a_certificate_is_read_whatever_happened_around_it(
    chosen: list[Callable[[str], str]],
) -> None:
    """Every combination of slips reads as the same certificate and is written as one text."""
    read = certificates.parse_certificate(slipped(ISSUER.pem, chosen), where="x")
    assert certificates.encode(read) == ISSUER.pem


@given(slips, st.sampled_from(sorted(KEY_FORMS)))
def test_a_key_is_read_whatever_happened_around_it(
    chosen: list[Callable[[str], str]], form: str
) -> None:
    """Every combination of slips, in each form of a key, still reads as the same key."""
    private, shape = KEY_FORMS[form]
    read = certificates.parse_key(slipped(key_text(private, shape), chosen), where="x")
    assert certificates.encode_key(read) == key_text(private)


def test_blank_lines_in_a_certificate_are_skipped() -> None:
    """Blank lines between the lines of base64 change nothing."""
    assert certificates.parse_certificate(blank_lines(ISSUER.pem), where="x") == ISSUER.certificate


def test_certificates_glued_together_are_read() -> None:
    """Two files joined without a newline between them are two certificates."""
    glued = ISSUER.pem.rstrip("\n") + ROOT.pem
    read = certificates.parse_certificates(glued, where="x")
    assert read == [ISSUER.certificate, ROOT.certificate]


def test_the_written_form_is_that_of_openssl(tmp_path: Path) -> None:
    """Re-encoding what openssl wrote changes no byte."""
    material.openssl_root(tmp_path, new_key=material.P256)
    written = (tmp_path / "root-cert.pem").read_text()
    assert certificates.encode(certificates.parse_certificate(written, where="x")) == written


def test_ec_parameters_before_a_key_are_skipped(tmp_path: Path) -> None:
    """The default output of `openssl ecparam -genkey` reads as the key in it."""
    text = material.openssl(tmp_path, "ecparam", "-name", "prime256v1", "-genkey")
    assert text.startswith("-----BEGIN EC PARAMETERS")
    (tmp_path / "key.pem").write_text(text)
    plain = material.openssl(tmp_path, "pkey", "-in", "key.pem")
    assert certificates.encode_key(certificates.parse_key(text, where="x")) == plain


# What is refused


@given(st.text(max_size=300))
def test_no_text_raises_anything_but_a_refusal(text: str) -> None:
    """Any text is a certificate or refused, never a traceback."""
    with pytest.raises(Refused):
        certificates.parse_certificate(text, where="x")
    with pytest.raises(Refused):
        certificates.parse_key(text, where="x")


@given(st.integers(0, len(ISSUER.pem) - 1), st.characters(codec="ascii"))
def test_a_changed_character_raises_nothing_but_a_refusal(at: int, letter: str) -> None:
    """A certificate with one character changed reads as one, or is refused."""
    text = ISSUER.pem[:at] + letter + ISSUER.pem[at + 1 :]
    try:
        read = certificates.parse_certificate(text, where="x")
    except Refused:
        return
    assert isinstance(read, x509.Certificate)
    list(read.extensions)


@given(st.integers(0, 10_000), st.characters(codec="ascii"), st.sampled_from(sorted(KEY_FORMS)))
def test_a_refused_key_is_not_shown(at: int, letter: str, form: str) -> None:
    """Whatever one character breaks in a key, the message holds no line of it."""
    text = key_text(*KEY_FORMS[form])
    at %= len(text)
    said = message(lambda: certificates.parse_key(text[:at] + letter + text[at + 1 :], where="x"))
    body = [line for line in text.splitlines() if not line.startswith("-----")]
    assert not any(line[:16] in said for line in body)


@pytest.mark.parametrize(
    ("text", "identity"),
    [
        ("", "no-certificate"),
        ("no PEM at all\n", "no-certificate"),
        (ISSUER.pem + ROOT.pem, "not-one-certificate"),
        (key_text(RSA_KEY), "private-key-in-certificate"),
        (ISSUER.pem + key_text(RSA_KEY), "private-key-in-certificate"),
        (ISSUER.pem.replace("CERTIFICATE", "TRUSTED CERTIFICATE"), "not-a-certificate"),
        (ISSUER.pem.replace("CERTIFICATE", "CERTIFICATE REQUEST"), "not-a-certificate"),
        (ISSUER.pem.replace("MII", "MI!"), "not-a-certificate"),
        (ISSUER.pem[:200], "malformed-pem"),
        (ISSUER.pem[200:], "malformed-pem"),
        (ISSUER.pem + "-----BEGIN CERTIFICATE-----\n", "malformed-pem"),
    ],
)
def test_what_is_not_one_certificate_is_refused(text: str, identity: str) -> None:
    """Each has its own refusal, and only that."""
    assert ids(lambda: certificates.parse_certificate(text, where="x")) == [identity]


@pytest.mark.parametrize(
    ("text", "identity"),
    [
        ("", "not-one-key"),
        (key_text(RSA_KEY) * 2, "not-one-key"),
        (ISSUER.pem, "not-a-key"),
        (key_text(key("Ed25519")), "key-not-allowed"),
        (key_text(RSA_KEY).replace(" PRIVATE", " EC PRIVATE"), "not-a-key"),
        (key_text(EC_KEY)[:80], "malformed-pem"),
    ],
)
def test_what_is_not_one_key_is_refused(text: str, identity: str) -> None:
    """Each has its own refusal, and only that."""
    assert ids(lambda: certificates.parse_key(text, where="x")) == [identity]


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_an_encrypted_key_is_refused_with_the_command_that_decrypts_it(form: PrivateFormat) -> None:
    """Both forms of encryption are recognised, and the way out is a command."""
    text = RSA_KEY.private_bytes(Encoding.PEM, form, BestAvailableEncryption(b"pass")).decode()
    with pytest.raises(Refused, match=r"encrypted-key: .*umask 077; openssl pkey"):
        certificates.parse_key(text, where="issuerKeys.a1")


@pytest.mark.parametrize("part", ["d", "dmp1", "dmq1", "iqmp"])
def test_an_rsa_key_whose_numbers_disagree_is_refused(part: str) -> None:
    """Go refuses such a key on loading, so istiod would not start."""
    numbers = RSA_KEY.private_numbers()
    parts = {name: getattr(numbers, name) for name in ("p", "q", "d", "dmp1", "dmq1", "iqmp")}
    parts[part] += 2
    damaged = rsa.RSAPrivateNumbers(**parts, public_numbers=numbers.public_numbers)
    text = key_text(damaged.private_key(unsafe_skip_rsa_key_validation=True))
    assert ids(lambda: certificates.parse_key(text, where="x")) == ["not-a-key"]


def test_every_bad_block_is_named() -> None:
    """All mistakes of a file at once, each with the number of its block."""
    text = ISSUER.pem + key_text(RSA_KEY) + ROOT.pem.replace("CERT", "X509 CERT")
    with pytest.raises(Refused) as caught:
        certificates.parse_certificates(text, where="root-cert")
    assert [refusal.reason[:20] for refusal in caught.value.refusals] == [
        "block 2 of root-cert",
        "block 3 of root-cert",
    ]


# Files


def test_a_certificate_file_is_read(tmp_path: Path) -> None:
    """A file is read like a text."""
    path = tmp_path / "root.pem"
    path.write_text(crlf(ROOT.pem))
    assert certificates.read_certificate(path) == ROOT.certificate


def test_a_key_file_is_read(tmp_path: Path) -> None:
    """A key file is read like a text."""
    path = tmp_path / "key.pem"
    path.write_text(key_text(EC_KEY))
    assert certificates.same_key(
        authority("Other", private=EC_KEY).certificate, certificates.read_key(path)
    )


def _directory(path: Path) -> None:
    path.mkdir()


def _binary(path: Path) -> None:
    path.write_bytes(ROOT.certificate.public_bytes(Encoding.DER))


def _large(path: Path) -> None:
    path.write_bytes(b"#" * (certificates.MAX_FILE_BYTES + 1))


def _nothing(path: Path) -> None:
    assert not path.exists()


def _loop(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (_nothing, "no-such-file: PATH does not exist. Correct the path, or make the file."),
        (_directory, "not-a-file: PATH is a directory. Name the PEM file in it."),
        (
            _binary,
            "not-text: PATH is not text. If it is DER, convert it: `openssl x509 -inform der"
            " -in PATH -out PATH.pem`.",
        ),
        (
            _large,
            "file-too-large: PATH has 1000001 bytes, more than any PEM file of a CA. Name the PEM"
            " file that is meant.",
        ),
        (
            _loop,
            "unreadable-file: PATH cannot be read: Too many levels of symbolic links. Correct path"
            " or permissions.",
        ),
    ],
)
def test_a_file_that_cannot_be_read_is_one_clear_line(
    tmp_path: Path, prepare: Callable[[Path], None], said: str
) -> None:
    """The message names the path, why, and what to do; exactly."""
    path = tmp_path / "some.pem"
    prepare(path)
    with pytest.raises(Refused) as caught:
        certificates.read_certificate(path)
    assert str(caught.value) == said.replace("PATH", str(path))


# Facts and rules that the program asks for


def test_the_fingerprint_is_that_of_openssl(tmp_path: Path) -> None:
    """SHA-256 of the DER, lower-case hex."""
    (tmp_path / "c.pem").write_text(ROOT.pem)
    said = material.openssl(tmp_path, "x509", "-in", "c.pem", "-noout", "-fingerprint", "-sha256")
    assert said.strip().partition("=")[2].replace(":", "").lower() == certificates.fingerprint(
        ROOT.certificate
    )


def test_a_name_cannot_drive_a_terminal() -> None:
    """Escape sequences in a subject are not printed."""
    hostile = authority("Root \x1b[2J\nline")
    assert "\x1b" not in certificates.shown(hostile.certificate.subject)
    assert "\n" not in certificates.shown(hostile.certificate.subject)


def judge(issuer: material.Authority, root: material.Authority = ROOT) -> list[str]:
    """The ids of `issuer_refusals`."""
    found = certificates.issuer_refusals(
        "a1",
        issuer.certificate,
        root_name="a",
        root=root.certificate,
        now=NOW,
        leaf_ttl=material.DAY,
    )
    return [refusal.id for refusal in found]


def test_a_sound_issuer_under_its_root_passes() -> None:
    """A generated root and issuer have nothing to refuse."""
    assert certificates.root_refusals("a", ROOT.certificate, now=NOW) == []
    assert judge(ISSUER) == []


@pytest.mark.parametrize(
    ("issuer", "root", "identity"),
    [
        (ISSUER, authority("Root B"), "not-signed-by"),
        (ISSUER, authority("Root A", private=key("P-256", "impostor")), "not-signed-by"),
        (authority("A1", under=ROOT, end=NOW + 20 * YEAR), ROOT, "outlives-issuer"),
        (authority("A1", under=ROOT, end=NOW + material.DAY), ROOT, "ends-too-soon"),
        (authority("A1", under=ROOT, end=NOW - material.DAY / 2), ROOT, "expired"),
        (authority("Root A", under=ROOT, private=key("P-256", "x")), ROOT, "subject-of-its-issuer"),
        (authority("A1", under=ROOT, private=key("RSA-1024")), ROOT, "key-not-allowed"),
        (
            authority("A1", under=ROOT, extra=[(material.SERVER, False)]),
            ROOT,
            "has-extended-key-usage",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_unsound_issuer_earns_one_refusal(
    issuer: material.Authority, root: material.Authority, identity: str
) -> None:
    """One mistake, one refusal, also for an issuer judged before there is a bundle."""
    assert judge(issuer, root) == [identity]


def test_an_issuer_under_a_root_without_room_is_refused() -> None:
    """root (pathlen:0) -> issuer is refused at the issuer."""
    root = authority("Root", basic=x509.BasicConstraints(ca=True, path_length=0))
    assert judge(authority("A1", under=root), root) == ["path-too-long"]


def test_a_key_of_another_certificate_is_refused() -> None:
    """The refusal names the certificate that the key does not fit."""
    [refusal] = certificates.key_refusals("a1", ISSUER.certificate, EC_KEY)
    assert (refusal.id, refusal.certificates) == (
        "key-mismatch",
        (certificates.reference("a1", ISSUER.certificate),),
    )
