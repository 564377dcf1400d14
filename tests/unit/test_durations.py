"""Durations as stack files write them."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshca import durations


@given(st.integers(min_value=0, max_value=10**9))
def test_what_is_spelt_is_read_back(seconds: int) -> None:
    """Every duration of whole seconds has a text, and the text means that duration."""
    duration = timedelta(seconds=seconds)
    assert durations.parse(durations.spell(duration)) == duration


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("20s", timedelta(seconds=20)),
        ("90m", timedelta(minutes=90)),
        ("24h", timedelta(days=1)),
        ("7d", timedelta(days=7)),
        ("1d2h3m4s", timedelta(days=1, hours=2, minutes=3, seconds=4)),
        ("0s", timedelta(0)),
    ],
)
def test_units(text: str, duration: timedelta) -> None:
    """d, h, m and s, alone or descending."""
    assert durations.parse(text) == duration


@pytest.mark.parametrize(
    "text",
    ["", "24", "h", "1.5h", "-1h", "1h ", " 1h", "1m1h", "1h1h", "1w", "1ms", "1h\n", "\u0661h"],
)
def test_other_texts_are_refused(text: str) -> None:
    """No unit, no number, fractions, signs, blanks, units out of order or twice, other digits."""
    with pytest.raises(ValueError, match="such as 90m or 7d"):
        durations.parse(text)


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(0), "0s"),
        (timedelta(hours=24), "24h"),
        (timedelta(days=730), "730d"),
        (timedelta(minutes=90), "1h30m"),
        (timedelta(seconds=61), "1m1s"),
    ],
)
def test_spelling(duration: timedelta, text: str) -> None:
    """Days for whole days from two on, hours below."""
    assert durations.spell(duration) == text
