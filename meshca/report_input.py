"""JSON that `pulumi` printed, out of a file or of standard input."""

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
    return _decoded(source, json.loads)


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
        text = sys.stdin.read() if source == STDIN else Path(source).read_text(encoding="utf-8")
        return decode(text)
    except OSError as error:
        raise Refused([_not_json(source, error.strerror or type(error).__name__)]) from None
    except (ValueError, RecursionError) as error:
        raise Refused([_not_json(source, f"not JSON: {error}")]) from None


def _not_json(source: str, why: str) -> Refusal:
    return Refusal(
        "not-json",
        f"{name(source)} cannot be read ({why})",
        "Give the file that `pulumi ... --json` wrote, or `-` for standard input.",
    )
