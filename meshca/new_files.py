"""Files that are written whole or not at all, and never over another unless that is asked for."""

import errno
import os
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path

from meshca.refusals import Refusal, Refused

PUBLIC = 0o644
PRIVATE = 0o600


@dataclass(frozen=True, slots=True)
class New:
    """A file to write: where, what, with which permissions."""

    path: Path
    text: str = field(repr=False)
    mode: int


_NO_HARD_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


def refuse_existing(*paths: Path) -> None:
    """Raises Refused when something is already at one of `paths`, be it a dangling link.

    To say so before work is done, or a passphrase asked for; `write` makes sure of it.
    """
    taken = [_exists(path) for path in paths if os.path.lexists(path)]
    if taken:
        raise Refused(taken)


def write(new: New) -> None:
    """Writes a file that must not exist yet, with exactly its mode, whatever the umask.

    At every moment, through any crash, the file is absent or whole: the text goes to a file beside
    it, mode 0600 from its first byte, which then gets the name as well. Raises Refused.
    """
    path = new.path
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
        try:
            with os.fdopen(handle, "w", encoding="ascii", newline="\n") as file:
                file.write(new.text)
                file.flush()
                os.fchmod(file.fileno(), new.mode)
                os.fsync(file.fileno())
            _name(beside, path)
        finally:
            beside.unlink(missing_ok=True)
    except FileExistsError:
        raise Refused([_exists(path)]) from None
    except OSError as error:
        raise Refused([_unwritable(path, error)]) from None


def replace(path: Path, text: str) -> None:
    """Writes a file, over an older one too, whose permissions and links it keeps.

    Through any crash, or a disk that is full, the older text is there until the new one is whole.
    What is no file, such as a pipe, is written to. Raises Refused (`cannot-write`).
    """
    data = text.encode(errors="backslashreplace")
    beside: Path | None = None
    try:
        target = path.resolve()
        before = target.stat() if target.exists() else None
        if before is not None and not stat.S_ISREG(before.st_mode):
            target.write_bytes(data)
            return
        beside = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
        # The umask counts for a new file.
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            if before is not None:
                os.fchmod(file.fileno(), stat.S_IMODE(before.st_mode))
            os.fsync(file.fileno())
        os.replace(beside, target)
    except (OSError, RuntimeError, ValueError) as error:
        # A loop of links is a RuntimeError, a NUL in the name a ValueError.
        raise Refused([_unwritable(path, error)]) from None
    finally:
        if beside is not None:
            beside.unlink(missing_ok=True)


def write_pair(first: New, second: New) -> None:
    """Writes both files or, unless the machine stops in between, none of them. Raises Refused."""
    write(first)
    try:
        write(second)
    except BaseException:
        first.path.unlink()
        raise


def make_directory(path: Path) -> None:
    """The directory, for its owner only if it has to be made. Raises Refused."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Refused([_unwritable(path, error)]) from None


def _name(beside: Path, path: Path) -> None:
    """Gives the file its name, which fails when the name is taken, as a rename would not."""
    try:
        os.link(beside, path, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        # FAT, the file system of USB sticks, has no hard links: take the name first, then rename.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE))
        os.replace(beside, path)


def _exists(path: Path) -> Refusal:
    return Refusal(
        "file-exists",
        f"{path} exists, and nothing is ever written over a file",
        "Name another one, or move that one away.",
    )


def _unwritable(path: Path, error: Exception) -> Refusal:
    why = error.strerror if isinstance(error, OSError) else "it is not a path"
    return Refusal(
        "cannot-write",
        f"{path} cannot be written: {why}",
        "Name a directory that exists, that you may write to, and that has room.",
    )
