"""Refusals and mistakes as Pulumi shows them: the message alone, without a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager

import pulumi

from meshca.refusals import Refused
from meshca.settings import SettingsError


@contextmanager
def refusing() -> Iterator[None]:
    """Whatever is refused inside ends the program in plain words. Also a function decorator."""
    try:
        yield
    except (Refused, SettingsError) as refused:
        raise pulumi.RunError(str(refused)) from refused
