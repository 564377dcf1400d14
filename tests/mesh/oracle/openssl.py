"""What only the openssl command line still makes: SHA-1 signatures and version 1 certificates."""

import subprocess
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.mesh.oracle.making import Ca, key_pem

_EXTENSIONS = (
    "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n"
    "subjectKeyIdentifier=hash\n"
)


def make(name: str, above: Ca | None = None, *, digest: str = "sha256", version: int = 3) -> Ca:
    """Make an authority under another one, or self-signed."""
    with tempfile.TemporaryDirectory() as folder:
        return _make(Path(folder), name, above, digest, version)


def described(certificate: x509.Certificate) -> bytes:
    """Return a certificate with the text that `openssl x509 -text` writes before it."""
    encoded = certificate.public_bytes(serialization.Encoding.PEM)
    return subprocess.run(
        ["openssl", "x509", "-text"], input=encoded, capture_output=True, check=True
    ).stdout


def _make(folder: Path, name: str, above: Ca | None, digest: str, version: int) -> Ca:
    key = ec.generate_private_key(ec.SECP256R1())
    paths = {each: folder / each for each in ("key", "csr", "above-key", "above", "ext", "out")}
    for path, content in (
        (paths["key"], key_pem(key)),
        (paths["above-key"], key_pem(above.key if above else key)),
        (paths["above"], above.pem if above else b""),
        (paths["ext"], _EXTENSIONS.encode()),
    ):
        path.touch(mode=0o600)
        path.write_bytes(content)
    _openssl(
        "req", "-new", "-key", paths["key"], "-subj", f"/O=Lab/CN={name}", "-out", paths["csr"]
    )
    arguments: list[str | Path] = ["-in", paths["csr"], "-out", paths["out"], f"-{digest}"]
    arguments += ["-days", "365" if above else "3650"]
    arguments += ["-set_serial", str(x509.random_serial_number())]
    if above:
        arguments += ["-CA", paths["above"], "-CAkey", paths["above-key"]]
    else:
        arguments += ["-signkey", paths["key"]]
    if version == 3:
        arguments += ["-extfile", paths["ext"]]
    _openssl("x509", "-req", *arguments)
    return Ca(x509.load_pem_x509_certificate(paths["out"].read_bytes()), key)


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], capture_output=True, check=True)
