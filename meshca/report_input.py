"""JSON that `pulumi` printed, out of a file or of standard input."""

import json
import sys
from pathlib import Path

from meshca.refusals import Refusal, Refused

STDIN = "-"


def name(source: str) -> str:
    """How a refusal calls the source."""
    return "standard input" if source == STDIN else source


def load(source: str) -> object:
    """The JSON document in the file `source`, or on standard input when it is `-`.

    Raises Refused (`not-json`) when there is none: a missing or unreadable file, text of another
    kind, more than one document.
    """
    try:
        text = sys.stdin.read() if source == STDIN else Path(source).read_text(encoding="utf-8")
        return json.loads(text)
    except OSError as error:
        raise Refused([_not_json(source, error.strerror or type(error).__name__)]) from None
    except (ValueError, RecursionError) as error:
        raise Refused([_not_json(source, f"not one JSON document: {error}")]) from None


def _not_json(source: str, why: str) -> Refusal:
    return Refusal(
        "not-json",
        f"{name(source)} cannot be read ({why})",
        "Give the file that `pulumi ... --json` wrote, or `-` for standard input.",
    )
