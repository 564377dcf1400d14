"""Property values on the wire."""

from __future__ import annotations

import json
from typing import Any

from google.protobuf import struct_pb2
from hypothesis import given
from hypothesis import strategies as st
from pulumi.runtime import rpc

from lab.provider.values import UNKNOWN, decode, encode, has_unknown, secret_names

_names = st.text("ab", min_size=1, max_size=2)
_scalars = st.one_of(
    st.text(max_size=3), st.booleans(), st.integers(-(2**53), 2**53), st.just(UNKNOWN)
)
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_names, inner, max_size=2),
    max_leaves=5,
)
_properties = st.dictionaries(_names, _values, max_size=3)


def _same(left: Any, right: Any) -> bool:
    # Unlike ==, JSON tells true from 1; the order of names is not kept on the wire.
    return json.dumps(left, sort_keys=True, default=repr) == json.dumps(
        right, sort_keys=True, default=repr
    )


@given(_properties)
def test_what_is_encoded_decodes_to_the_same(properties: dict[str, Any]) -> None:
    """Encoding loses nothing, unknown values and the difference of true and 1 included."""
    assert _same(decode(encode(properties)), properties)


def test_nulls_are_dropped() -> None:
    """A null property is a property that is not there, as for azure-native."""
    struct = encode({"a": 1})
    struct.fields["b"].null_value = struct_pb2.NULL_VALUE
    assert decode(struct) == {"a": 1}


def test_secrets_and_outputs_are_unwrapped() -> None:
    """A secret decodes to its value; an output without a value is unknown."""
    struct = encode({"s": "x"}, secrets=["s"])
    output = struct.fields["o"].struct_value.fields
    output[rpc._special_sig_key].string_value = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
    decoded = decode(struct)
    assert decoded["s"] == "x"
    assert decoded["o"] is UNKNOWN


def test_secrets_are_what_the_sdk_takes_for_secrets() -> None:
    """The markers are the SDK's own."""
    struct = encode({"s": "x", "u": UNKNOWN}, secrets=["s"])
    assert rpc.is_rpc_secret(rpc.deserialize_properties(struct)["s"])
    assert struct.fields["u"].string_value == rpc.UNKNOWN
    assert secret_names(struct) == {"s"}


def test_unknown_is_found_at_any_depth() -> None:
    """has_unknown looks into lists and objects."""
    assert has_unknown({"a": [{"b": UNKNOWN}]})
    assert not has_unknown({"a": [{"b": 1}]})
