"""MessagePack as openpi-client writes it, and bytes that nobody should believe."""

import struct
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays, scalar_dtypes

from robomd_ros.core.errors import InvalidArgumentError, PolicyError
from robomd_ros.policies.msgpack_numpy import pack, unpack

VALUE = {
    "observation/image": np.arange(12, dtype=np.uint8).reshape(2, 2, 3),
    "observation/state": np.array([0.5, -1.0], np.float32),
    "prompt": "lift",
    "step": np.int64(7),
    "ok": True,
    "none": None,
    "x": 1.5,
    "n": [-1, 300, -70000],
}
BY_OPENPI_CLIENT = bytes.fromhex(
    "88b16f62736572766174696f6e2f696d61676584c40b5f5f6e6461727261795f5fc3c40464617461c40c000102030405060708090a0bc405"
    "6474797065a37c7531c405736861706593020203b16f62736572766174696f6e2f737461746584c40b5f5f6e6461727261795f5fc3c40464"
    "617461c4080000003f000080bfc4056474797065a33c6634c40573686170659102a670726f6d7074a46c696674a47374657083c40d5f5f6e"
    "7067656e657269635f5fc3c4046461746107c4056474797065a33c6938a26f6bc3a46e6f6e65c0a178cb3ff8000000000000a16e93ffcd01"
    "2cd2fffeee90"
)
"""VALUE, packed by openpi_client.msgpack_numpy with msgpack 1.2.4."""

NUMBERS = scalar_dtypes().filter(lambda d: d.kind in "biuf" and d.itemsize <= 8)
ARRAYS = arrays(NUMBERS, array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
LEAVES = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | ARRAYS
)
VALUES = st.recursive(
    LEAVES | st.binary(),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(), inner, max_size=20),
    max_leaves=30,
)


def alike(a, b):
    if isinstance(a, np.ndarray):
        return (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    if isinstance(a, dict):
        return list(a) == list(b) and all(alike(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(alike, a, b))
    return type(a) is type(b) and (a == b or a != a)


def test_the_bytes_are_those_of_openpi_client():
    assert pack(VALUE) == BY_OPENPI_CLIENT
    assert alike(unpack(BY_OPENPI_CLIENT), VALUE)


@given(VALUES)
def test_what_is_packed_comes_back(value):
    assert alike(unpack(pack(value)), value)


@pytest.mark.parametrize("length", [0, 15, 16, 31, 32, 255, 256, 65535, 65536])
def test_every_kind_of_length(length):
    for value in (
        "x" * length,
        bytes(length),
        list(range(length)),
        dict.fromkeys(map(str, range(length))),
    ):
        assert unpack(pack(value)) == value


@settings(max_examples=300)
@given(st.binary(max_size=64) | st.tuples(st.integers(0, 200), st.integers(0, 255)))
def test_any_other_bytes_are_a_policy_error_or_a_value(found):
    data = found
    if isinstance(found, tuple):  # one byte of a good message changed
        at = found[0] % len(BY_OPENPI_CLIENT)
        data = BY_OPENPI_CLIENT[:at] + bytes([found[1]]) + BY_OPENPI_CLIENT[at + 1 :]
    with suppress(PolicyError):
        unpack(data)


def array_message(dtype, shape, data):
    return pack({b"__ndarray__": True, b"data": data, b"dtype": dtype, b"shape": shape})


@pytest.mark.parametrize(
    "data",
    [
        array_message("|O", [1], bytes(8)),
        array_message("<U4", [1], bytes(16)),
        array_message("V8", [1], bytes(8)),
        array_message("f4,f4", [1], bytes(8)),
        array_message("<f4", [2], bytes(4)),
        array_message("<f4", [-1], bytes(4)),
        array_message("<f4", [2**40, 0, 2**40], bytes(4)),
        array_message("<f4", ["1"], bytes(4)),
        array_message("<f4", [1] * 20, bytes(4)),
        array_message(3, [1], bytes(4)),
        struct.pack(">BI", 0xDD, 2**32 - 1),  # a list of four milliards
        struct.pack(">BI", 0xC6, 2**32 - 1),
        b"\x91" * 100_000,  # a list in a list in a list
        b"\xc7\x00\x01",  # an extension
        b"\x81\x01\x01",  # a number as key
        b"",
        b"\x01\x01",
    ],
)
def test_what_could_hurt_is_refused(data):
    with pytest.raises(PolicyError):
        unpack(data)


@pytest.mark.parametrize(
    "value", [object(), {"a": {1, 2}}, np.array(["x"]), np.array([None]), 1j, 2**64, -(2**63) - 1]
)
def test_what_cannot_be_said_is_refused(value):
    with pytest.raises(InvalidArgumentError):
        pack(value)
