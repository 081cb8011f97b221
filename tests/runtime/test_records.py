"""Unit records, digests and printable names."""

from __future__ import annotations

import json
import os
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curator_dask.files.content_hash import Written
from curator_dask.files.names import name_bytes, printable
from curator_dask.runtime.records import (
    Failure,
    UnitRecord,
    add_counts,
    digest,
    dump_json,
    failures_jsonl,
    hashes_of,
    seal,
    unseal,
)

RAW = os.fsdecode(b"raw-\xff.mp4")
FAILURE = Failure("split", "a.mp4", "no-video-stream", "there is no video in it", "id-1")

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(UnitRecord("k", "i"), id="empty"),
        pytest.param(
            UnitRecord("k", "i", {"clips/a.mp4": 3}, {"clips": 1}, (FAILURE,), {"rows": [{"id": 1.5}]}, False),
            id="full",
        ),
        pytest.param(UnitRecord("k", "i", {RAW: 1}, failures=(Failure("s", RAW, "r", "m"),)), id="name-not-utf8"),
    ],
)
def test_a_record_comes_back_as_it_was(record):
    assert UnitRecord.from_json(record.to_json()) == record
    assert record.to_json().decode("ascii").endswith("\n")


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"null", b"[]", b"{}", b'{"key": "k"}', b'{"key": "k", "inputs": "", "failures": [1]}', b"\xff\x00",
     b'{"key": "k", "inputs": "", "failures": [], "surprise": 1}'],
)  # fmt: skip
def test_what_is_no_record_is_a_value_error(data):
    with pytest.raises(ValueError, match=r"."):
        UnitRecord.from_json(data)


def test_hashes_travel_with_the_sizes():
    record = UnitRecord("k", "i", {"a": Written(3, "blake2b:00"), "b": 4})
    back = UnitRecord.from_json(record.to_json())
    assert hashes_of(back.outputs) == {"a": "blake2b:00"}
    assert hashes_of(pickle.loads(pickle.dumps(back)).outputs) == {"a": "blake2b:00"}


def test_a_marker_of_an_earlier_version_is_read():
    old = b'{"counts": {}, "data": {}, "failures": [], "final": true, "inputs": "i", "key": "k", "outputs": {"a": 3}}\n'
    assert UnitRecord.from_json(old) == UnitRecord("k", "i", {"a": 3})


def test_each_changed_byte_of_a_marker_is_noticed():
    text = UnitRecord("k", "i", {"a": Written(3, "blake2b:00")}, data={"seal": ""}, failures=(FAILURE,)).to_json()
    for at in range(len(text)):
        with pytest.raises(ValueError, match=r"."):
            UnitRecord.from_json(text[:at] + bytes([text[at] ^ 1]) + text[at + 1 :])


@given(st.dictionaries(st.text("abs", max_size=3), json_values, max_size=4))
def test_what_was_sealed_comes_back(value):
    assert unseal(seal(value)) == value


@given(st.dictionaries(st.text(), json_values, max_size=4))
def test_json_has_the_same_bytes_for_any_order_of_keys(value):
    backwards = dict(reversed(value.items()))
    assert dump_json(value) == dump_json(backwards)
    assert json.loads(dump_json(value)) == value


def test_json_refuses_what_json_cannot_say():
    with pytest.raises(ValueError, match=r"(?i)nan|range"):
        dump_json({"x": float("nan")})


@pytest.mark.parametrize(
    ("one", "other"),
    [(("a", "bc"), ("ab", "c")), ((1,), ("1",)), ((["a"], "b"), ("a", ["b"])), ((), ("",)), ((None,), ("null",))],
)
def test_digests_of_different_values_differ(one, other):
    assert digest(*one) != digest(*other)


def test_a_digest_is_the_same_everywhere():
    assert digest("video.mp4", 5, {"b": 1, "a": [RAW]}) == digest("video.mp4", 5, {"a": [RAW], "b": 1})
    assert len(digest("a")) == 32


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a b/日本é.mp4", "a b/日本é.mp4"),
        (RAW, "raw-\\xff.mp4"),
        ("a\nb\t\x1b[31m.mp4", "a\\nb\\t\\x1b[31m.mp4"),
        ("abc\u202egpj.mp4", "abc\\u202egpj.mp4"),
        ("half \ud800.mp4", "half \\xed\\xa0\\x80.mp4"),
    ],
)
def test_printable_names(name, shown):
    assert printable(name) == shown
    assert printable(name).encode("utf-8").decode() == shown


@given(st.text(st.characters(codec=None), max_size=20))
def test_every_name_is_printable_once_escaped(name):
    assert printable(name).isprintable()
    assert printable(name) == printable(printable(name))


@given(st.binary(max_size=20))
def test_name_bytes_are_those_on_disk(raw):
    assert name_bytes(os.fsdecode(raw)) == raw


def test_counts_add_up():
    assert add_counts([{"a": 1}, {}, {"a": 2, "b": 0}]) == {"a": 3, "b": 0}
    assert add_counts([]) == {}


def test_failures_are_the_same_bytes_in_any_order():
    others = [Failure("split", f"{number}.mp4", "timeout", "line\nbreak") for number in range(3)]
    text = failures_jsonl([FAILURE, *others])
    assert text == failures_jsonl([*reversed(others), FAILURE])
    assert [json.loads(line)["source"] for line in text.splitlines()] == ["0.mp4", "1.mp4", "2.mp4", "a.mp4"]
    assert failures_jsonl([]) == b""
