"""What the tests of the components share."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.components.recorder import Run
from tests.components.stacks import GENERATED, TWO_ROOTS, Stack


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of the stack's own, in which the program runs."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def stack() -> Stack:
    """A stack before its first `up`."""
    return Stack()


@pytest.fixture(scope="session")
def _after_first_up() -> tuple[Stack, Run]:
    stack = Stack()
    return stack, stack.up(GENERATED)


@pytest.fixture
def converged(_after_first_up: tuple[Stack, Run]) -> Stack:
    """A stack after its first `up`."""
    return _after_first_up[0].copy()


@pytest.fixture(scope="session")
def first_up(_after_first_up: tuple[Stack, Run]) -> Run:
    """The first `up` of a generated authority; not to be changed."""
    return _after_first_up[1]


@pytest.fixture(scope="session")
def rotation() -> Mapping[str, Run]:
    """A whole root rotation, an `up` for each stance, by stance; not to be changed."""
    return Stack().rotate(
        TWO_ROOTS,
        "steady a1",
        "distribute a1 b1",
        "switch a1 b1",
        "retire a1 b1",
        "steady b1",
    )
