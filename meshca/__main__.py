"""The operator's commands: `python -m meshca --help`.

Exit codes: 0 when all is well, 1 when something is refused, 2 when the command is used wrongly, 70
when this program is at fault; 130 and 141 when it was stopped by Ctrl-C or by a closed pipe.
Refusals of `check` are its result and go to stdout; those of other commands go to stderr. `verify`
ends with 3 when its worst finding is a warning, with 4 when it is an error.

argparse rather than typer: typer builds a pydantic model for each parameter, and importing the two
takes longer than all that `check` does. For the same reason a command imports what it needs only
when it runs. A command is two functions: one that declares it, one that runs it and returns the
exit code; Refused may pass through the latter.
"""

import argparse
import errno
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshca import streams

if TYPE_CHECKING:
    from meshca.certificates import Key

OK, REFUSED = 0, 1
AT_FAULT = 70
"""EX_SOFTWARE of sysexits.h: not a verdict on anything."""
STOPPED, PIPE_CLOSED = 130, 141
"""As shells tell of SIGINT and SIGPIPE."""

TRACEBACK = "MESHCA_TRACEBACK"
"""Set to 1, an unexpected error is shown as Python shows it, which may hold anything."""

ALGORITHMS = ("ECDSA-P384", "ECDSA-P256", "RSA-4096", "RSA-3072", "RSA-2048")
MAX_DAYS = 36500
MAX_LEAF_TTL = timedelta(days=90)
"""MAX_WORKLOAD_CERT_TTL of istiod: it signs nothing longer."""

Arguments = argparse.Namespace
Commands = Any
"""What `add_subparsers` returns; its type is private to argparse."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    try:
        return _settled(arguments)
    except BrokenPipeError:
        # Whoever read has seen enough (`| head`); say nothing more, at exit neither.
        streams.drop_output()
        return PIPE_CLOSED
    except KeyboardInterrupt:
        streams.say("Stopped; no file is half written.")
        return STOPPED
    except Exception as error:
        # The last resort, behind those that know the cause.
        if os.environ.get(TRACEBACK) == "1":
            raise
        # Not its message, which may hold what it stumbled over.
        streams.say(
            f"unexpected: {type(error).__name__} at {_place(error)}, a mistake in this program. "
            f"Set {TRACEBACK}=1 to see more, and report it."
        )
        return AT_FAULT


def _settled(arguments: Sequence[str] | None) -> int:
    """Runs one command; what is refused, and a standard output that is of no use, are told."""
    streams.settle()
    from meshca.refusals import Refused

    parsed = parser().parse_args(arguments)
    if sys.stdout is None:
        streams.say(_no_output("it is closed", "Redirect it, to /dev/null if need be."))
        return REFUSED
    run: Callable[[Arguments], int] = parsed.run
    try:
        code = run(parsed)
        sys.stdout.flush()
    except Refused as refused:
        streams.say(str(refused))
        return REFUSED
    except BrokenPipeError:
        raise
    except OSError as error:
        # Commands tell of files themselves; what is left is the output, such as on a full disk.
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EBADF, errno.EFBIG):
            raise
        streams.drop_output()
        streams.say(
            _no_output(error.strerror, "Files that the command makes are written all the same.")
        )
        return REFUSED
    return code


def _no_output(why: str | None, then: str) -> str:
    return f"cannot-write: standard output cannot be written: {why}. {then}"


def _place(error: BaseException) -> str:
    """Where it was raised: the last file of this program that it passed, and the line."""
    place = "an unknown place"
    trace = error.__traceback__
    while trace is not None:
        file = Path(trace.tb_frame.f_code.co_filename)
        if file.parent == Path(__file__).parent:
            place = f"{file.name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place


def parser() -> argparse.ArgumentParser:
    """Every command and its options."""
    top = argparse.ArgumentParser(
        prog="python -m meshca",
        description="Roots, intermediates and bundles of a mesh CA.",
        allow_abbrev=False,
    )
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _declare_check(commands)
    _declare_root(commands)
    _declare_sign(commands)
    _declare_report(commands)
    _declare_fleet(commands)
    _declare_verify(commands)
    return top


def command(
    commands: Commands, name: str, run: Callable[[Arguments], int], about: str
) -> argparse.ArgumentParser:
    """Adds a command that `run` runs. `about` is one sentence."""
    added: argparse.ArgumentParser = commands.add_parser(
        name, help=about, description=about, allow_abbrev=False
    )
    added.set_defaults(run=run, misused=added.error)
    return added


# check


def _declare_check(commands: Commands) -> None:
    declared = command(
        commands,
        "check",
        _check,
        "Judge a bundle: draw its chains, or say everything that a mesh would break on.",
    )
    declared.add_argument(
        "directory",
        metavar="DIR",
        type=_directory,
        help="holds root-cert.pem, ca-cert.pem, ca-key.pem and cert-chain.pem",
    )
    declared.add_argument("--json", action="store_true", help="print JSON for machines")
    declared.add_argument(
        "--leaf-ttl",
        metavar="DURATION",
        type=_leaf_ttl,
        default="24h",
        help="longest life of a workload certificate, such as 24h or 7d (default: %(default)s)",
    )


def _check(arguments: Arguments) -> int:
    from meshca import checking

    verdict = checking.check(arguments.directory, now=_now(), leaf_ttl=arguments.leaf_ttl)
    if arguments.json:
        import json

        print(json.dumps(verdict.as_json(), indent=2))
    else:
        print("\n".join(verdict.lines()))
    return REFUSED if verdict.refusals else OK


# root new


def _declare_root(commands: Commands) -> None:
    group: argparse.ArgumentParser = commands.add_parser("root", help="Offline roots.")
    declared = command(
        group.add_subparsers(metavar="COMMAND", required=True),
        "new",
        _new_root,
        "Make an offline root: a certificate for the stack, a key that stays on this machine.",
    )
    declared.add_argument(
        "--common-name",
        "--name",
        required=True,
        metavar="NAME",
        help="of its subject; each generation of a root needs one of its own",
    )
    declared.add_argument(
        "--out", required=True, metavar="DIR", type=Path, help="for root-cert.pem and root-key.pem"
    )
    declared.add_argument("--organization", metavar="NAME", help="of its subject")
    declared.add_argument(
        "--algorithm",
        choices=ALGORITHMS,
        type=str.upper,
        default=ALGORITHMS[0],
        help="of its key (default: %(default)s)",
    )
    _declare_days(declared, 3650)
    declared.add_argument(
        "--encrypt", action="store_true", help="ask for a passphrase, and encrypt the key with it"
    )
    _declare_passphrase_file(declared)


def _new_root(arguments: Arguments) -> int:
    from meshca import certificates, new_files, offline, passphrases

    certificate_path = arguments.out / "root-cert.pem"
    key_path = arguments.out / "root-key.pem"
    new_files.refuse_existing(certificate_path, key_path)
    passphrase = passphrases.new(arguments.passphrase_file, ask=arguments.encrypt)
    key = offline.make_key(offline.Algorithm(arguments.algorithm))
    root = offline.make_root(
        key,
        common_name=arguments.common_name,
        organization=arguments.organization,
        lifetime=timedelta(days=arguments.days),
        now=_now(),
    )
    key_text = offline.encrypted(key, passphrase) if passphrase else certificates.encode_key(key)
    new_files.make_directory(arguments.out)
    new_files.write_pair(
        new_files.New(key_path, key_text, new_files.PRIVATE),
        new_files.New(certificate_path, certificates.encode(root), new_files.PUBLIC),
    )
    print(f"{certificate_path}: {certificates.described(root)}")
    print(f"{key_path}: its private key, {'encrypted' if passphrase else 'not encrypted'}")
    return OK


# sign


def _declare_sign(commands: Commands) -> None:
    declared = command(
        commands, "sign", _sign, "Sign the request of an intermediate under an offline root."
    )
    declared.add_argument(
        "request", metavar="CSR", type=Path, help="the request that the stack exports"
    )
    declared.add_argument(
        "--root", required=True, metavar="FILE", type=Path, help="certificate of the root"
    )
    declared.add_argument(
        "--key", required=True, metavar="FILE", type=Path, help="private key of the root"
    )
    declared.add_argument(
        "--out", required=True, metavar="FILE", type=Path, help="where the certificate goes"
    )
    _declare_days(declared, 365)
    _declare_passphrase_file(declared)


def _sign(arguments: Arguments) -> int:
    from meshca import certificates, new_files, offline

    new_files.refuse_existing(arguments.out)
    request_text = certificates.read_text(arguments.request, decode=certificates.DECODE_REQUEST)
    certificate = offline.sign(
        offline.parse_request(request_text, where=str(arguments.request)),
        name=str(arguments.request),
        root=offline.parse_root(certificates.read_text(arguments.root), where=str(arguments.root)),
        root_key=_root_key(arguments.key, arguments.passphrase_file),
        lifetime=timedelta(days=arguments.days),
        now=_now(),
    )
    text = certificates.encode(certificate)
    new_files.write(new_files.New(arguments.out, text, new_files.PUBLIC))
    print(f"{arguments.out}: {certificates.described(certificate)}")
    return OK


# report


def _declare_report(commands: Commands) -> None:
    declared = command(
        commands,
        "report",
        _report,
        "Tell in words what a stack recorded, or as Markdown what a preview would make of it.",
    )
    told = declared.add_mutually_exclusive_group(required=True)
    told.add_argument(
        "source",
        nargs="?",
        metavar="FILE",
        help="the output `rotation`, or all that `pulumi stack output --json` prints; - for stdin",
    )
    told.add_argument(
        "--preview",
        metavar="FILE",
        help="what `pulumi preview --json` prints; ends with 1 when it should not be merged",
    )
    declared.add_argument(
        "--events",
        metavar="FILE",
        help="with --preview: the engine's event log, which tells of policies",
    )
    declared.add_argument(
        "--stack",
        metavar="NAME",
        help="with --preview: the stack, for a preview that ended before it came to any resource",
    )


def _report(arguments: Arguments) -> int:
    from meshca import report, report_input

    if arguments.preview is not None:
        return _report_preview(arguments)
    if arguments.events is not None:
        arguments.misused("--events goes with --preview")
    where = report_input.name(arguments.source)
    outputs = report.read(report_input.load(arguments.source), where=where, copied=True)
    print("\n".join(report.lines(outputs, now=_now())))
    return OK


def _report_preview(arguments: Arguments) -> int:
    from meshca import preview, report_input, report_markdown

    found = preview.read(
        report_input.load(arguments.preview),
        where=report_input.name(arguments.preview),
        events=report_input.load_lines(arguments.events) if arguments.events else (),
    )
    named = replace(found, stack=arguments.stack or found.stack)
    print(report_markdown.markdown(named, now=_now()), end="")
    return OK if found.admitted else REFUSED


# fleet


def _declare_fleet(commands: Commands) -> None:
    declared = command(
        commands,
        "fleet",
        _fleet,
        "Show where the meshes of the backend stand; ends with 1 when one needs attention.",
    )
    declared.add_argument(
        "stacks", nargs="*", metavar="STACK", help="only these; by default, all of the backend"
    )
    declared.add_argument(
        "--html", metavar="FILE", type=Path, help="write one self-contained page to FILE too"
    )
    declared.add_argument(
        "--days",
        type=_days,
        default=30,
        help="how soon an end needs attention (default: %(default)s)",
    )


def _fleet(arguments: Arguments) -> int:
    from meshca import fleet, fleet_backend, fleet_page, new_files

    stacks = arguments.stacks
    members = fleet_backend.named(stacks) if stacks else fleet_backend.every_mesh()
    now, within = _now(), timedelta(days=arguments.days)
    print("\n".join(fleet.table(members, now=now)))
    found = fleet.concerns(members, now=now, within=within)
    for stack, concern in found:
        print(f"{stack}: {concern}", file=sys.stderr)
    if arguments.html is not None:
        new_files.replace(arguments.html, fleet_page.page(members, now=now, within=within))
    return REFUSED if found else OK


# verify


def _declare_verify(commands: Commands) -> None:
    declared = command(
        commands,
        "verify",
        _verify,
        "Look into the cluster: does istiod use what the stack recorded, and who lags?",
    )
    declared.epilog = (
        "Exit codes: 0 all is well, 1 the cluster or the stack cannot be read, 2 wrong usage, "
        "3 the worst finding is a warning, 4 it is an error."
    )
    declared.add_argument(
        "--stack", metavar="NAME", help="the stack (default: the one that is selected)"
    )
    declared.add_argument(
        "--kubeconfig",
        metavar="FILE",
        type=Path,
        help="of the cluster (default: cluster.kubeconfig of the stack, else kubectl's own with "
        "the context that is called as the cluster)",
    )
    declared.add_argument(
        "--ledger",
        metavar="FILE",
        help="the output `rotation`, in place of asking the stack for it; - for stdin",
    )
    declared.add_argument("--json", action="store_true", help="print JSON for machines")


def _verify(arguments: Arguments) -> int:
    from meshca import verify_command

    source = verify_command.Source(arguments.stack, arguments.kubeconfig, arguments.ledger)
    return verify_command.main(source, as_json=arguments.json)


# What the commands share


def _now() -> datetime:
    return datetime.now(UTC)


def _directory(text: str) -> Path:
    path = Path(text)
    try:
        found = path.is_dir()
    except OSError:
        # Why it cannot be looked at is a verdict.
        return path
    if not found:
        raise argparse.ArgumentTypeError(f"{text} is not a directory")
    return path


def _leaf_ttl(text: str) -> timedelta:
    from meshca import durations

    try:
        duration = durations.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from None
    if not timedelta(0) < duration <= MAX_LEAF_TTL:
        raise argparse.ArgumentTypeError(f"{text}: a leaf lives more than 0s and at most 90d")
    return duration


def _days(text: str) -> int:
    digits = text.lstrip("0")
    # Python reads no number of thousands of digits.
    short = text.isascii() and text.isdigit() and 0 < len(digits) <= len(str(MAX_DAYS))
    if not short or int(digits) > MAX_DAYS:
        raise argparse.ArgumentTypeError(f"{text}: whole days, 1 to {MAX_DAYS}")
    return int(digits)


def _declare_days(declared: argparse.ArgumentParser, default: int) -> None:
    declared.add_argument(
        "--days", type=_days, default=default, help="its lifetime (default: %(default)s)"
    )


def _declare_passphrase_file(declared: argparse.ArgumentParser) -> None:
    declared.add_argument(
        "--passphrase-file",
        metavar="FILE",
        type=Path,
        help="its first line is the passphrase of the root's key, which is else asked for",
    )


def _root_key(path: Path, passphrase_file: Path | None) -> "Key":
    from meshca import certificates, passphrases

    def passphrase() -> bytes:
        if passphrase_file is not None:
            return passphrases.of_file(passphrase_file)
        return passphrases.asked(f"Passphrase of {path}")

    text = certificates.read_text(path, decode=certificates.DECODE_KEY)
    return certificates.load_key(text, where=str(path), passphrase=passphrase)


if __name__ == "__main__":
    sys.exit(main())
