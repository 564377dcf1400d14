"""Passphrases of private keys, out of a file or asked for at the terminal. They are never shown."""

import getpass
import warnings
from pathlib import Path

from meshca.refusals import Refusal, Refused

MAX_BYTES = 1023
"""More is more than OpenSSL asks for (PEM_BUFSIZE), and than cryptography takes."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def of_file(path: Path) -> bytes:
    """The first line of a file, which may be a pipe. Raises Refused (`no-passphrase`)."""
    try:
        with path.open("rb") as file:
            line = file.readline(len(_BYTE_ORDER_MARK) + MAX_BYTES + len("\r\n"))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not a path"
        raise _no_passphrase(f"the passphrase file {path} cannot be read: {why}") from None
    line = line.removeprefix(_BYTE_ORDER_MARK).removesuffix(b"\n").removesuffix(b"\r")
    where = f"the first line of {path}"
    try:
        return _sound(line.decode(), where)
    except UnicodeError:
        # A long one may be cut in the middle of a letter.
        why = _TOO_LONG if len(line) > MAX_BYTES else "is no passphrase: it is not UTF-8 text"
        raise _no_passphrase(f"{where} {why}") from None


def new(path: Path | None, *, ask: bool) -> bytes | None:
    """The passphrase of a new key: out of a file, or asked for twice; None for none at all."""
    if path is not None:
        return of_file(path)
    if not ask:
        return None
    given = asked("Passphrase of the new key")
    if given != asked("Once more"):
        raise _no_passphrase("the two passphrases differ")
    return given


def asked(prompt: str) -> bytes:
    """What is typed at the terminal. Raises Refused (`no-passphrase`), also without a terminal."""
    try:
        with warnings.catch_warnings():
            # It would go on to read standard input, and show what is typed.
            warnings.simplefilter("error", getpass.GetPassWarning)
            given = getpass.getpass(f"{prompt}: ")
        return _sound(given, "the passphrase")
    except (getpass.GetPassWarning, EOFError, OSError):
        raise _no_passphrase("there is no terminal at which to ask for the passphrase") from None
    except UnicodeError:
        raise _no_passphrase("the passphrase that was typed is not UTF-8 text") from None


_TOO_LONG = f"has more than {MAX_BYTES} bytes, which is too long for a passphrase"


def _sound(text: str, where: str) -> bytes:
    if not text.strip():
        raise _no_passphrase(f"{where} is blank, which is no passphrase")
    found = text.encode()
    if len(found) > MAX_BYTES:
        raise _no_passphrase(f"{where} {_TOO_LONG}")
    return found


def _no_passphrase(reason: str) -> Refused:
    return Refused(
        [
            Refusal(
                "no-passphrase",
                reason,
                "Give another one, or another --passphrase-file; nothing was written.",
            )
        ]
    )
