"""The detailed diff."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.provider.differences import Change, Kind, changes
from lab.provider.values import UNKNOWN

_names = st.text("x.", max_size=2)
_values = st.recursive(
    st.integers(0, 2) | st.text("ab", max_size=1),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_names, inner, max_size=2),
    max_leaves=4,
)
_inputs = st.dictionaries(_names, _values, max_size=2)


@given(_inputs)
def test_nothing_differs_from_itself(inputs: dict[str, Any]) -> None:
    """Equal inputs have no changes."""
    assert changes(inputs, inputs) == []


@given(_inputs, _inputs)
def test_what_is_unequal_differs(old: dict[str, Any], new: dict[str, Any]) -> None:
    """Unequal inputs have changes."""
    assert bool(changes(old, new)) == (old != new)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({}, {"a": 1}, Change("a", Kind.ADD)),
        ({"a": 1}, {}, Change("a", Kind.DELETE)),
        ({"a": {"b": [1]}}, {"a": {"b": [2]}}, Change("a.b[0]", Kind.UPDATE)),
        ({"a": {"b.c": 1}}, {"a": {"b.c": 2}}, Change('a["b.c"]', Kind.UPDATE)),
        ({"a": 1}, {"a": True}, Change("a", Kind.UPDATE)),
        ({"a": 1}, {"a": UNKNOWN}, Change("a", Kind.UPDATE)),
    ],
)
def test_a_change_names_its_path(
    old: dict[str, Any], new: dict[str, Any], expected: Change
) -> None:
    """Paths are written as Pulumi writes property paths."""
    assert changes(old, new) == [expected]


def test_a_change_below_a_replacing_path_replaces() -> None:
    """What lies below a path that replaces, replaces; a name with the same beginning does not."""
    found = changes({}, {"net": {"x": 1}, "network": 1}, replaces=["net"])
    assert [(change.path, change.replaces) for change in found] == [
        ("net", True),
        ("network", False),
    ]
    assert changes({"net": {"x": 1}}, {"net": {"x": 2}}, replaces=["net"])[0].replaces
