"""Passphrases: which are taken, out of which files, and what is said of the others."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from meshca import passphrases
from meshca.refusals import Refused

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("held", "passphrase"),
    [
        (b"correct horse\nsecond line", b"correct horse"),
        (b"correct horse\r\n", b"correct horse"),
        (b"\xef\xbb\xbfcorrect horse\n", b"correct horse"),
        (b" blanks stay ", b" blanks stay "),
        ("Z\u00fcrich\n".encode(), "Z\u00fcrich".encode()),
        (b"x" * 1023 + b"\r\n", b"x" * 1023),
        (b"\xef\xbb\xbf" + b"x" * 1023, b"x" * 1023),
    ],
)
def test_the_first_line_is_the_passphrase(tmp_path: Path, held: bytes, passphrase: bytes) -> None:
    """Without its end and without a byte order mark, and nothing else is taken away."""
    file = tmp_path / "passphrase"
    file.write_bytes(held)
    assert passphrases.of_file(file) == passphrase


@pytest.mark.parametrize(
    ("held", "told"),
    [
        (b"", "the first line of {} is blank"),
        (b"\nhush", "the first line of {} is blank"),
        (b" \t \n", "the first line of {} is blank"),
        (b"\xef\xbb\xbf\n", "the first line of {} is blank"),
        (b"h\xfcsh", "the first line of {} is no passphrase: it is not UTF-8 text"),
        (b"\xff\xfeh\x00u\x00", "the first line of {} is no passphrase: it is not UTF-8 text"),
        (b"x" * 1024, "the first line of {} has more than 1023 bytes"),
        (b"x" * 9999, "the first line of {} has more than 1023 bytes"),
        ("\u00fc".encode() * 9999, "the first line of {} has more than 1023 bytes"),
    ],
)
def test_what_is_no_passphrase_is_refused(tmp_path: Path, held: bytes, told: str) -> None:
    """In one line that says what is wrong with it, and shows nothing of it."""
    file = tmp_path / "file"
    file.write_bytes(held)
    with pytest.raises(Refused) as refused:
        passphrases.of_file(file)
    line = str(refused.value)
    assert line.startswith(f"no-passphrase: {told.format(file)}")
    assert "PEM" not in line
    assert not any(shown in line for shown in ("hush", "xxx", "\u00fc", "fc", "\n"))


def test_a_passphrase_may_come_through_a_pipe(tmp_path: Path) -> None:
    """As `<(...)` and /dev/stdin give it: a secret store needs no file."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("correct horse\n",))
    writer.start()
    assert passphrases.of_file(pipe) == b"correct horse"
    writer.join()


@pytest.mark.parametrize(
    ("name", "why"), [("none", "No such file"), (".", "Is a directory"), ("x" * 999, "File name")]
)
def test_a_file_that_cannot_be_read_is_a_passphrase_file(
    tmp_path: Path, name: str, why: str
) -> None:
    """The words are about a passphrase, not about PEM."""
    with pytest.raises(Refused, match=f"the passphrase file .* cannot be read: {why}"):
        passphrases.of_file(tmp_path / name)


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("", "the passphrase is blank"),
        ("  ", "the passphrase is blank"),
        ("x" * 1024, "the passphrase has more than 1023 bytes"),
        ("h\udcfcsh", "the passphrase that was typed is not UTF-8 text"),
    ],
)
def test_what_is_typed_is_held_to_the_same(
    monkeypatch: pytest.MonkeyPatch, typed: str, told: str
) -> None:
    """Blank, overlong and undecodable answers are refused in one line."""
    monkeypatch.setattr("getpass.getpass", lambda prompt: typed)
    with pytest.raises(Refused) as refused:
        passphrases.asked("Passphrase")
    assert str(refused.value).startswith(f"no-passphrase: {told}")


def test_without_a_terminal_nothing_is_asked(tmp_path: Path) -> None:
    """`--encrypt` where there is no terminal is one line, and standard input is not shown."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "meshca", "root", "new", "--common-name", "X", "--encrypt"),
            *("--out", str(tmp_path / "root")),
        ],
        cwd=REPOSITORY,
        input="hush\nhush\n",
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("no-passphrase: there is no terminal at which to ask")
    assert not (tmp_path / "root").exists()
