"""The operator's commands: `python -m meshca --help`.

Exit codes: 0 when all is well, 1 when something is refused, 2 when the command is used wrongly.
Refusals of `check` are its result and go to stdout; those of other commands go to stderr.

Each command imports what it needs when it runs, so that none pays for another's imports.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from meshca.certificates import Key
    from meshca.refusals import Refused

app = typer.Typer(
    help="Roots, intermediates and bundles of a mesh CA. Needs no cluster and no network.",
    no_args_is_help=True,
    add_completion=False,
    # A traceback with local variables could show a private key.
    pretty_exceptions_enable=False,
)
root_app = typer.Typer(help="Offline roots.", no_args_is_help=True)
app.add_typer(root_app, name="root")

ALGORITHMS = ("ECDSA-P384", "ECDSA-P256", "RSA-4096", "RSA-3072", "RSA-2048")
MAX_DAYS = 36500
MAX_LEAF_TTL = timedelta(days=90)
"""MAX_WORKLOAD_CERT_TTL of istiod: it signs nothing longer."""


def _now() -> datetime:
    return datetime.now(UTC)


def _leaf_ttl(text: str) -> timedelta:
    from meshca import durations

    try:
        duration = durations.parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if not timedelta(0) < duration <= MAX_LEAF_TTL:
        raise typer.BadParameter("a leaf lives more than 0s and at most 90d")
    return duration


def _algorithm(text: str) -> str:
    if text.upper() not in ALGORITHMS:
        raise typer.BadParameter(f"one of {', '.join(ALGORITHMS)}")
    return text.upper()


Days = Annotated[int, typer.Option(min=1, max=MAX_DAYS, help="Lifetime in days.")]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="The first line of FILE is the passphrase of the root's private key."
    ),
]


@app.command()
def check(
    directory: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            exists=True,
            file_okay=False,
            readable=True,
            help="Holds root-cert.pem, ca-cert.pem, ca-key.pem and cert-chain.pem.",
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
    leaf_ttl: Annotated[
        timedelta,
        typer.Option(parser=_leaf_ttl, metavar="DURATION", help="Lifetime of the mesh's leaves."),
    ] = "24h",  # type: ignore[assignment]  # typer parses the default as well
) -> None:
    """Judge a bundle: draw its chains, or say everything that a mesh would break on."""
    from meshca import checking

    verdict = checking.check(directory, now=_now(), leaf_ttl=leaf_ttl)
    if as_json:
        import json

        typer.echo(json.dumps(verdict.as_json(), indent=2))
    else:
        typer.echo("\n".join(verdict.lines()))
    if verdict.refusals:
        raise typer.Exit(1)


@root_app.command()
def new(
    common_name: Annotated[
        str,
        typer.Option(
            "--common-name",
            "--name",
            help="Of the subject. Give each generation of the root one of its own: `Mesh Root G2`.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            metavar="DIR", file_okay=False, help="Where root-cert.pem and root-key.pem go."
        ),
    ],
    organization: Annotated[str | None, typer.Option(help="Of the subject.")] = None,
    algorithm: Annotated[
        str, typer.Option(parser=_algorithm, metavar="NAME", help=", ".join(ALGORITHMS))
    ] = ALGORITHMS[0],
    days: Days = 3650,
    encrypt: Annotated[
        bool, typer.Option("--encrypt", help="Ask for a passphrase, and encrypt the key with it.")
    ] = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Make an offline root: a certificate for the stack, a key that never leaves this machine."""
    from meshca import certificates, new_files, offline
    from meshca.refusals import Refused

    certificate_path, key_path = out / "root-cert.pem", out / "root-key.pem"
    try:
        new_files.refuse_existing(certificate_path, key_path)
        key = offline.make_key(offline.Algorithm(algorithm))
        root = offline.make_root(
            key,
            common_name=common_name,
            organization=organization,
            lifetime=timedelta(days=days),
            now=_now(),
        )
        passphrase = _new_passphrase(passphrase_file, encrypt)
        key_text = (
            offline.encrypted(key, passphrase) if passphrase else certificates.encode_key(key)
        )
        new_files.make_directory(out)
        new_files.write_pair(
            new_files.New(key_path, key_text, new_files.PRIVATE),
            new_files.New(certificate_path, certificates.encode(root), new_files.PUBLIC),
        )
    except Refused as refused:
        _stop(refused)
    typer.echo(f"{certificate_path}: {certificates.reference(common_name, root)}")
    typer.echo(f"{key_path}: its private key, {'encrypted' if passphrase else 'not encrypted'}")


@app.command()
def sign(
    request: Annotated[
        Path, typer.Argument(metavar="CSR", help="The request that the stack exports.")
    ],
    root: Annotated[Path, typer.Option(metavar="FILE", help="Certificate of the root.")],
    key: Annotated[Path, typer.Option(metavar="FILE", help="Private key of the root.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the certificate goes.")],
    days: Days = 365,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Sign the request of an intermediate under an offline root."""
    from meshca import certificates, new_files, offline
    from meshca.refusals import Refused

    try:
        new_files.refuse_existing(out)
        certificate = offline.sign(
            offline.parse_request(certificates.read_text(request), where=str(request)),
            name=str(request),
            root=certificates.read_certificate(root),
            root_key=_root_key(key, passphrase_file),
            lifetime=timedelta(days=days),
            now=_now(),
        )
        new_files.write(new_files.New(out, certificates.encode(certificate), new_files.PUBLIC))
    except Refused as refused:
        _stop(refused)
    subject = certificates.shown(certificate.subject)
    typer.echo(f"{out}: {certificates.reference(subject, certificate)}")


def _root_key(path: Path, passphrase_file: Path | None) -> "Key":
    from meshca import certificates

    def passphrase() -> bytes:
        if passphrase_file is not None:
            return _first_line(passphrase_file)
        text: str = typer.prompt(f"Passphrase of {path}", hide_input=True, err=True)
        return text.encode()

    return certificates.load_key(
        certificates.read_text(path), where=str(path), passphrase=passphrase
    )


def _new_passphrase(passphrase_file: Path | None, encrypt: bool) -> bytes | None:
    if passphrase_file is not None:
        return _first_line(passphrase_file)
    if not encrypt:
        return None
    text: str = typer.prompt(
        "Passphrase of the new key", hide_input=True, confirmation_prompt=True, err=True
    )
    return text.encode()


def _first_line(path: Path) -> bytes:
    from meshca import certificates
    from meshca.refusals import Refusal, Refused

    line = certificates.read_text(path).partition("\n")[0].rstrip("\r")
    if not line:
        raise Refused(
            [Refusal("no-passphrase", f"the first line of {path} is empty", "Write it there.")]
        )
    return line.encode()


def _stop(refused: "Refused") -> NoReturn:
    typer.echo(str(refused), err=True)
    raise typer.Exit(1)


if __name__ == "__main__":
    app(prog_name="python -m meshca")
