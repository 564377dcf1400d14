"""Kubeconfigs that cannot be used, refused without showing any of them."""

from __future__ import annotations

import pytest

from meshca.cluster_connection import Connection
from meshca.refusals import Refused

CLUSTER = "clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]"
CONTEXT = "contexts: [{name: c, context: {cluster: c, user: u}}]\ncurrent-context: c"
USER = "users: [{name: u, user: {token: hush}}]"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it is not one"),
        ("hush", "it is not one"),
        ("[hush", "it is not one"),
        ("{}", "it has no 'clusters'"),
        (f"{CLUSTER}\n{CONTEXT}", "it has no 'u'"),
        (f"{CLUSTER}\n{USER}\ncontexts: []", "No current context set and no default provided"),
        (f"{CLUSTER}\n{USER}\ncontexts: []\ncurrent-context: c", "Context 'c' not found"),
        (
            f"{CLUSTER}\n{USER}\ncontexts: [{{name: c, context: {{cluster: c}}}}]\n"
            "current-context: c",
            "it names no user",
        ),
        (
            f"{CLUSTER}\n{CONTEXT}\nusers: [{{name: u, user: {{token: [hush]}}}}]",
            "it is not one (see `token`)",
        ),
        (
            f"{CLUSTER}\n{CONTEXT}\nusers: [{{name: u, user: {{auth-provider: {{name: azure}}}}}}]",
            "auth-provider not supported",
        ),
    ],
)
def test_what_is_wrong_with_a_kubeconfig_is_told_without_it(text: str, why: str) -> None:
    """One line, with what to do, and nothing of its users."""
    with pytest.raises(Refused) as caught:
        Connection(text)
    [refusal] = caught.value.refusals
    assert refusal.reason == f"the kubeconfig cannot be used: {why}"
    assert "hush" not in str(refusal)


def test_a_key_that_is_none_is_not_shown() -> None:
    """Nor anything else of a broken user."""
    broken = (
        "users: [{name: u, user: {client-certificate-data: aHVzaA==, client-key-data: aHVzaA==}}]"
    )
    with pytest.raises(Refused) as caught:
        Connection(f"{CLUSTER}\n{CONTEXT}\n{broken}")
    assert "hush" not in str(caught.value)
    assert "aHVzaA" not in str(caught.value)
