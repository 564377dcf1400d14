"""Reading istiod's log, with lines as it writes them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshca.istiod_log import IstiodLog, Served, signer

A1 = Served("CN=Root A,O=Istio", "CN=Issuer A1,O=Istio", "a1")
B1 = Served("CN=Root B,O=Istio", "CN=Issuer B1,O=Istio", "b1")


def leaf(issuer: Served, serial: str = "1eaf") -> Served:
    """istiod's own certificate."""
    return Served(issuer.subject, "", serial)


def loaded(second: int, *chain: Served) -> list[str]:
    """The lines of one load, a millisecond each."""
    lines = [
        f'x509 cert - Issuer: "{each.issuer}", Subject: "{each.subject}", SN: {each.serial}, '
        'NotBefore: "2026-11-24T09:00:00Z", NotAfter: "2027-11-24T09:00:00Z"'
        for each in chain
    ]
    lines.append("Istiod certificates are reloaded")
    return [
        f"2026-11-24T10:00:{second:02}.{number:03}000Z\tinfo\t{line}"
        for number, line in enumerate(lines)
    ]


def line(second: int, text: str) -> str:
    """One line."""
    return f"2026-11-24T10:00:{second:02}.000000Z\terror\t{text}"


def read(*lines: str) -> IstiodLog:
    """A log of these lines."""
    log = IstiodLog()
    log.feed(lines)
    return log


def test_the_last_load_counts() -> None:
    """A later chain replaces an earlier one."""
    log = read(*loaded(1, leaf(A1), A1), *loaded(2, leaf(B1), B1, A1))
    assert log.chain == (leaf(B1), B1, A1)


def test_a_load_counts_once_it_is_over() -> None:
    """Lines without the one that ends them are not a chain yet."""
    log = read(*loaded(1, leaf(A1), A1), *loaded(2, leaf(B1), B1)[:-1])
    assert log.chain == (leaf(A1), A1)


def test_other_lines_may_come_between() -> None:
    """Other goroutines go on logging."""
    first, *rest = loaded(1, leaf(A1), A1)
    assert read(first, line(1, "ads: push request"), *rest).chain == (leaf(A1), A1)


def test_json_lines_are_read_too() -> None:
    """With --log_as_json the quotes are escaped."""
    lines = [
        json.dumps({"level": "info", "time": text.split("\t")[0], "msg": text.split("\t")[2]})
        for text in loaded(1, leaf(A1), A1)
    ]
    assert read(*lines).chain == (leaf(A1), A1)


@pytest.mark.parametrize(
    "text",
    [
        "Failed to update new Plug-in CA certs: the cert does not match the key",
        "Updating new ROOT-CA not supported",
        "Multi root is disabled, updating new ROOT-CA not supported",
    ],
)
def test_a_refusal_is_kept_until_the_next_load(text: str) -> None:
    """What a running istiod refused, and that it is over once something was taken."""
    refused = read(*loaded(1, leaf(A1), A1), line(2, text))
    assert refused.refusal == line(2, text)
    refused.feed(loaded(3, leaf(B1), B1))
    assert refused.refusal is None


@pytest.mark.parametrize(
    ("text", "self_signed"),
    [
        ("No plugged-in cert at etc/cacerts/ca-key.pem; self-signed cert is used", True),
        ("Use self-signed certificate as the CA certificate", True),
        ("Use plugged-in cert at etc/cacerts/ca-key.pem", False),
        ("Use local CA certificate", False),
        ("Starting gRPC server", None),
    ],
)
def test_whose_ca_it_started_with(text: str, self_signed: bool | None) -> None:
    """In the words of old and new releases; unknown when the start was rotated away."""
    assert read(line(1, text)).self_signed is self_signed


@given(st.integers(0, 14), st.integers(0, 14))
def test_pieces_may_overlap(one: int, other: int) -> None:
    """Reading in pieces that overlap says the same as reading all at once."""
    lines = [
        *loaded(1, leaf(A1), A1),
        line(2, "Updating new ROOT-CA not supported"),
        *loaded(3, leaf(A1, "2"), B1, A1),
        *loaded(4, leaf(B1), B1, A1),
    ]
    whole, pieces = read(*lines), IstiodLog()
    middle, again = sorted((min(one, len(lines)), min(other, len(lines))), reverse=True)
    for piece in (lines[:middle], lines[again:]):
        pieces.feed(piece)
    assert (pieces.chain, pieces.refusal, pieces.until) == (
        whole.chain,
        whole.refusal,
        whole.until,
    )


@pytest.mark.parametrize(
    ("chain", "serial"),
    [
        ((), None),
        ((leaf(A1), A1), "a1"),
        ((leaf(A1), B1, A1), "a1"),
        ((leaf(B1), B1, A1), "b1"),
        ((leaf(A1), B1), None),
        ((leaf(A1), A1, Served("CN=Root B,O=Istio", A1.subject, "a2")), None),
    ],
    ids=["nothing", "alone", "first of two", "second of two", "not in chain", "two of one name"],
)
def test_the_signer_is_the_one_that_the_leaf_names(
    chain: tuple[Served, ...], serial: str | None
) -> None:
    """By subject, as the log tells nothing else; unknown when that does not tell."""
    assert signer(chain) == serial
