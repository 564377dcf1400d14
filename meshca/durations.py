"""Durations as stack files write them: whole days, hours, minutes and seconds, `7d` or `1h30m`."""

import re
from datetime import timedelta

_DAYS = r"([0-9]{1,6}d)?"
_CLOCK = r"([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?"

PATTERN = rf"^(?=[0-9]){_DAYS}{_CLOCK}$"
"""Every accepted text (JSON Schema reads it as Python does). Units descend, each at most once."""

GO_PATTERN = rf"^(?=[0-9]){_CLOCK}$"
"""The part of PATTERN that Go's time.ParseDuration reads too; Go has no unit for days."""

_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}


def parse(text: str) -> timedelta:
    """The duration that `text` writes; ValueError when it does not match PATTERN."""
    if not re.fullmatch(PATTERN, text):
        raise ValueError("a duration is whole numbers with units d, h, m, s, such as 90m or 7d")
    parts = re.findall(r"([0-9]+)([dhms])", text)
    return timedelta(**{_UNITS[unit]: int(number) for number, unit in parts})


def spell(duration: timedelta) -> str:
    """A text that `parse` reads back as `duration`, which is not negative and has whole seconds.

    Whole days are days from two on: one day is `24h`, as Istio's documents write it.
    """
    seconds = int(duration.total_seconds())
    if seconds >= 2 * 86400 and seconds % 86400 == 0:
        return f"{seconds // 86400}d"
    hours, rest = divmod(seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    parts = ((hours, "h"), (minutes, "m"), (seconds, "s"))
    return "".join(f"{number}{unit}" for number, unit in parts if number) or "0s"
