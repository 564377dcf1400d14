"""`meshca check` against the real istiod, agent and Envoy, bundle by bundle."""

from collections.abc import Mapping

import pytest

from tests.mesh.oracle import document
from tests.mesh.oracle.cases import Case, table
from tests.mesh.oracle.offer import Observation, offer

pytestmark = pytest.mark.mesh

CASES = table()


@pytest.fixture(scope="module")
def observed() -> Mapping[str, Observation]:
    """Return what became of each bundle, by its name."""
    return {each.case.name: each for each in offer(CASES)}


def _named(case: Case) -> str:
    return case.name


@pytest.mark.parametrize("case", CASES, ids=_named)
def test_the_table_tells_what_istiod_and_peers_do(
    observed: Mapping[str, Observation], case: Case
) -> None:
    """istiod starts or not, and peers verify or not, as the bundle's group says."""
    observation = observed[case.name]
    expected = "sound" if case.group == "stricter" else case.group
    assert observation.outcome == expected, observation


@pytest.mark.parametrize("case", CASES, ids=_named)
def test_we_accept_what_is_sound_and_nothing_else(
    observed: Mapping[str, Observation], case: Case
) -> None:
    """`meshca check` refuses whatever istiod or a peer refuses, and what it gives a reason for."""
    observation = observed[case.name]
    sound = observation.outcome == "sound" and case.group != "stricter"
    assert (observation.ours == ()) == sound, observation


def test_the_table_is_large_enough_and_names_each_bundle_once() -> None:
    """At least 60 bundles, of every group, none twice."""
    assert len({case.name for case in CASES}) == len(CASES) >= 60
    assert {case.group for case in CASES} == {"sound", "refused", "trap", "stricter"}


def test_the_document_is_what_came_out(observed: Mapping[str, Observation]) -> None:
    """docs/what-istiod-accepts.md is this run's table; `python -m tests.mesh.oracle` writes it."""
    fresh = document.render([observed[case.name] for case in CASES])
    assert document.PATH.read_text(encoding="ascii") == fresh
