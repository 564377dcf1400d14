"""The offline machine's commands, as an operator meets them: files, exit codes, words."""

import base64
import json
import os
import shlex
import stat
import subprocess
import sys
import warnings
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from meshca import certificates
from meshca.__main__ import ALGORITHMS, main
from meshca.settings import Algorithm
from tests import material
from tests.linting import lint_errors
from tests.material import P256, openssl

REPOSITORY = Path(__file__).parents[2]


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def new_root(directory: Path, *options: str, name: str = "Mesh Root A") -> None:
    """Makes an offline root in a directory."""
    assert main(["root", "new", "--common-name", name, "--out", str(directory), *options]) == 0


def request(directory: Path, subject: str = "CN = Mesh Issuer A1", *options: str) -> Path:
    """A certificate request, made by openssl, with its key beside it."""
    directory.mkdir(parents=True, exist_ok=True)
    settings = directory / "request.conf"
    settings.write_text(f"[req]\ndistinguished_name=s\nprompt=no\n[s]\n{subject}\n")
    arguments = options or ("-newkey", *P256)
    openssl(
        directory,
        *("req", "-new", "-nodes", "-config", "request.conf", *arguments),
        *("-keyout", "ca-key.pem", "-out", "issuer.csr"),
    )
    return directory / "issuer.csr"


def signing(root: Path, csr: Path, out: Path, *options: str) -> list[str]:
    """The arguments that sign a request under the root in a directory."""
    return [
        *("sign", str(csr), "--root", str(root / "root-cert.pem")),
        *("--key", str(root / "root-key.pem"), "--out", str(out), *options),
    ]


def mode(path: Path) -> int:
    """The permissions of a file."""
    return stat.S_IMODE(path.stat().st_mode)


def key_lines(path: Path) -> set[str]:
    """The lines of a private key that must appear nowhere."""
    return {line for line in path.read_text().splitlines() if not line.startswith("-----")}


# check


def test_check_draws_the_chain_of_a_sound_bundle(
    istio_files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 0; root above signer above leaves, with names, fingerprints and ends."""
    code, out, err = run(capsys, "check", istio_files)
    lines = [line.strip(" `-") for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert [line.partition(" ")[0] for line in lines] == [
        "root-cert:",
        "sha256",
        "ca-cert:",
        "sha256",
        "leaves",
    ]
    ca = x509.load_pem_x509_certificate((istio_files / "ca-cert.pem").read_bytes())
    assert "CN=Intermediate CA" in lines[2]
    assert ca.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ") in lines[2]


def test_check_tells_machines_the_same(
    istio_files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--json: sound, no refusal, each certificate with its issuer."""
    code, out, _ = run(capsys, "check", istio_files, "--json")
    told = json.loads(out)
    assert (code, told["sound"], told["refusals"], told["leafTtl"]) == (0, True, [], "24h")
    assert [(one["name"], one["issuer"], one["signs"]) for one in told["certificates"]] == [
        ("root-cert", None, False),
        ("ca-cert", "root-cert", True),
    ]


@pytest.fixture
def copy(p384_files: Path, tmp_path: Path) -> Path:
    """The four files of a sound bundle, to be spoilt."""
    for file in ("root-cert", "ca-cert", "ca-key", "cert-chain"):
        (tmp_path / f"{file}.pem").write_text((p384_files / f"{file}.pem").read_text())
    return tmp_path


def test_check_says_each_refusal_with_certificate_and_remedy(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 1; id and reason, the certificate, and what to do."""
    root = copy / "root-cert.pem"
    (copy / "cert-chain.pem").write_text(root.read_text())
    code, out, err = run(capsys, "check", copy)
    said = out.splitlines()
    assert (code, err, len(said)) == (1, "", 3)
    assert said[0].startswith("signer-not-in-chain: ")
    assert said[1].startswith("    certificate: ca-cert (sha256 ")
    assert said[2] == "    do: Put ca-cert at the beginning of cert-chain."


def test_check_tells_machines_each_refusal(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--json: id, certificates and mitigation of all mistakes at once; exit 1."""
    (copy / "ca-key.pem").write_text(material.key_text(material.ec_key("another")))
    (copy / "tls.crt").write_text("")
    code, out, _ = run(capsys, "check", copy, "--json")
    told = json.loads(out)
    assert (code, told["sound"]) == (1, False)
    assert [refusal["id"] for refusal in told["refusals"]] == ["tls-format", "key-mismatch"]
    assert told["refusals"][1]["certificates"][0]["name"] == "ca-cert"
    assert all(refusal["mitigation"] for refusal in told["refusals"])


@pytest.mark.parametrize(
    ("beside", "identity"), [("tls.crt", "tls-format"), ("ca-crl.pem", "crl-not-delivered")]
)
def test_check_refuses_files_that_change_what_istiod_does(
    copy: Path, beside: str, identity: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """V10: tls.crt makes istiod ignore the four; the add-on cannot deliver a revocation list."""
    (copy / beside).write_text("anything")
    code, out, _ = run(capsys, "check", copy)
    assert (code, out.partition(":")[0]) == (1, identity)


@pytest.mark.parametrize("missing", ["root-cert", "ca-cert", "ca-key", "cert-chain"])
def test_check_names_a_missing_file(
    copy: Path, missing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An incomplete bundle is refused once: istiod would not start, or come up self-signed."""
    (copy / f"{missing}.pem").unlink()
    code, out, _ = run(capsys, "check", copy)
    assert code == 1
    assert out.startswith(f"no-such-file: {copy / missing}.pem does not exist\n")
    assert len(out.splitlines()) == 2


def test_a_directory_that_may_not_be_entered_is_one_refusal(
    copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not one for each file in it, and the same for machines."""
    look = os.stat

    def closed(path: str | Path, **how: object) -> os.stat_result:
        if Path(os.fsdecode(path)).parent == copy:
            raise PermissionError(13, "Permission denied")
        return look(path, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "stat", closed)
    code, out, err = run(capsys, "check", copy)
    assert (code, err, len(out.splitlines())) == (1, "", 2)
    assert out.startswith(f"unreadable-file: what is in {copy} cannot be read: Permission denied")
    assert json.loads(run(capsys, "check", copy, "--json")[1])["sound"] is False


def test_a_name_that_is_too_long_is_one_refusal(capsys: pytest.CaptureFixture[str]) -> None:
    """What the system does not even look up is no traceback."""
    code, out, err = run(capsys, "check", "x" * 300)
    assert (code, err) == (1, "")
    assert out.endswith(
        "cannot be read: File name too long\n    do: Correct path or permissions.\n"
    )


def test_what_is_far_too_large_is_not_parsed(
    copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No vault takes it whatever it holds, and going through a thousand roots takes minutes."""
    root = copy / "root-cert.pem"
    root.write_text(root.read_text() * 1000)
    parsed: list[object] = []
    monkeypatch.setattr(certificates, "_certificate", lambda *given: parsed.append(given))
    code, out, _ = run(capsys, "check", copy)
    assert (code, out.partition(":")[0], len(out.splitlines())) == (1, "too-large", 2)
    assert parsed == []


def test_an_odd_serial_number_is_told_once(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As a refusal, and not by cryptography on standard error too."""
    der = x509.load_pem_x509_certificate((copy / "ca-cert.pem").read_bytes()).public_bytes(
        Encoding.DER
    )
    at = der.index(b"\xa0\x03\x02\x01\x02\x02") + 7
    odd = der[:at] + b"\x80" + der[at + 1 :]
    text = pem_text(odd)
    for name in ("ca-cert", "cert-chain"):
        (copy / f"{name}.pem").write_text(text)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        code, out, _ = run(capsys, "check", copy)
    assert code == 1
    assert "bad-serial-number: " in out
    assert warned == []


def pem_text(der: bytes) -> str:
    """A certificate as PEM, whatever it is."""
    body = base64.encodebytes(der).decode()
    return f"-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n"


def test_check_judges_by_the_leaf_lifetime(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The issuer of two years signs leaves of 24 h, and of 90 d at most."""
    assert run(capsys, "check", copy, "--leaf-ttl", "90d")[0] == 0
    assert run(capsys, "check", copy, "--leaf-ttl", "91d")[0] == 2


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["check"],
        ["check", "no/such/directory"],
        ["check", __file__],
        ["check", ".", "--leaf-ttl", "1y"],
        ["check", ".", "--leaf-ttl", "0s"],
        ["check", ".", "--yaml"],
        ["verdict", "."],
        ["root"],
        ["root", "new", "--out", "x"],
        ["root", "new", "--out", "x", "--common-name", "X", "--algorithm", "RSA-1024"],
        ["root", "new", "--out", "x", "--common-name", "X", "--days", "0"],
        ["root", "new", "--out", "x", "--common-name", "X", "--days", "1.5"],
        ["root", "new", "--out", "x", "--common-name", "X", "--days", "36501"],
        ["root", "new", "--out", "x", "--common-name", "X", "--days", "00000000199999"],
        ["root", "new", "--out", "x", "--common-name", "X", "--days", "0000000012345678901234"],
        ["root", "new", "--out", "x", "--common-name", "X", "--days", "9" * 5000],
        ["sign", "x.csr"],
    ],
)
def test_bad_usage_exits_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong usage is told on stderr, and is no verdict."""
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("usage: python -m meshca")


# root new


def test_a_new_root_has_a_private_key_for_its_owner_only(tmp_path: Path) -> None:
    """Certificate 0644, key 0600, whatever the umask; the key is that of the certificate."""
    before = os.umask(0o277)
    try:
        new_root(tmp_path)
    finally:
        os.umask(before)
    certificate, key = tmp_path / "root-cert.pem", tmp_path / "root-key.pem"
    assert (mode(certificate), mode(key)) == (0o644, 0o600)
    loaded = load_pem_private_key(key.read_bytes(), None)
    assert (
        loaded.public_key() == x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()
    )


@pytest.mark.parametrize("taken", ["root-cert.pem", "root-key.pem"])
def test_a_new_root_is_never_written_over_a_file(
    tmp_path: Path, taken: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither file is touched, and the other one is not made."""
    (tmp_path / taken).write_text("precious")
    code, _, err = run(capsys, "root", "new", "--common-name", "X", "--out", tmp_path)
    assert (code, err.partition(":")[0]) == (1, "file-exists")
    assert (tmp_path / taken).read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == [taken]


def test_a_new_root_is_never_written_through_a_link(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A dangling link counts as a file."""
    (tmp_path / "root-key.pem").symlink_to(tmp_path / "elsewhere")
    assert run(capsys, "root", "new", "--common-name", "X", "--out", tmp_path)[0] == 1
    assert not (tmp_path / "elsewhere").exists()


def test_commands_print_no_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No line of a private key is in the output of any command."""
    new_root(tmp_path)
    csr = request(tmp_path)
    assert main(signing(tmp_path, csr, tmp_path / "ca-cert.pem")) == 0
    said = [
        *capsys.readouterr(),
        *run(capsys, "sign", tmp_path / "root-key.pem", *signing(tmp_path, csr, csr)[2:])[1:],
        *run(capsys, "check", tmp_path)[1:],
    ]
    secret = key_lines(tmp_path / "root-key.pem") | key_lines(tmp_path / "ca-key.pem")
    assert len(secret) > 5
    assert not any(line in text for line in secret for text in said)


@pytest.mark.parametrize("name", ["", " ", "\t\u00a0", "x" * 65])
def test_a_root_needs_a_name_of_reasonable_length(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """RFC 5280: 1 to 64 characters; nothing is written otherwise."""
    code, _, err = run(capsys, "root", "new", "--common-name", name, "--out", tmp_path / "x")
    assert code == 1
    assert err.partition(":")[0] == "bad-name"
    assert not (tmp_path / "x").exists()


def test_an_encrypted_root_key_needs_its_passphrase(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The key is encrypted on disk; signing works with the passphrase, and only with it."""
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text("correct horse\nsecond line")
    wrong.write_text("battery staple\n")
    new_root(tmp_path, "--passphrase-file", str(right))
    assert (tmp_path / "root-key.pem").read_text().startswith("-----BEGIN ENCRYPTED")
    csr = request(tmp_path)
    arguments = signing(tmp_path, csr, tmp_path / "a1.pem")
    code, _, err = run(capsys, *arguments, "--passphrase-file", wrong)
    assert (code, err.partition(":")[0]) == (1, "wrong-passphrase")
    assert run(capsys, *arguments, "--passphrase-file", right)[0] == 0


def test_a_passphrase_is_asked_for_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two different answers make no root."""
    answers = iter(["one", "two"])
    monkeypatch.setattr("getpass.getpass", lambda prompt: next(answers))
    arguments = ("root", "new", "--common-name", "X", "--out", tmp_path / "x", "--encrypt")
    code, _, err = run(capsys, *arguments)
    assert (code, err.partition(":")[0]) == (1, "no-passphrase")
    assert not (tmp_path / "x").exists()


def test_algorithms_are_those_of_the_settings() -> None:
    """The commands and the stack settings know the same algorithms by the same names."""
    assert sorted(ALGORITHMS) == sorted(Algorithm)


# sign


@pytest.mark.parametrize("algorithm", ["ECDSA-P384", "RSA-2048"])
def test_what_the_commands_make_passes_check(
    tmp_path: Path, algorithm: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """root new, a request made by openssl, sign, check: sound from end to end."""
    new_root(tmp_path, "--algorithm", algorithm, "--organization", "Example")
    csr = request(tmp_path)
    assert main(signing(tmp_path, csr, tmp_path / "ca-cert.pem")) == 0
    (tmp_path / "cert-chain.pem").write_text((tmp_path / "ca-cert.pem").read_text())
    capsys.readouterr()
    assert run(capsys, "check", tmp_path)[0] == 0


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with an offline root of ten years."""
    directory = tmp_path_factory.mktemp("root")
    new_root(directory)
    return directory


@pytest.fixture(scope="module")
def csr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound request."""
    return request(tmp_path_factory.mktemp("request"))


def signed(root: Path, csr: Path, out: Path) -> x509.Certificate:
    """The certificate that `sign` makes of a request."""
    assert main(signing(root, csr, out)) == 0
    return x509.load_pem_x509_certificate(out.read_bytes())


def test_an_intermediate_can_sign_leaves_and_nothing_else(
    root: Path, csr: Path, tmp_path: Path
) -> None:
    """CA:TRUE with pathlen 0, keyCertSign and cRLSign, both critical; no extendedKeyUsage."""
    extensions = signed(root, csr, tmp_path / "a1.pem").extensions
    basic = extensions.get_extension_for_class(x509.BasicConstraints)
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    assert (basic.critical, basic.value) == (True, x509.BasicConstraints(True, 0))
    assert (usage.critical, usage.value) == (True, material.key_usage("key_cert_sign", "crl_sign"))
    assert x509.ExtendedKeyUsage.oid not in {extension.oid for extension in extensions}


def test_an_intermediate_points_at_its_root(root: Path, csr: Path, tmp_path: Path) -> None:
    """Its authority key identifier is the subject key identifier of the root."""
    extensions = signed(root, csr, tmp_path / "a1.pem").extensions
    above = x509.load_pem_x509_certificate((root / "root-cert.pem").read_bytes()).extensions
    assert (
        extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
        == above.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    )


def test_names_of_the_request_are_kept_and_istiod_is_added(root: Path, tmp_path: Path) -> None:
    """A URI of the request stays; istiod.istio-system.svc is there once, asked for or not."""
    names = "subjectAltName=URI:spiffe://cluster.local,DNS:istiod.istio-system.svc"
    csr = request(tmp_path, "CN = I", "-newkey", *P256, "-addext", names)
    found = signed(root, csr, tmp_path / "a1.pem").extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert list(found.value) == [
        x509.UniformResourceIdentifier("spiffe://cluster.local"),
        x509.DNSName("istiod.istio-system.svc"),
    ]


def test_what_a_request_claims_beyond_names_is_dropped(root: Path, tmp_path: Path) -> None:
    """A request cannot ask itself a longer path."""
    claim = "basicConstraints=critical,CA:TRUE,pathlen:5"
    csr = request(tmp_path, "CN = I", "-newkey", *P256, "-addext", claim)
    found = signed(root, csr, tmp_path / "a1.pem").extensions.get_extension_for_class(
        x509.BasicConstraints
    )
    assert found.value.path_length == 0


def refusal_of(capsys: pytest.CaptureFixture[str], arguments: list[str], out: Path) -> str:
    """The one line that `sign` refuses with; nothing may have been written."""
    code, said, err = run(capsys, *arguments)
    assert (code, said, err.count("\n")) == (1, "", 1)
    assert not out.exists()
    return err.strip()


def test_a_lifetime_beyond_the_root_is_refused_with_the_longest_one(
    root: Path, csr: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message says how many days may be asked for."""
    out = tmp_path / "a1.pem"
    said = refusal_of(capsys, signing(root, csr, out, "--days", "3651"), out)
    assert said.startswith("outlives-issuer: 3651 days from now are after the root CN=Mesh Root A")
    assert said.endswith("Ask for at most 3649 days, or sign with a newer root.")


def test_a_root_about_to_end_is_not_told_in_days(
    csr: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody can ask for 0 days: with less than two left, there is only a newer root."""
    new_root(tmp_path, "--days", "1")
    capsys.readouterr()
    out = tmp_path / "a1.pem"
    said = refusal_of(capsys, signing(tmp_path, csr, out, "--days", "2"), out)
    assert said.startswith("outlives-issuer: ")
    assert "]. Sign with a newer root." in said


def test_a_certificate_for_a_day_is_told_to_be_too_short(
    root: Path, csr: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that its own leaves would outlast is refused in terms of what was asked for."""
    out = tmp_path / "a1.pem"
    said = refusal_of(capsys, signing(root, csr, out, "--days", "1"), out)
    assert said.startswith("ends-too-soon: a certificate of 1 day would end no later than a leaf")
    assert "Ask for more days with --days" in said


def test_a_key_in_place_of_the_root_is_no_alarm(
    root: Path, csr: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who swaps --root and --key has published nothing, and is told which is which."""
    arguments = signing(root, csr, tmp_path / "a1.pem")
    key = arguments[arguments.index("--root") + 1] = str(root / "root-key.pem")
    said = refusal_of(capsys, arguments, tmp_path / "a1.pem")
    assert said.startswith(
        f"not-a-certificate: --root takes the certificate of the root alone, and {key} holds a"
    )
    assert "workload" not in said
    assert "replace" not in said


def test_a_request_under_a_weak_digest_says_which(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """SHA-1 is not told as another key or as damage, but with the option that helps."""
    csr, out = request(tmp_path, "CN = I", "-newkey", "rsa:2048", "-sha1"), tmp_path / "a1.pem"
    said = refusal_of(capsys, signing(root, csr, out), out)
    assert said == (
        f"weak-signature: {csr} is signed with SHA-1. Make the request again with SHA-256: "
        "`openssl req -new -sha256`."
    )


@pytest.mark.parametrize(
    ("option", "command"),
    [
        ("CSR", "`openssl req -inform der -in {0} -out {1}`"),
        ("--root", "`openssl x509 -inform der -in {0} -out {1}`"),
        ("--key", "`(umask 077; openssl pkey -inform der -in {0} -out {1})`"),
    ],
)
def test_der_is_told_with_the_command_of_its_kind(
    root: Path,
    csr: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    option: str,
    command: str,
) -> None:
    """What converts a request, a certificate and a key, with a path that a shell takes whole."""
    der = tmp_path / "it's; der"
    der.write_bytes(b"\x30\x82\xff")
    arguments = signing(root, csr, tmp_path / "a1.pem")
    arguments[1 if option == "CSR" else arguments.index(option) + 1] = str(der)
    said = refusal_of(capsys, arguments, tmp_path / "a1.pem")
    assert said.startswith(f"not-text: {der} is not text. ")
    assert command.format(*(shlex.quote(f"{der}{end}") for end in ("", ".pem"))) in said


def test_the_subject_of_the_root_is_refused(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An intermediate needs a name of its own."""
    csr, out = request(tmp_path, "CN = Mesh Root A"), tmp_path / "a1.pem"
    said = refusal_of(capsys, signing(root, csr, out), out)
    assert said.startswith("subject-of-its-issuer: ")


def test_a_weak_key_is_refused(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """RSA 1024 gets no certificate."""
    csr, out = request(tmp_path, "CN = I", "-newkey", "rsa:1024"), tmp_path / "a1.pem"
    said = refusal_of(capsys, signing(root, csr, out), out)
    assert said.startswith(f"key-not-allowed: {csr} asks for a key")


def test_a_request_with_a_bad_signature_is_refused(
    root: Path, csr: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who asks must hold the key: a request with another subject under the old signature fails."""
    forged, out = tmp_path / "forged.csr", tmp_path / "a1.pem"
    der = x509.load_pem_x509_csr(csr.read_bytes()).public_bytes(Encoding.DER)
    changed = der.replace(b"Mesh Issuer A1", b"Mesh Issuer A2")
    forged.write_bytes(x509.load_der_x509_csr(changed).public_bytes(Encoding.PEM))
    said = refusal_of(capsys, signing(root, forged, out), out)
    assert said.startswith(f"bad-request-signature: {forged} ")


def test_a_key_that_is_not_the_roots_is_refused(
    root: Path, csr: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--key must be the private key of --root."""
    new_root(tmp_path / "other", name="Mesh Root B")
    capsys.readouterr()
    arguments = signing(root, csr, tmp_path / "a1.pem")
    arguments[arguments.index("--key") + 1] = str(tmp_path / "other" / "root-key.pem")
    said = refusal_of(capsys, arguments, tmp_path / "a1.pem")
    assert said.startswith("key-mismatch: the private key does not belong to the certificate root")


def test_a_request_for_the_roots_own_key_is_refused(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The root's key never goes into a bundle."""
    csr = request(tmp_path, "CN = I", "-key", str(root / "root-key.pem"))
    said = refusal_of(capsys, signing(root, csr, tmp_path / "a1.pem"), tmp_path / "a1.pem")
    assert said.startswith("key-of-the-root: ")


def test_a_root_without_room_cannot_sign(
    csr: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A root with pathlen 0 has no intermediates."""
    now = datetime.now(UTC)
    basic = x509.BasicConstraints(ca=True, path_length=0)
    tight = material.authority(
        "Tight", start=now - material.DAY, end=now + 5 * material.YEAR, basic=basic
    )
    (tmp_path / "root-cert.pem").write_text(tight.pem)
    (tmp_path / "root-key.pem").write_text(material.key_text(tight.key))
    said = refusal_of(capsys, signing(tmp_path, csr, tmp_path / "a1.pem"), tmp_path / "a1.pem")
    assert said.startswith("path-too-long: root allows no more than 0 CA certificates below it")


def test_other_kinds_of_names_are_refused(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """IP addresses and the like have no business in a mesh CA."""
    names = "subjectAltName=IP:10.0.0.1"
    csr = request(tmp_path, "CN = I", "-newkey", *P256, "-addext", names)
    said = refusal_of(capsys, signing(root, csr, tmp_path / "a1.pem"), tmp_path / "a1.pem")
    assert said.startswith("name-not-allowed: ")


def test_a_certificate_is_never_written_over_a_file(
    root: Path, csr: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--out must be a new file."""
    out = tmp_path / "a1.pem"
    out.write_text("precious")
    code, _, err = run(capsys, *signing(root, csr, out))
    assert (code, err.partition(":")[0], out.read_text()) == (1, "file-exists", "precious")


# What an independent linter says of the certificates


def test_the_linter_finds_errors_at_all() -> None:
    """A v3 CA certificate without key identifiers is reported: the linter does look."""
    bare = material.authority(
        "Bare",
        under=material.authority("Root"),
        leave_out=[x509.SubjectKeyIdentifier, x509.AuthorityKeyIdentifier],
    )
    assert lint_errors(bare.certificate) != []


@pytest.mark.parametrize("algorithm", ["ECDSA-P384", "ECDSA-P256", "RSA-2048"])
def test_a_new_root_lints_clean(tmp_path: Path, algorithm: str) -> None:
    """`root new` makes a certificate without findings of severity ERROR."""
    new_root(tmp_path, "--algorithm", algorithm, "--organization", "Example")
    made = x509.load_pem_x509_certificate((tmp_path / "root-cert.pem").read_bytes())
    assert lint_errors(made) == []


def test_a_signed_intermediate_lints_clean(root: Path, csr: Path, tmp_path: Path) -> None:
    """`sign` makes a certificate without findings of severity ERROR."""
    assert lint_errors(signed(root, csr, tmp_path / "a1.pem")) == []


def test_what_the_program_generates_lints_clean() -> None:
    """The shapes that pulumi-tls can express: a root with pathlen 1, an issuer without."""
    basic = {
        path_length: x509.BasicConstraints(ca=True, path_length=path_length)
        for path_length in (1, None)
    }
    root = material.authority("Root", basic=basic[1])
    issuer = material.authority("Issuer", under=root, basic=basic[None])
    assert lint_errors(root.certificate) == []
    assert lint_errors(issuer.certificate) == []


# On its own


def test_the_commands_need_no_pulumi() -> None:
    """The offline machine needs cryptography, and no Pulumi."""
    program = (
        "import sys, meshca.__main__, meshca.checking, meshca.offline, meshca.new_files;"
        "print(*{name.partition('.')[0] for name in sys.modules} & {'pulumi', 'grpc'})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


def test_a_process_ends_with_the_exit_code(istio_files: Path, tmp_path: Path) -> None:
    """`python -m meshca` passes the code on: 0, 1, 2."""
    codes = [
        subprocess.run(
            [sys.executable, "-m", "meshca", "check", str(directory)],
            cwd=REPOSITORY,
            capture_output=True,
            check=False,
        ).returncode
        for directory in (istio_files, tmp_path, tmp_path / "missing")
    ]
    assert codes == [0, 1, 2]


def test_a_reader_may_leave_early(istio_files: Path) -> None:
    """A closed pipe, as behind `| head -0`, gives no traceback, and is not told as a refusal."""
    process = subprocess.Popen(
        [sys.executable, "-m", "meshca", "check", str(istio_files)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    assert process.communicate()[1] == b""
    assert process.returncode == 141


def shell(line: str, *arguments: object) -> tuple[int, str]:
    """Exit code and standard error of a shell's line; `meshca` is the program."""
    program = f'meshca() {{ "{sys.executable}" -m meshca "$@"; }}; {line}'
    done = subprocess.run(
        ["sh", "-c", program, "sh", *map(str, arguments)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr


def test_a_full_disk_is_one_line(istio_files: Path) -> None:
    """When what is told cannot be written, that is told, and nobody takes it for done."""
    code, err = shell('meshca check "$1" >/dev/full', istio_files)
    assert code == 1
    [line] = err.splitlines()
    assert line.startswith(
        "cannot-write: standard output cannot be written: No space left on device."
    )


def test_a_closed_output_is_told_before_anything_is_done(tmp_path: Path) -> None:
    """No key is made that nobody is told of."""
    code, err = shell('meshca root new --common-name X --out "$1" >&-', tmp_path / "root")
    assert code == 1
    [line] = err.splitlines()
    assert line.startswith("cannot-write: standard output cannot be written: it is closed.")
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize("closed", ["2>&-", "2>/dev/full", "<&-", "<&- 2>&-"])
def test_a_new_root_is_whole_whatever_is_closed(tmp_path: Path, closed: str) -> None:
    """A key does not take the place of a closed stream, and so gets nothing else to hold."""
    code, err = shell(f'meshca root new --common-name X --out "$1" >/dev/null {closed}', tmp_path)
    assert (code, err) == (0, "")
    load_pem_private_key((tmp_path / "root-key.pem").read_bytes(), None)


def test_refusals_do_not_go_where_results_go(tmp_path: Path) -> None:
    """With standard error closed, standard output stays empty."""
    out = tmp_path / "out"
    assert shell('meshca report none.json >"$1" 2>&-', out) == (1, "")
    assert out.read_text() == ""


def stopping(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Makes `check` end with an error."""

    def check(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("meshca.checking.check", check)


def test_ctrl_c_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 130, which shells know, and no verdict."""
    stopping(monkeypatch, KeyboardInterrupt())
    assert run(capsys, "check", tmp_path) == (130, "", "Stopped; no file is half written.\n")


def test_ctrl_c_while_importing_is_one_line(tmp_path: Path) -> None:
    """Whoever stops a command before it has begun sees no traceback either."""
    program = (
        "import sys, meshca.__main__ as m\n"
        "class Stop:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'meshca.refusals': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Stop())\n"
        "sys.exit(m.main(['check', '.']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (130, "Stopped; no file is half written.\n")


def test_what_nobody_thought_of_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 70, with type and place; the message may hold a secret and is not shown."""
    stopping(monkeypatch, LookupError("hush"))
    code, out, err = run(capsys, "check", tmp_path)
    assert (code, out, len(err.splitlines())) == (70, "", 1)
    assert err.startswith("unexpected: LookupError at __main__.py:")
    assert "MESHCA_TRACEBACK=1" in err
    assert "hush" not in err


def test_more_is_shown_when_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With MESHCA_TRACEBACK=1 the error itself comes out."""
    stopping(monkeypatch, LookupError("hush"))
    monkeypatch.setenv("MESHCA_TRACEBACK", "1")
    with pytest.raises(LookupError, match="hush"):
        run(capsys, "check", tmp_path)
