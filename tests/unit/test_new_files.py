"""Files that are written once: what is there after success, failure and a crash."""

import errno
import os
from pathlib import Path

import pytest

from meshca import new_files
from meshca.new_files import New
from meshca.refusals import Refused


def listing(directory: Path) -> dict[str, str]:
    """Every file of a directory, hidden ones as well, with its text."""
    return {path.name: path.read_text() for path in directory.iterdir()}


def test_nothing_is_left_beside_the_file(tmp_path: Path) -> None:
    """One file in, one file there."""
    new_files.write(New(tmp_path / "a", "text\n", new_files.PUBLIC))
    assert listing(tmp_path) == {"a": "text\n"}


def test_a_file_that_appears_meanwhile_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever takes the name between the check and the write keeps it."""
    link = os.link

    def slow_link(source: Path, target: Path, **options: bool) -> None:
        target.write_text("theirs")
        link(source, target, **options)

    monkeypatch.setattr(os, "link", slow_link)
    with pytest.raises(Refused, match="file-exists"):
        new_files.write(New(tmp_path / "a", "ours", new_files.PUBLIC))
    assert listing(tmp_path) == {"a": "theirs"}


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails half-way leaves neither the file nor its half."""

    def no_room(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_room)
    with pytest.raises(Refused, match="cannot be written: No space left on device"):
        new_files.write(New(tmp_path / "a", "text", new_files.PUBLIC))
    assert listing(tmp_path) == {}


def test_the_text_is_private_from_its_first_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the file has its name and its mode, nobody else can read it."""
    modes: list[int] = []
    chmod = os.fchmod

    def watching(handle: int, mode: int) -> None:
        modes.append(os.fstat(handle).st_mode & 0o777)
        chmod(handle, mode)

    monkeypatch.setattr(os, "fchmod", watching)
    before = os.umask(0)
    try:
        new_files.write(New(tmp_path / "a", "text", new_files.PUBLIC))
    finally:
        os.umask(before)
    assert modes == [0o600]


def test_a_file_system_without_hard_links_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A USB stick with FAT takes a certificate, and still never over a file."""

    def no_links(source: Path, target: Path, **options: bool) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    new_files.write(New(tmp_path / "a", "first", new_files.PUBLIC))
    with pytest.raises(Refused, match="file-exists"):
        new_files.write(New(tmp_path / "a", "second", new_files.PUBLIC))
    assert listing(tmp_path) == {"a": "first"}


def test_a_pair_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    """When the second cannot be written, the first is taken back."""
    (tmp_path / "b").write_text("theirs")
    with pytest.raises(Refused, match="file-exists"):
        new_files.write_pair(
            New(tmp_path / "a", "key", new_files.PRIVATE),
            New(tmp_path / "b", "certificate", new_files.PUBLIC),
        )
    assert listing(tmp_path) == {"b": "theirs"}
