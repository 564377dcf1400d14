"""PEM text as people and tools write it: the blocks in it, and what istiod could not read.

RFC 7468 (textual encodings), read leniently. Labels and line numbers may be shown to a user, the
text between the markers never: it may be a private key.
"""

import base64
import binascii
import re
from dataclasses import dataclass, field
from itertools import pairwise

BYTE_ORDER_MARK = "\ufeff"

_MARKER = re.compile(r"-----(BEGIN|END) ([^-\n]+)-----")
_ANY_MARKER = re.compile(r"-----(?:BEGIN|END) ")
_WHOLE_MARKER_LINE = re.compile(r"-----(?:BEGIN|END) [^-\n]+-----[ \t]*")
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")
_PRINTABLE_LABEL = re.compile(r"[A-Z0-9 #.]{1,40}")
_LINE_BREAKS_AND_BLANKS = str.maketrans("", "", " \t\r\n")


@dataclass(frozen=True, slots=True)
class Block:
    """One block: its label, its DER (None when the base64 is damaged), its RFC 1421 headers."""

    label: str
    der: bytes | None = field(repr=False)
    headers: str = field(repr=False)
    body: str = field(repr=False)

    def text(self) -> str:
        """The block alone, as PEM. Secret, if the block is."""
        body = self.body
        if self.der is not None and not self.headers:
            lines = base64.b64encode(self.der).decode()
            body = "".join(f"\n{lines[at : at + 64]}" for at in range(0, len(lines), 64)) + "\n"
        return f"-----BEGIN {self.label}-----{body}-----END {self.label}-----\n"

    @property
    def is_private_key(self) -> bool:
        """Whether the label says private key, of any form, encrypted or not."""
        return self.label.endswith("PRIVATE KEY")

    @property
    def shown_label(self) -> str:
        """The label, unless it is so odd that it could be anything."""
        return self.label if _PRINTABLE_LABEL.fullmatch(self.label) else "(unprintable)"


def blocks(text: str) -> list[Block]:
    """Every block of `text`, in order; whatever stands around them is skipped.

    Lenient on purpose: CRLF, indentation, blank lines, any line length, a missing final newline
    and a byte order mark change nothing.
    """
    text = text.replace("\r\n", "\n")
    return [
        _block(begin[2], text[begin.end() : end.start()])
        for begin, end in pairwise(_MARKER.finditer(text))
        if _is_pair(begin, end)
    ]


def has_stray_marker(text: str) -> bool:
    """Whether there is a BEGIN or END, or the start of one, that no block accounts for."""
    return len(_ANY_MARKER.findall(text)) != 2 * sum(
        _is_pair(begin, end) for begin, end in pairwise(_MARKER.finditer(text))
    )


def _is_pair(begin: re.Match[str], end: re.Match[str]) -> bool:
    return (begin[1], end[1]) == ("BEGIN", "END") and begin[2] == end[2]


def oddity(text: str) -> str | None:
    """What keeps istiod from finding every block of `text`, or None.

    Source: Go's encoding/pem, which takes a marker only when it has a line of its own, from the
    first column on. A byte order mark, indentation (a YAML slip) and two files joined without a
    newline between them all hide a block from it (facts of istiod's start-up, case table).
    """
    if text.startswith(BYTE_ORDER_MARK):
        return "it starts with a byte order mark"
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        if _ANY_MARKER.search(line) and not _WHOLE_MARKER_LINE.fullmatch(line):
            return f"the BEGIN or END marker in line {number} does not have that line to itself"
    if has_stray_marker(text):
        return "it has a BEGIN or END line without its counterpart"
    return None


def _block(label: str, body: str) -> Block:
    headers, _, rest = body.rpartition("\n\n") if ":" in body else ("", "", body)
    digits = rest.translate(_LINE_BREAKS_AND_BLANKS)
    # Python would let surplus padding pass, and Go does not.
    whole = len(digits) % 4 == 0 and _BASE64.fullmatch(digits)
    der = binascii.a2b_base64(digits) if whole else None
    return Block(label=label, der=der, headers=headers.strip(), body=body)
