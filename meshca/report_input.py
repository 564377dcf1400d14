"""JSON that `pulumi` printed, out of a file or of standard input."""

import errno
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from meshca.refusals import Refusal, Refused

STDIN = "-"
T = TypeVar("T")


def name(source: str) -> str:
    """How a refusal calls the source."""
    return "standard input" if source == STDIN else source


def load(source: str) -> object:
    """The JSON document in the file `source`, or on standard input when it is `-`.

    Raises Refused (`not-json`) when there is none: a missing or unreadable file, text of another
    kind, more than one document.
    """

    def decode(text: str) -> object:
        if not text.strip():
            raise Refused([_empty(source)])
        return json.loads(text)

    return _decoded(source, decode)


def load_lines(source: str) -> list[dict[str, Any]]:
    """The JSON objects in the file `source`, one a line. Raises Refused as `load`."""

    def decode(text: str) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in text.splitlines() if line.strip()]
        if not all(isinstance(one, dict) for one in found):
            raise ValueError("not one JSON object a line")
        return found

    return _decoded(source, decode)


def _decoded(source: str, decode: Callable[[str], T]) -> T:
    try:
        data = _bytes(source)
        # PowerShell writes UTF-16 or a byte order mark when it redirects.
        text = data.decode(json.detect_encoding(data))
        return decode(text)
    except OSError as error:
        raise Refused([_not_json(source, error.strerror or type(error).__name__)]) from None
    except UnicodeDecodeError:
        raise Refused([_not_json(source, "it is not text")]) from None
    except (ValueError, RecursionError) as error:
        raise Refused([_not_json(source, f"not JSON: {error}")]) from None


def _bytes(source: str) -> bytes:
    if source != STDIN:
        return Path(source).read_bytes()
    if sys.stdin is None:
        raise OSError(errno.EBADF, "it is closed")
    return sys.stdin.buffer.read()


def _empty(source: str) -> Refusal:
    return Refusal(
        "not-json",
        f"{name(source)} is empty: `pulumi` wrote nothing",
        "Run `pulumi` again, and read what it says on standard error.",
    )


def _not_json(source: str, why: str) -> Refusal:
    return Refusal(
        "not-json",
        f"{name(source)} cannot be read ({why})",
        "Give the file that `pulumi ... --json` wrote, or `-` for standard input.",
    )
